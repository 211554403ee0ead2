"""Jobs as workers would have left them: rows of the store, and run folders with their manifests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mwalimu.files import write_json
from mwalimu.jobs.http.service import Service
from mwalimu.jobs.records import Lease, Spec
from mwalimu.jobs.states import State
from mwalimu.run import Run

CONFIG: dict[str, Any] = {
    "task": "generic",
    "data": {"train": "data/train.jsonl", "test": "data/test.jsonl"},
    "teacher": {"model": "fake", "usd_per_million_input": 1, "usd_per_million_output": 2},
    "student": {"model": "phi-4-mini"},
    "budget": {"usd": 40},
}
TO_RUNNING = (State.PREPARING, State.RUNNING)


class Words:
    """The texts that users, teachers and students may write; a test makes them hostile."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.next = 0

    def __call__(self, usual: str) -> str:
        if not self.texts:
            return usual
        self.next += 1
        return self.texts[self.next % len(self.texts)]


USUAL = Words()


def spec(title: str = "", *, words: Words = USUAL, resource: str = "cpu", **given: Any) -> Spec:
    return Spec(
        kind=given.pop("kind", "distillation"),
        config=given.pop("config", CONFIG),
        display_name=words(title),
        experiment_name=words("support desk"),
        tags={words("team"): words("support")},
        resource=resource,
        **given,
    )


def queued(service: Service, name: str, title: str, *, owner: str = "sam", **given: Any) -> str:
    return service.store.submit(spec(title, **given), owner=owner, name=name).name


def started(service: Service, name: str, title: str, **given: Any) -> Lease:
    """Running, held by nobody's process."""
    queued(service, name, title, resource=f"slot-{name}", **given)
    lease = service.store.claim(f"slot-{name}", f"slot-{name}")
    assert lease is not None
    for state in TO_RUNNING:
        service.store.advance(lease, state)
    return lease


def completed(service: Service, name: str, title: str, *, better: float = 0.0, **given: Any) -> str:
    words = given.get("words", USUAL)
    lease = started(service, name, title, **given)
    write_run(service.workspace.run(name), words=words, better=better)
    write_log(service.workspace.log(name), words)
    summary = {"student": words("phi-4-mini-distilled"), "accuracy": 0.86 + better}
    service.store.report(lease, "progress", progress("evaluate", 600, 600, words("600 rows")))
    service.store.advance(lease, State.FINALIZING)
    service.store.advance(lease, State.COMPLETED, summary=summary, spent_usd=12.4)
    return name


def failed(service: Service, name: str, title: str, **given: Any) -> str:
    words = given.get("words", USUAL)
    lease = started(service, name, title, **given)
    error = {
        "what": words("the loss is not finite at step 412"),
        "where": words("finetune"),
        "fix": words("lower finetune.learning_rate"),
        "exit_code": 1,
    }
    service.store.advance(lease, State.FAILED, error=error, spent_usd=3.1)
    return name


def progress(stage: str, done: int, total: int, note: str) -> dict[str, Any]:
    return {"stage": stage, "done": done, "total": total, "note": note}


def write_log(path: Path, words: Words = USUAL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"12:00:{i % 60:02} finetune: {words('step ' + str(i))}" for i in range(200))
    path.write_text("\n".join(lines) + "\n")


def write_run(folder: Path, *, words: Words = USUAL, better: float = 0.0) -> None:
    run = Run(folder)
    run.describe(config=CONFIG)
    rejects = [{"id": f"row-{i}", "reason": words("refusal")} for i in range(3)]
    outcomes = {"ok": 880, "truncated": 80, words("refused"): 40}
    spent = {"usd": 12.4, "requests": 1012, "prompt_tokens": 90_000, "completion_tokens": 41_000}
    ledger = {"inputs": 1000, "outcomes": outcomes, "spent": spent}
    answers = [_row(i, words) for i in range(20)]
    _finish(run, "generate", ledger, {"train": answers, "rejects": rejects}, "ledger.json")
    removed = {words("copied"): 30, "length": 12}
    funnel = {"splits": {"train": {"in": 880, "out": 838, "removed": removed}}}
    _finish(run, "curate", funnel, {"train": answers, "rejects": rejects}, "funnel.json")
    write_lines(folder / "finetune" / "metrics.jsonl", metrics(300, words))
    run.finish("finetune", "f", [folder / "finetune" / "metrics.jsonl"], {"steps": 300})
    _evaluated(run, words, better)


def _finish(run: Run, stage: str, found: Any, rows: dict[str, list[Any]], name: str) -> None:
    folder = run.path(stage)
    for split, lines in rows.items():
        write_lines(folder / f"{split}.jsonl", lines)
    write_json(folder / name, found)
    run.finish(stage, stage, [*folder.glob("*.json*")], {"rows": 880})


def _evaluated(run: Run, words: Words, better: float) -> None:
    folder = run.path("evaluate")
    write_json(folder / "scores.json", scores(words, better))
    arms = ("teacher", "student-before", "student-distilled")
    for arm in arms:
        rows = [_predicted(i, arm, words) for i in range(20)]
        write_lines(folder / "predictions" / f"{arm}.jsonl", rows)
    files = [folder / "scores.json", *(folder / "predictions").glob("*.jsonl")]
    run.finish("evaluate", "e", files, scores(words, better))


def _row(i: int, words: Words) -> dict[str, Any]:
    turns = [
        {"role": "user", "content": words(f"Where is order {i}?")},
        {"role": "assistant", "content": words("It is on its way, and comes on Friday.")},
    ]
    return {"id": f"row-{i}", "task": "generic", "messages": turns}


def _predicted(i: int, arm: str, words: Words) -> dict[str, Any]:
    return {
        "id": f"row-{i}",
        "task": "generic",
        "prompt": words(f"Where is order {i}?"),
        "prediction": words(f"It is on its way ({arm})."),
        "reference": words("It is on its way."),
        "score": float(i % 3 > 0),
        "scores": {"token_f1": 0.8},
    }


def metrics(steps: int, words: Words = USUAL) -> Iterable[dict[str, Any]]:
    for step in range(1, steps + 1):
        loss = 0.4 + 2.2 * math.exp(-step / 60) + 0.05 * math.sin(step)
        yield {
            "step": step,
            "epoch": round(step / 100, 3),
            "loss": loss,
            "learning_rate": 2e-5 * min(step / 15, 1 - step / (steps + 1)),
            "grad_norm": 0.8 + 0.3 * math.cos(step / 3),
            "tokens": 2048 * step,
            "seconds": 0.4 * step,
            "tokens_per_second": 5100 + 200 * math.sin(step / 5),
            "mfu": 0.31,
            "peak_memory_mib": 9000 + min(step, 20) * 30,
        }
        if step % 50 == 0:
            yield {"step": step, "epoch": 1, "validation_loss": loss + 0.08, "best": True}
    yield {"step": steps, "epoch": 3, "event": "spike", "text": words("the loss jumped at 212")}


def scores(words: Words = USUAL, better: float = 0.0) -> dict[str, Any]:
    means = {"teacher": 0.91, "student-before": 0.34, "student-distilled": 0.86 + better}
    return {
        "rows": 600,
        "seed": 0,
        "bootstrap": 2000,
        "missing": [],
        "tasks": {"generic": {"rows": 600, "metric": "exact match"}},
        "arms": [_arm(name, mean) for name, mean in means.items()],
        "comparisons": [
            _compared("student-before", 0.52, words),
            _compared("teacher", -0.05, words),
        ],
        "retention": {"mean": 0.945, "low": 0.92, "high": 0.97},
        "seeds": {},
        "divergence": None,
        "judge": None,
        "price": None,
        "verdict": None,
    }


def _compared(against: str, mean: float, words: Words) -> dict[str, Any]:
    return {
        "arm": "student-distilled",
        "against": against,
        "difference": interval(mean),
        "p_value": 1e-9 if mean > 0 else 0.012,
        "p_adjusted": 2e-9 if mean > 0 else 0.012,
        "test": words("exact McNemar"),
    }


def _arm(name: str, mean: float) -> dict[str, Any]:
    return {
        "name": name,
        "accuracy": interval(mean),
        "by_task": {"generic": interval(mean)},
        "token_f1": mean - 0.02,
        "bleu": 100 * mean - 20,
        "rouge_l": mean - 0.05,
        "agreement": None if name == "teacher" else mean,
        "latency_p50_s": 1.8 if name == "teacher" else 0.11,
        "tokens_per_s": 40.0 if name == "teacher" else 900.0,
        "peak_memory_mib": None if name == "teacher" else 7600.0,
        "parameters": None if name == "teacher" else 3_836_021_760,
        "usd_per_1k": 1.2 if name == "teacher" else None,
    }


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.028, "high": mean + 0.025}


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
