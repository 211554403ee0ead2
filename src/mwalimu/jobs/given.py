"""Small files that come inside a submission: a schema, personas, documents, graders, templates.

A folder for each set of them, named by what is in it, so that equal ones are one and none is ever
changed. Their names are NAMEs: no separator, no dot at an end.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from mwalimu.files import disk_errors, fsync_folder
from mwalimu.jobs.workspace import Workspace

UNUSED_S = 86_400.0  # that a folder may be without a job: its submission may be under way

Texts = Mapping[str, str]
"""By the file's name."""


def folder_of(workspace: Workspace, texts: Texts) -> Path:
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode())
    return workspace.given.absolute() / digest.hexdigest()


def put(workspace: Workspace, texts: Texts) -> None:
    """Into `folder_of` them, durably and whole. Raises DiskFull."""
    folder = folder_of(workspace, texts)
    if folder.exists():
        os.utime(folder)
        return
    making = folder.with_name(f".{secrets.token_hex(8)}")
    with disk_errors(folder):
        making.mkdir(parents=True)
        for name, text in texts.items():
            with open(making / name, "xb") as handle:
                handle.write(text.encode())
                handle.flush()
                os.fsync(handle.fileno())
        fsync_folder(making)
        try:
            making.rename(folder)
        except OSError:  # another request was sooner
            if not folder.exists():
                raise
            shutil.rmtree(making)
        fsync_folder(folder.parent)


def sweep(workspace: Workspace, used: Collection[str]) -> int:
    """Takes away the folders that are not among `used`, by name, for a day; returns how many."""
    before, gone = time.time() - UNUSED_S, 0
    for folder in workspace.given.glob("*"):
        if folder.name not in used and folder.stat().st_mtime < before:
            shutil.rmtree(folder)
            gone += 1
    return gone
