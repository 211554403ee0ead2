"""Where a job's teacher distributions come from: the run's cache, or the teacher itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mwalimu.config import (
    Config,
    PartConfig,
    TeacherConfig,
    learns_from_teacher,
    needed_signals,
)
from mwalimu.data.loading import load_causal_lm
from mwalimu.data.vocabulary import vocabulary_fingerprint
from mwalimu.errors import SignalMismatch
from mwalimu.finetune.teacher.cached import CachedTeacher
from mwalimu.finetune.teacher.live import LiveTeacher, Load
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.served import ServedTeacherScores
from mwalimu.finetune.teacher.view import Mixed, Needs, TeacherSource
from mwalimu.objectives.packing import Packing
from mwalimu.run import Run


@dataclass(frozen=True, slots=True)
class WhiteBox:
    """`folders` are the cache's by encoding, one a split; `live` is a teacher to be loaded, and
    `served` one that is asked for its `k` best tokens.

    With a cache and a teacher, the cache serves what stage 1 wrote and the teacher what the student
    writes.
    """

    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    live: str = ""
    served: TeacherConfig | None = None
    k: int = 0

    @classmethod
    def of(cls, config: Config, run: Run) -> WhiteBox | None:
        """As the objective needs it; None for one on text alone."""
        if not learns_from_teacher(config.finetune.objective):
            return None
        at_work = config.finetune.on_policy is not None or config.finetune.teacher == "live"
        scored = config.teacher.scoring != "none"
        return cls(
            {} if config.finetune.teacher == "live" else _folders(config, run),
            live=config.teacher.model if at_work and not scored else "",
            served=config.teacher if at_work and scored else None,
            k=config.signals.k,
        )

    def source(
        self,
        parts: tuple[PartConfig, ...],
        rows: JobRows,
        device: torch.device,
        *,
        autocast: bool,
        packings: Sequence[Packing] = (),
        load: Load = load_causal_lm,
    ) -> TeacherSource:
        """`load` is how a live teacher is loaded.

        Raises:
        SignalMismatch: the cache is of another vocabulary than the student's.
        TeacherError: the teacher cannot be had, or cannot do what is asked of it.
        """
        needs = Needs.of(parts)
        cached = self._cached(needs, rows, device) if self.folders else None
        live: TeacherSource | None = None
        if self.served is not None:
            live = ServedTeacherScores(self.served, self.k, device, rows)
        elif self.live:
            live = LiveTeacher(
                needs, self.live, device, rows, autocast=autocast, packings=packings, load=load
            )
        if cached is not None and live is not None:
            return Mixed(cached, live)
        source = live or cached
        assert source is not None
        return source

    def _cached(self, needs: Needs, rows: JobRows, device: torch.device) -> CachedTeacher:
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


def _folders(config: Config, run: Run) -> dict[str, tuple[Path, ...]]:
    listed = run.require("signals").files
    manifests = sorted(name for name in listed if name.endswith("/manifest.json"))
    return {
        encoding: tuple(
            run.path(name).parent for name in manifests if name.startswith(f"signals/{encoding}/")
        )
        for encoding in needed_signals(config)
    }
