"""The run folder: where the stages meet. A reader trusts only what `run.json` lists.

Publish order: the files (temp file, fsync, rename, fsync of the folder), then `run.json` naming
their SHA-256. A crash in between leaves files that no manifest lists, and the stage runs again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mwalimu.errors import RunError
from mwalimu.files import disk_errors, sha256_file, write_json

FORMAT_VERSION = 1
STAGES: tuple[str, ...] = ("prompts", "prepare", "generate", "curate", "signals", "finetune")
STAGES += ("evaluate", "export", "report")
LEARNED = ("train", "validation")
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py")


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


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: what a stage's result depends on."""
    digest = hashlib.sha256(f"v{FORMAT_VERSION}:".encode())
    for piece in _json_pieces(value, depth=2):
        digest.update(piece.encode())
    return digest.hexdigest()


def _json_pieces(value: Any, depth: int) -> Iterator[str]:
    """Lists of rows a row at a time: as one text they would be in memory twice more."""
    if depth and isinstance(value, list):
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from _json_pieces(item, depth - 1)
        yield "]"
    else:
        yield json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def asked_stages(config: Mapping[str, Any]) -> list[str]:
    """Those that `mwalimu run` goes through with this plain config, in order."""
    wanted = {"generate", "curate", "finetune", "report"}
    wanted |= {"prompts"} if config.get("prompts") else set()
    wanted |= {"evaluate"} if (config.get("data") or {}).get("test") else set()
    wanted |= {"export"} if (config.get("export") or {}).get("targets") else set()
    return [name for name in STAGES if name in wanted]


@dataclass(frozen=True, slots=True)
class StageState:
    """A finished stage: what it depended on, the hashes of its files, and its summary."""

    fingerprint: str
    files: dict[str, str]
    summary: dict[str, Any] = field(default_factory=dict)


class Run:
    """One run folder and its manifest. `on_finish` is called when a stage has been published."""

    def __init__(self, root: Path, on_finish: Callable[[], None] | None = None) -> None:
        self.root = root
        self.on_finish = on_finish
        self.manifest: dict[str, Any] = self._read_manifest()

    def _read_manifest(self) -> dict[str, Any]:
        path = self.root / "run.json"
        if not path.exists():
            return {"format_version": FORMAT_VERSION, "stages": {}}
        with disk_errors(path):
            text = path.read_bytes()
        try:
            manifest = json.loads(text)
            version = manifest["format_version"]
            if version == FORMAT_VERSION:
                _check(manifest)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = "is damaged" + (f" ({error})" if isinstance(error, ValueError) else "")
            fix = "use a new --run: answers in the store are not bought again"
            raise RunError(what, where=str(path), fix=fix) from None
        if version != FORMAT_VERSION:
            raise RunError(
                f"has format {str(version)[:20]!r}, this version reads {FORMAT_VERSION}",
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
            # os.path's says False of names that no file can have, which a damaged manifest may hold
            if not os.path.isfile(path) or sha256_file(path) != digest:
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
        if self.on_finish is not None:
            self.on_finish()

    def _save(self) -> None:
        write_json(self.root / "run.json", self.manifest)


def _check(manifest: Any) -> None:
    """Raises ValueError, KeyError or TypeError where the manifest is not of our making."""
    if not re.fullmatch("[0-9a-f]{32}", manifest.get("id", "0" * 32)):
        raise ValueError("its id is none")
    for name, stage in manifest["stages"].items():
        state = StageState(**stage)
        texts = [name, state.fingerprint, *state.files, *state.files.values()]
        if not all(isinstance(text, str) for text in texts) or not isinstance(state.summary, dict):
            raise TypeError("a stage is not as we write it")
        for file in state.files:
            if not PurePosixPath(file).parts or not is_inside(file):
                raise ValueError(f"a file of stage {name[:20]} is outside the folder")


def is_inside(relative: str) -> bool:
    """Whether a path of a manifest stays in its folder, whatever its files are links to."""
    path = PurePosixPath(relative)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in relative


def _before(name: str) -> tuple[str, ...]:
    return STAGES[: STAGES.index(name)]
