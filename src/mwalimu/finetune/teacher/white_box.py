"""Where a job's teacher distributions come from: the run's cache, or the teacher itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mwalimu.config import Config, PartConfig, learns_from_teacher, needed_signals
from mwalimu.data.vocabulary import vocabulary_fingerprint
from mwalimu.errors import SignalMismatch
from mwalimu.finetune.teacher.cached import CachedTeacher
from mwalimu.finetune.teacher.live import LiveTeacher
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import Needs, TeacherSource
from mwalimu.run import Run


@dataclass(frozen=True, slots=True)
class WhiteBox:
    """`folders` are the cache's by encoding, one a split; without any, `live` is loaded."""

    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    live: str = ""

    @classmethod
    def of(cls, config: Config, run: Run) -> WhiteBox | None:
        """As the objective needs it; None for one on text alone."""
        if not learns_from_teacher(config.finetune.objective):
            return None
        if config.finetune.teacher == "live":
            return cls(live=config.teacher.model)
        listed = run.require("signals").files
        manifests = sorted(name for name in listed if name.endswith("/manifest.json"))
        return cls(
            {
                encoding: tuple(
                    run.path(name).parent
                    for name in manifests
                    if name.startswith(f"signals/{encoding}/")
                )
                for encoding in needed_signals(config)
            }
        )

    def source(
        self,
        parts: tuple[PartConfig, ...],
        rows: JobRows,
        device: torch.device,
        *,
        autocast: bool,
    ) -> TeacherSource:
        """Raises SignalMismatch if the cache is of another vocabulary than the student's."""
        needs = Needs.of(parts)
        if not self.folders:
            return LiveTeacher(needs, self.live, device, rows, autocast=autocast)
        source = CachedTeacher(needs, self.folders, device, rows)
        for name, readers in source.readers.items():
            if name == "realised":  # about pieces of text, whatever the tokens
                continue
            for reader in readers:
                identity = reader.manifest.identity
                own = vocabulary_fingerprint(rows.tokenizer, identity.vocabulary)
                if own != identity.tokenizer:
                    raise SignalMismatch(
                        "these signals are of a tokenizer whose ids mean other tokens",
                        where=str(reader.folder),
                        fix="use a student of the teacher's family, or chunk_likelihood",
                    )
        return source
