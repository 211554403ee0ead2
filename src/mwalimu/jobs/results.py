"""What a run folder tells of its job while it runs and after: read from what its manifest lists.

The manifest is trusted without hashing its files again: a page may ask often, and weights are
large.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mwalimu.data.record import Json
from mwalimu.files import whole_lines
from mwalimu.jobs.records import Event, Job
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.states import ENDED, State
from mwalimu.report.examples import Rows
from mwalimu.report.facts import rows_of
from mwalimu.report.funnel import funnel
from mwalimu.report.wording import DISTILLED
from mwalimu.run import STAGES, Run, StageState, asked_stages

METRICS = "finetune/metrics.jsonl"
LINES = 5000  # of metrics.jsonl at once

# Progress is told under a stage's own name, that name and more words, or one of these.
_ALSO = {"batch": "generate", "objective": "finetune", "finish": "export"}


class Results:
    """Of one job; each question is answered anew, since the run may be going on."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.run = Run(folder)
        self.stages = {name: StageState(**raw) for name, raw in self.run.manifest["stages"].items()}
        self.rows: Rows = partial(rows_of, self.run, self.stages)

    def progress(self, told: Iterable[Event]) -> list[Json]:
        """`told` are the newest progress events, one a label."""
        heard: dict[str, list[Event]] = defaultdict(list)
        at_work = None
        for event in sorted(told, key=lambda event: event.number):
            at_work = stage_of(event.data["stage"])
            heard[at_work].append(event)
        return [
            _step(name, self._state(name, at_work), heard[name], self.stages.get(name))
            for name in self._expected()
        ]

    def _expected(self) -> list[str]:
        """Those that are done, and while it goes on those that its config asks for."""
        wanted = set(self.stages)
        if self.job.state is not State.COMPLETED:
            wanted |= _asked_for(self.job)
        return [name for name in STAGES if name in wanted]

    def _state(self, stage: str, at_work: str | None) -> str:
        if stage in self.stages:
            return "done"
        return "running" if stage == at_work and self.job.state not in ENDED else "waiting"

    def funnel(self) -> list[Json]:
        return [
            {"stage": step.title, "in": step.rows_in, "out": step.rows_out}
            | {"rejects": dict(step.removed)}
            for step in funnel(self.rows)
        ]

    def spend(self, told: Iterable[Event]) -> Json:
        """`told` are the newest events of what was spent; the ledger's word where there is none."""
        found = next((event.data for event in told), None) or self._from_ledger()
        usd = found.get("usd") if self.job.spent_usd is None else self.job.spent_usd
        budget = (self.job.spec.config.get("budget") or {}).get("usd")
        known = {"requests": found.get("requests"), "tokens": found.get("tokens")}
        return {"usd": usd, "budget_usd": budget} | known

    def _from_ledger(self) -> Json:
        ledger = next(self.rows("generate", "generate/ledger.json"), None)
        if ledger is None:
            return {}
        spent = ledger["spent"]
        tokens = spent["prompt_tokens"] + spent["completion_tokens"]
        return {"usd": spent["usd"], "requests": spent["requests"], "tokens": tokens}

    def scores(self) -> Json:
        """The evaluation's summary; {} before it."""
        return self.stages["evaluate"].summary if "evaluate" in self.stages else {}

    def samples(self, limit: int, prompts: Mapping[str, str]) -> list[Json]:
        """The first test rows with every arm's answer."""
        asked: dict[str, Json] = {}
        answers: dict[str, dict[str, str]] = defaultdict(dict)
        for arm in self.arms():
            for row in islice(self.rows("evaluate", _predictions(arm)), limit):
                asked.setdefault(row["id"], row)
                answers[row["id"]][arm] = row["prediction"]
        return [
            {"id": name, "prompt": prompts.get(name, ""), "reference": row.get("reference")}
            | {"answers": answers[name]}
            for name, row in islice(asked.items(), limit)
        ]

    def arms(self) -> list[str]:
        listed = self.stages["evaluate"].files if "evaluate" in self.stages else {}
        files = map(Path, listed)
        return [file.stem for file in files if file.parent.as_posix() == "evaluate/predictions"]

    def graded(self) -> list[Json]:
        """The distilled student's test rows."""
        return list(self.rows("evaluate", _predictions(DISTILLED)))

    def metrics(self, after: int) -> tuple[list[Json], int]:
        """The lines from number `after` on, at most LINES, and the number of the next one."""
        lines = islice(whole_lines(self.run.path(METRICS)), after, after + LINES)
        found = [json.loads(line) for line in lines]
        return found, after + len(found)

    def artefacts(self) -> list[Json]:
        """Every file that the manifest lists and that is there."""
        listed = {file: hash for one in self.stages.values() for file, hash in one.files.items()}
        found = []
        for file, digest in sorted(listed.items()):
            path = self.run.path(file)
            if path.is_file():
                found.append({"path": file, "size": path.stat().st_size, "sha256": digest})
        return found

    def artefact(self, path: str) -> Path:
        """One of the listed files: no other name is looked at. Raises NotFound."""
        if not any(path in stage.files for stage in self.stages.values()):
            raise NotFound("there is no such file", where=path[:200])
        root, found = self.run.root.resolve(), self.run.path(path)
        if not found.is_file() or not found.resolve().is_relative_to(root):
            raise NotFound("the file is gone", where=path[:200])
        return found


def stage_of(label: str) -> str:
    """The stage that a label of progress belongs to; the label itself where there is none.

    What an arm learns, as in "finetune labels", is the evaluation's.
    """
    first, _, rest = label.strip().partition(" ")
    return "evaluate" if first == "finetune" and rest else _ALSO.get(first, first)


def prompts_of(path: Path, task: str, limit: int) -> dict[str, str]:
    """What the first test rows ask, by id; {} where the file is gone."""
    from mwalimu.data.formats.source import open_source
    from mwalimu.data.readers import BadRow, default_id

    if not path.is_file():
        return {}
    source = open_source(path, task=task)
    found = {}
    for line, row in islice(source.rows(), limit):
        if not isinstance(row, BadRow):
            record = source.format.record(row, task=task, default_id=default_id("test", line))
            found[record.id] = record.messages[-1].content
    return found


def comparison(sides: Sequence[Results], configs: Sequence[Json]) -> Json:
    """Scores, settings that differ, and the paired test between the two students."""
    from mwalimu.report.comparison import differing, paired

    return {
        "jobs": [side.job.name for side in sides],
        "scores": {side.job.name: side.scores() for side in sides},
        "settings": [{"key": key, "values": values} for key, values in differing(configs)],
        "test": paired(*(side.graded() for side in sides)),
    }


def _asked_for(job: Job) -> set[str]:
    return {"evaluate"} if job.spec.kind == "evaluation" else set(asked_stages(job.spec.config))


def _step(name: str, state: str, heard: Sequence[Event], done: StageState | None) -> Json:
    """`heard` in order: the last tells how far it is; those of other labels are its parts."""
    summary = {} if done is None else {k: v for k, v in done.summary.items() if _plain(v)}
    parts = [
        {"label": event.data["stage"]} | _counted(event.data)
        for event in heard
        if event.data["stage"] != name
    ]
    counted = _counted(heard[-1].data if heard else {})
    return {"stage": name, "state": state} | counted | {"parts": parts, "summary": summary}


def _counted(said: Json) -> Json:
    return {"done": said.get("done"), "total": said.get("total"), "note": said.get("note", "")}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _predictions(arm: str) -> str:
    return f"evaluate/predictions/{arm}.jsonl"
