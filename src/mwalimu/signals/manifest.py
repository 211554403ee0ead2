"""What a folder of signals is of, and how a reader is kept from using it for anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mwalimu.errors import MachineError, RunError, SignalMismatch
from mwalimu.files import disk_errors
from mwalimu.signals.encoding import Encoding
from mwalimu.signals.flat import DenseEncoding, HiddenEncoding, RealisedEncoding
from mwalimu.signals.shard import shard_name
from mwalimu.signals.sparse import SampledEncoding, TopKEncoding

FORMAT = "mwalimu signals 1"
MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 26
SHOWN_CHARACTERS = 40
ENCODINGS: dict[str, type[Any]] = {
    encoding.kind: encoding
    for encoding in (SampledEncoding, TopKEncoding, DenseEncoding, HiddenEncoding, RealisedEncoding)
}
COMPARED = {
    "kind": "kind of teacher",
    "revision": "revision of the teacher",
    "files": "files of the teacher",
    "tokenizer": "tokenizer",
    "template": "chat template",
    "vocabulary": "vocabulary",
    "temperature": "temperature",
    "mask": "mask",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose signals they are, and of which tokens.

    `revision` is a hub commit; `files` are the SHA-256 of a local teacher's files by name. The name
    decides only where there are no files: a folder may move, and its path may hold another model.
    `tokenizer` and `template` are fingerprints. `temperature` divided the teacher's logits.
    `source` is for people: it is kept and never compared.
    """

    teacher: str
    kind: str
    tokenizer: str
    template: str
    vocabulary: int
    temperature: float = 1.0
    mask: str = "completion"
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def compared(self) -> dict[str, Any]:
        """All that signals depend on."""
        facts = {name: value for name, value in asdict(self).items() if name != "source"}
        return {name: value for name, value in facts.items() if name != "teacher" or not self.files}

    def require(self, expected: Identity, where: str = "") -> None:
        """Raises SignalMismatch if signals of this identity cannot stand for `expected`'s."""
        mine, theirs = self.compared(), expected.compared()
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        if not names:
            return
        differences = ", ".join(
            f"another {COMPARED.get(name, name)} ({_shown(getattr(self, name))} here, "
            f"{_shown(getattr(expected, name))} in this job)"
            for name in names
        )
        raise SignalMismatch(
            f"these signals are of {differences}",
            where=where,
            fix="capture them again for this job, or name the folder that fits it",
        )


def _shown(value: Any) -> str:
    text = json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """`size` in bytes."""

    file: str
    sha256: str
    rows: int
    tokens: int
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`fingerprint` is the job's that wrote it."""

    encoding: Encoding
    identity: Identity
    fingerprint: str
    shards: Sequence[ShardFacts]

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "encoding": self.encoding.parameters(),
            "identity": asdict(self.identity),
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "tokens": self.tokens,
            "bytes": self.size,
            "bytes_per_token": round(self.size / max(1, self.tokens), 3),
            "shards": [asdict(shard) for shard in self.shards],
        }


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder whose capture has ended.

    Raises:
        RunError: there is none, it is damaged, or its format is not read here.
    """
    path = folder / MANIFEST
    if not path.is_file():
        fix = "make them with 'mwalimu signals capture distill.yaml', or check the path"
        raise RunError("has no signals that are finished", where=str(folder), fix=fix)
    try:
        if path.stat().st_size > MAX_MANIFEST:
            raise ValueError("it is too long")
        with disk_errors(path):
            text = path.read_bytes()
        raw = json.loads(text)
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise ValueError(f"its format is {_shown(found)}, this version reads {FORMAT!r}")
        return _parsed(raw)
    except MachineError:
        raise
    except (OSError, LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise RunError(
            f"is damaged, or not a manifest of signals ({_shown(error)})",
            where=str(path),
            fix="capture again: shards that are whole are kept",
        ) from None


def _parsed(raw: dict[str, Any]) -> Manifest:
    identity = Identity(**raw["identity"])
    _check_types(identity)
    shards = [ShardFacts(**shard) for shard in raw["shards"]]
    for index, shard in enumerate(shards):
        _check_types(shard)
        if shard.file != shard_name(index):
            raise ValueError(f"shard {index} is named {_shown(shard.file)}")
    manifest = Manifest(_encoding(raw["encoding"]), identity, str(raw["fingerprint"]), shards)
    if manifest.to_json() != raw:
        raise ValueError("its totals are not those of its shards")
    return manifest


def _encoding(raw: dict[str, Any]) -> Encoding:
    """What the parameters describe; those that follow from others have to follow."""
    kind = ENCODINGS[raw["kind"]]
    encoding: Encoding = kind(**{spec.name: raw[spec.name] for spec in fields(kind)})
    _check_types(encoding)
    if encoding.parameters() != raw:
        raise ValueError("the parameters of its encoding contradict each other")
    return encoding


def _check_types(facts: Any) -> None:
    """Of the fields of a dataclass that JSON filled; no number of ours is negative."""
    kinds: dict[str, Any] = {"str": str, "int": int, "Mapping": dict, "tuple": tuple}
    kinds["float"] = (int, float)
    for spec in fields(facts):
        value, wanted = getattr(facts, spec.name), kinds[str(spec.type).split("[")[0]]
        if not isinstance(value, wanted) or (isinstance(value, int) and value < 0):
            raise ValueError(f"{spec.name} is {_shown(value)}")


def is_finished_by(folder: Path, fingerprint: str) -> bool:
    """Whether the folder's manifest is whole and of this job."""
    try:
        return read_manifest(folder).fingerprint == fingerprint
    except RunError:
        return False
