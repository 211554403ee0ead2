"""Quantisation-aware finishing: is a target to be made of the student, or of one trained for it?

Decided on the validation rows alone; the test rows are asked afterwards, of what was taken.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mwalimu.config import OUTSIDE_THE_RESULT, Config, ExportFinishConfig, TargetConfig
from mwalimu.errors import MachineError, MwalimuError
from mwalimu.evaluation.summary import Row
from mwalimu.export.make import versions
from mwalimu.export.matrices import Rounding
from mwalimu.export.package import size_mib
from mwalimu.export.rounding import require_reproduced, roundings
from mwalimu.export.source import plain
from mwalimu.files import sha256_file, write_json
from mwalimu.finetune.finishing import finish_student
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint
from mwalimu.runtimes import Export
from mwalimu.shipping.bench import Bench

DECISION = "decision.json"


@dataclass(frozen=True, slots=True)
class Source:
    """A student, and the SHA-256 of its files by their names."""

    folder: Path
    files: Mapping[str, str]


Make = Callable[[Source, TargetConfig, Path], Export]
"""Puts an export of the source in a folder, or leaves the one that is there."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Whether the finished student is taken, and why. `measure` is what decided: accuracy, or
    validation_loss (nats per target token, under the rounding); None where nothing was trained.
    """

    taken: bool
    why: str
    measure: str | None = None
    before: float | None = None
    after: float | None = None


class Finishing:
    """`bench` has the validation rows with gold answers, perhaps none."""

    def __init__(
        self,
        config: Config,
        settings: ExportFinishConfig,
        run: Run,
        student: Source,
        bench: Bench,
        make: Make,
        progress: Progress,
    ) -> None:
        self.config = config
        self.settings = settings
        self.run = run
        self.student = student
        self.bench = bench
        self.make = make
        self.progress = progress

    def source(self, target: TargetConfig) -> tuple[Source, Finish]:
        """Of what `target` is to be made. What fails is told, and the student taken as it is.

        Raises MachineError.
        """
        try:
            source, finish = self._decided(target)
        except MachineError:
            raise
        except MwalimuError as error:
            source, finish = self.student, Finish(False, f"not finished: {error}")
        self.progress(f"finish {target.name}", 1, 1, finish.why)
        return source, finish

    def _decided(self, target: TargetConfig) -> tuple[Source, Finish]:
        require_reproduced(target)
        if "validation" not in self.run.learned():
            return self.student, Finish(
                False, "not finished: there are no validation rows to decide by"
            )
        folder, wanted = self._folder(target), self._wanted(target)
        known = _read(folder / DECISION, wanted)
        if known is not None and not known.taken:
            return self.student, known
        source = Source(folder / "student", _hashes(folder / "student"))
        if known is not None and _listed(folder / DECISION) == source.files:
            return source, known
        finish = self._by_accuracy(target) if self.bench.test else self._by_loss(target)
        source = Source(folder / "student", _hashes(folder / "student"))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / DECISION,
            {"wanted": wanted, "finish": asdict(finish), "files": source.files},
        )
        return (source if finish.taken else self.student), finish

    def _by_accuracy(self, target: TargetConfig) -> Finish:
        before = self._accuracy(target, self.student, self.run.path("export", target.name))
        drop, most = _mean(self.bench.student().rows) - before, self.settings.above
        if drop <= most:
            words = f"it loses {100 * drop:.1f} points on the validation rows"
            return Finish(False, f"not finished: {words}, and {100 * most:.1f} are allowed")
        self._train(target)
        student, made = self._folder(target) / "student", self._folder(target) / target.name
        after = self._accuracy(target, Source(student, _hashes(student)), made)
        shutil.rmtree(made)
        words = f"accuracy on the validation rows from {100 * before:.1f} to {100 * after:.1f} %"
        return _verdict("accuracy", before, after, words, better=after > before)

    def _by_loss(self, target: TargetConfig) -> Finish:
        """Without gold answers nothing tells a drop in accuracy, so it is always tried."""
        summary = self._train(target)
        before, after = summary["validation_loss_before"], summary["validation_loss"]
        words = f"validation loss under the rounding from {before:.4f} to {after:.4f}"
        return _verdict("validation_loss", before, after, words, better=after < before)

    def _accuracy(self, target: TargetConfig, source: Source, folder: Path) -> float:
        export = self.make(source, target, folder)
        return _mean(self.bench.tried(export, folder, size_mib(folder, export)).rows)

    def _train(self, target: TargetConfig) -> dict[str, Any]:
        """Goes on where it was, and does nothing once it is done."""
        folder = self._folder(target)
        scratch = folder / "merged"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            return finish_student(
                self.config,
                self.run,
                self.settings,
                plain(self.student.folder, scratch),
                folder,
                partial(self._roundings, target),
                stage_fingerprint=self._wanted(target),
                on_progress=self.progress,
                label=f"finish {target.name}",
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _roundings(self, target: TargetConfig, model: Any) -> Mapping[str, Rounding]:
        """Some formats tell how they rounded in the file alone."""
        made = self.run.path("export", target.name)
        self.make(self.student, target, made)
        return roundings(target, made, model)

    def _folder(self, target: TargetConfig) -> Path:
        return self.run.path("export", "finish", target.name)

    def _wanted(self, target: TargetConfig) -> str:
        """All that the finished student and the decision depend on."""
        evaluate, tasks = self.config.evaluate, self.config.evaluate.tasks_file
        stages = ("signals", "curate", "generate")
        return fingerprint(
            {
                "student": self.student.files,
                "target": target.model_dump(),
                "versions": versions(target.to),
                "finish": self.settings.model_dump(),
                "finetune": self.config.finetune.model_dump(exclude=set(OUTSIDE_THE_RESULT)),
                "learned": [state.files for s in stages if (state := self.run.stage(s))],
                "validation": [record.to_json() for record in self.bench.test],
                "evaluate": evaluate.model_dump(),
                "tasks": sha256_file(tasks) if tasks else None,
                "seed": self.config.seed,
            }
        )


def _verdict(measure: str, before: float, after: float, words: str, *, better: bool) -> Finish:
    why = f"finished: {words}" if better else f"finishing was tried and is not taken: {words}"
    return Finish(better, why, measure, before, after)


def _mean(rows: Sequence[Row]) -> float:
    return sum(float(row["score"]) for row in rows) / len(rows)


def _hashes(folder: Path) -> dict[str, str]:
    """Of a folder that may not be there."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return {path.name: sha256_file(path) for path in files}


def _listed(path: Path) -> dict[str, str]:
    return dict(json.loads(path.read_bytes())["files"])


def _read(path: Path, wanted: str) -> Finish | None:
    try:
        raw = json.loads(path.read_bytes())
        return Finish(**raw["finish"]) if raw["wanted"] == wanted else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
