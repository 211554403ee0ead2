"""The export stage: each target is made, tried on its own runtime, graded, packed; then compared.

What a target depends on is its basis: one whose basis and files are unchanged is not made again,
and what was measured of it is not measured again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mwalimu.config import Config, TargetConfig
from mwalimu.data.record import Record
from mwalimu.errors import MachineError, MwalimuError, RunError, StudentError
from mwalimu.evaluation.evaluate import write_rows
from mwalimu.evaluation.statistics import holm
from mwalimu.export.card import Origin
from mwalimu.export.make import make, versions
from mwalimu.export.package import SCORES, seal, size_mib
from mwalimu.export.parity import require_parity
from mwalimu.progress import Progress
from mwalimu.run import Run, fingerprint
from mwalimu.runtimes import Export, read_export
from mwalimu.runtimes.manifest import MANIFEST
from mwalimu.shipping.bench import Bench, Trial, Tried
from mwalimu.shipping.choice import pick
from mwalimu.shipping.finishing import Finish, Finishing, Source
from mwalimu.shipping.gate import gate
from mwalimu.shipping.grading import against, scored
from mwalimu.shipping.telling import told

Entry = dict[str, Any]


class Stage:
    """`trial` measures a model; `test` are the run's held-out rows, perhaps none, and `validation`
    the rows with gold answers by which a finished student is taken or not.
    """

    def __init__(
        self,
        config: Config,
        run: Run,
        test: Sequence[Record],
        *,
        trial: Trial,
        progress: Progress,
        validation: Sequence[Record] = (),
    ) -> None:
        self.config = config
        self.run = run
        self.progress = progress
        trained = run.require("finetune")
        files = {k: v for k, v in trained.files.items() if "/student/" in k}
        self.student = Source(run.path("finetune", "student"), files)
        self.parameters: int | None = trained.summary.get("parameters")
        basis = fingerprint(files)
        self.bench = Bench(config, run, test, basis, trial, progress)
        self.finishing: Finishing | None = None
        if (settings := config.export.finish) is not None:
            place = run.path("export", "finish", "trials")
            bench = Bench(config, run, validation, basis, trial, progress, place)
            self.finishing = Finishing(
                config, settings, run, self.student, bench, self._made, progress
            )

    def ship(self, stage_fingerprint: str) -> dict[str, Any]:
        """Publishes the exports and their summary. What fails is listed, and stops no other.

        Raises:
            MachineError: the exports that are whole stay.
            StudentError: the student itself cannot be measured.
        """
        reference = self.bench.student()
        entries: list[Entry] = []
        failed: list[dict[str, Any]] = []
        for target in self.config.export.targets:
            try:
                entries.append(self._shipped(target, reference))
            except MachineError:
                raise
            except MwalimuError as error:
                failed.append({"name": target.name, "error": told(error), "why": str(error)})
                self.progress(f"export {target.name}", 0, 0, f"not exported: {error}")
        summary = self._summary(reference, entries, failed)
        files = [self.run.path("export", e["name"], n) for e in entries for n in (MANIFEST, SCORES)]
        files += [self._predictions(e["name"]) for e in entries if e["accuracy"]]
        self.run.finish("export", stage_fingerprint, files, summary)
        return summary

    def _shipped(self, target: TargetConfig, reference: Tried) -> Entry:
        folder = self.run.path("export", target.name)
        source, finish = self._source(target)
        export = self._made(source, target, folder)
        size = size_mib(folder, export)
        tried = self.bench.tried(export, folder, size)
        assert tried.parity is not None
        try:
            require_parity(target.name, target.precision, tried.parity)
        except StudentError:
            shutil.rmtree(folder)  # nobody is to ship it
            raise
        entry = self._entry(export, size, tried, reference)
        entry["finish"] = asdict(finish) if finish else None
        if entry["accuracy"]:
            write_rows(self._predictions(target.name), tried.rows)
        seal(folder, export, self._origin(), entry)
        return entry

    def _source(self, target: TargetConfig) -> tuple[Source, Finish | None]:
        """The student that the target is made of, and whether it was finished for it."""
        if self.finishing is None or target.precision not in ("int8", "int4"):
            return self.student, None
        return self.finishing.source(target)

    def _made(self, source: Source, target: TargetConfig, folder: Path) -> Export:
        basis = fingerprint(
            {
                "student": source.files,
                "target": target.model_dump(),
                "calibration": self.bench.calibration,
                "versions": versions(target.to),
            }
        )
        stage = f"export {target.name}"
        try:
            export = read_export(folder, verify=True)
            if export.basis == basis:
                self.progress(stage, 1, 1, "already made")
                return export
        except RunError:
            pass  # not there, or damaged
        self.progress(stage, 0, 0, "")
        return make(
            source.folder,
            folder,
            target,
            basis=basis,
            calibration=self.bench.calibration,
            note=lambda text: self.progress(stage, 0, 0, text),
        )

    def _entry(self, export: Export, size: float, tried: Tried, reference: Tried) -> Entry:
        """One export in the summary, and its scores.json. Unknown is None."""
        entry: Entry = {
            "name": export.name,
            "format": export.format,
            "precision": export.precision,
            "size_mib": size,
            "ratio": size / (4 * self.parameters / 2**20) if self.parameters else None,
            "loaded_mib": tried.loaded_mib,
            "performance": tried.performance.to_json(),
            "parity": asdict(tried.parity) if tried.parity else None,
            "accuracy": None,
        }
        if not tried.rows:
            return entry
        entry |= scored(self.config, tried.rows)
        entry |= against(self.config, tried.rows, reference.rows)
        return entry | {"student": {"accuracy": scored(self.config, reference.rows)["accuracy"]}}

    def _summary(
        self, reference: Tried, entries: list[Entry], failed: list[dict[str, Any]]
    ) -> dict[str, Any]:
        settings = self.config.export
        corrected = holm([entry["p_value"] for entry in entries if entry["accuracy"]])
        for entry in entries:
            entry["p_adjusted"] = corrected.pop(0) if entry["accuracy"] else None
            entry["gate"] = gate(entry, settings.require)
        student = {
            "name": "student",
            "loaded_mib": reference.loaded_mib,
            "performance": reference.performance.to_json(),
            "accuracy": None,
        }
        if reference.rows:
            student |= scored(self.config, reference.rows)
        return {
            "student": student,
            "exports": entries,
            "failed": failed,
            "pick": pick(entries, settings),
        }

    def _origin(self) -> Origin:
        curated = self.run.stage("curate") or self.run.require("generate")
        counts = curated.summary
        learned = counts.get("out") or counts.get("outcomes", {}).get("ok", 0)
        return Origin(self.config, self.run.manifest.get("inputs") or {}, learned)

    def _predictions(self, name: str) -> Path:
        """Not in the package: the test rows are the user's."""
        return self.run.path("export", "predictions", f"{name}.jsonl")
