"""The run folder: where the stages meet. A reader trusts only what `run.json` lists.

Publish order: the files (temp file, fsync, rename, fsync of the folder), then `run.json` naming
their SHA-256. A crash in between leaves files that no manifest lists, and the stage runs again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mwalimu.errors import DiskFull, RunError

FORMAT_VERSION = 1
STAGES: tuple[str, ...] = ("prompts", "prepare", "generate", "curate", "signals", "finetune")
STAGES += ("evaluate", "export", "report")
LEARNED = ("train", "validation")
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk, quota or file-size limit into `DiskFull`; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(
                "no space left on the disk",
                where=str(path),
                fix="free some space and run the same command again; nothing finished is lost",
            ) from error
        raise


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        try:
            with open(temporary, "wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    with atomic_writer(path) as handle:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        # Half a surrogate pair becomes its escape, which is JSON too.
        handle.write(text.encode("utf-8", "backslashreplace"))
        handle.write(b"\n")


def sha256_file(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_path(path: Path) -> str:
    """Of a file, or of all files of a folder with their names."""
    if not path.is_dir():
        return sha256_file(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return fingerprint({str(one.relative_to(path)): sha256_file(one) for one in files})


def model_hashes(model: str) -> dict[str, str]:
    """SHA-256 of what decides how a model folder behaves; empty for a hub id.

    The same path may hold another model tomorrow.
    """
    folder = Path(model)
    paths = {path for pattern in MODEL_FILES for path in folder.glob(pattern)}
    return {path.name: sha256_file(path) for path in sorted(paths) if path.is_file()}


def launched() -> tuple[int, int]:
    """Which process this is, from 0, of how many that torchrun or accelerate started together."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def exclusive(folder: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """One process at a time in `folder`; the lock ends with its holder, however that ends.

    Raises:
        RunError: another process is in it, and this one does not `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise RunError(
            f"another mwalimu works in this {what} now",
            where=str(folder),
            fix="wait for it, or work in another folder",
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: what a stage's result depends on."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(f"v{FORMAT_VERSION}:{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StageState:
    """A finished stage: what it depended on, the hashes of its files, and its summary."""

    fingerprint: str
    files: dict[str, str]
    summary: dict[str, Any] = field(default_factory=dict)


class Run:
    """One run folder and its manifest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest: dict[str, Any] = self._read_manifest()

    def _read_manifest(self) -> dict[str, Any]:
        path = self.root / "run.json"
        if not path.exists():
            return {"format_version": FORMAT_VERSION, "stages": {}}
        try:
            manifest = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(
                f"is damaged ({error})", where=str(path), fix="use a new --run"
            ) from None
        if manifest.get("format_version") != FORMAT_VERSION:
            raise RunError(
                f"has format {manifest.get('format_version')}, this version reads {FORMAT_VERSION}",
                where=str(path),
                fix="use a new --run folder",
            )
        return dict(manifest)

    @property
    def id(self) -> str:
        """128 random bits as hex, drawn once: on whose account the teacher is asked."""
        if "id" not in self.manifest:
            self.describe(id=secrets.token_hex(16))
        return str(self.manifest["id"])

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    def describe(self, **facts: Any) -> None:
        """Records facts about the run (config, seeds, versions, input hashes) in the manifest."""
        self.manifest.update(facts)
        self._save()

    def stage(self, name: str) -> StageState | None:
        """The finished stage, its files checked against the manifest; None if there is none."""
        raw = self.manifest["stages"].get(name)
        if raw is None:
            return None
        state = StageState(**raw)
        for relative, digest in state.files.items():
            path = self.root / relative
            if not path.is_file() or sha256_file(path) != digest:
                return None
        return state

    def require(self, name: str) -> StageState:
        state = self.stage(name)
        if state is None:
            command = {"signals": "signals capture", "prompts": "synthesise"}.get(name, name)
            raise RunError(
                f"stage {name} is not finished here, or its files were changed",
                where=str(self.root),
                fix=f"run 'mwalimu {command}' on this run folder first",
            )
        return state

    def learned(self) -> dict[str, Path]:
        """The rows to learn from, by split: what curation kept of the teacher's accepted answers.

        In a folder that was never curated, all accepted answers.
        """
        stage = "curate" if "curate" in self.manifest["stages"] else "generate"
        published = self.require(stage).files
        files = {split: f"{stage}/{split}.jsonl" for split in LEARNED}
        return {split: self.path(file) for split, file in files.items() if file in published}

    def is_done(self, name: str, wanted: str) -> bool:
        state = self.stage(name)
        return state is not None and state.fingerprint == wanted

    def finish(self, name: str, wanted: str, files: list[Path], summary: dict[str, Any]) -> None:
        """Lists `files` (already fsynced) and `summary` under stage `name`; later stages lapse."""
        listed = {str(path.relative_to(self.root)): sha256_file(path) for path in sorted(files)}
        stages = {k: v for k, v in self.manifest["stages"].items() if k in _before(name)}
        stages[name] = {"fingerprint": wanted, "files": listed, "summary": summary}
        self.manifest["stages"] = stages
        self._save()

    def _save(self) -> None:
        write_json(self.root / "run.json", self.manifest)


def _before(name: str) -> tuple[str, ...]:
    return STAGES[: STAGES.index(name)]
