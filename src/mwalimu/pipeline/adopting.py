"""Finished stages of another run folder, taken over instead of made again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from mwalimu.files import fsync_folder, link_or_copy
from mwalimu.run import Run

ADOPTABLE = ("prompts", "prepare", "generate", "curate", "signals", "finetune")
WRITTEN_AGAIN = frozenset({"metrics.jsonl"})
"""Files that a later training goes on writing to: they are copied, all others are linked."""


def adopt(run: Run, stage: str, wanted: str, donors: Sequence[Run]) -> bool:
    """Takes `stage` over from the first donor that has it whole, under the fingerprint `wanted`.

    Files are linked, or copied where the disk cannot link. Returns whether there was one.
    """
    if not donors or stage not in ADOPTABLE or run.is_done(stage, wanted):
        return False
    for donor in donors:
        known = donor.manifest["stages"].get(stage, {}).get("fingerprint")
        state = donor.stage(stage) if known == wanted else None
        if state is None:
            continue
        files = [run.path(name) for name in state.files]
        for name, path in zip(state.files, files, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            take = shutil.copyfile if path.name in WRITTEN_AGAIN else link_or_copy
            take(donor.path(name), path)
        for folder in {path.parent for path in files}:
            fsync_folder(folder)
        run.finish(stage, wanted, files, state.summary)
        return True
    return False
