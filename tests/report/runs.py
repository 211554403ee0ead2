"""Run folders with made-up numbers and hostile text in every stage."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mwalimu.run import Run

Row = dict[str, Any]
ARMS = ("teacher", "student-before", "student-labels", "student-distilled")
HOSTILE = "<script>alert(1)</script> | `x` [a](javascript:b)\r\n\n# title\x1b[31m \ud83d"
TRAINING = {
    "steps": 4,
    "epochs": 2,
    "validation_loss": 0.5,
    "parameters": 1000,
    "warnings": ["the loss jumped to 20 at step 3"],
}


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.02}


def arm(name: str, accuracy: float, tasks: Iterable[str] = ("qa", "math")) -> Row:
    teacher = name == "teacher"
    return {
        "name": name,
        "accuracy": interval(accuracy),
        "by_task": {task: interval(accuracy) for task in tasks},
        "token_f1": accuracy,
        "bleu": None,
        "rouge_l": accuracy,
        "finished": None if teacher else 1.0,
        "latency_p50_s": 0.0612 if teacher else 0.0197,
        "latency_p95_s": 0.0951 if teacher else 0.0311,
        "tokens_per_s": 1234.5,
        "peak_memory_mib": 1402.9,
        "parameters": 10_062_000 if teacher else 1_213_440,
        "size_mib": 38.4 if teacher else 4.6,
        "usd_per_1k": None,
    }


def comparison(against: str, difference: float, p: float) -> Row:
    return {
        "arm": "student-distilled",
        "against": against,
        "difference": interval(difference),
        "p_value": p,
        "test": "exact McNemar",
    }


def scores(
    p: float = 1e-9, difference: float = 0.412, tasks: Iterable[str] = ("qa", "math")
) -> Row:
    return {
        "rows": 600,
        "seed": 0,
        "bootstrap": 2000,
        "missing": ["pip install 'mwalimu[eval]'"],
        "tasks": {task: {"rows": 300, "metric": "exact match"} for task in tasks},
        "arms": [arm(n, a, tasks) for n, a in zip(ARMS, (0.938, 0.0, 0.515, 0.928), strict=True)],
        "comparisons": [
            comparison("teacher", -0.01, 0.21),
            comparison("student-labels", difference, p),
        ],
        "retention": {"mean": 0.989, "low": 0.975, "high": 1.003},
    }


def write(path: Path, *rows: Row) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_bytes("".join(lines).encode("utf-8", "backslashreplace"))
    return path


def add_generate(run: Run, **ledger: Any) -> None:
    prompt = {"role": "user", "content": "What is it?"}
    answer = {"role": "assistant", "content": HOSTILE}
    row = {"id": "a", "task": "qa", "messages": [prompt, answer]}
    reject = row | {"status": "truncated", "reason": HOSTILE, "answer": "too lo"}
    facts: Row = {
        "inputs": 10,
        "outcomes": {"ok": 7, "truncated": 2, "duplicate": 1},
        "reject_reasons": {HOSTILE: 2},
        "tokens": {"prompt": 120, "completion": 80},
        "requests_sent": 9,
        "answers_reused": 0,
        "retries": {"HTTP 429": 3},
        "ambiguous_retries": 0,
        "repeated_after_a_crash": 0,
        "usd": None,
    }
    files = [
        write(run.path("generate", "train.jsonl"), row),
        write(run.path("generate", "rejects.jsonl"), reject),
        write(run.path("generate", "ledger.json"), facts | ledger),
    ]
    run.finish("generate", "g", files, {})


def add_curate(run: Run) -> None:
    prompt, answer = (
        {"role": role, "content": HOSTILE + text}
        for role, text in (("user", "asked"), ("assistant", "said"))
    )
    reject = {"id": "b", "task": "qa", "messages": [prompt, answer], "check": "refusal"}
    removed = {f"refusal: {HOSTILE}": 2}
    files = [
        write(run.path("curate", "train.jsonl"), reject | {"id": "a"}),
        write(run.path("curate", "rejects.jsonl"), reject | {"reason": HOSTILE, "value": None}),
        write(
            run.path("curate", "funnel.json"),
            {"splits": {"train": {"in": 7, "out": 5, "removed": removed}}},
        ),
    ]
    run.finish("curate", "c", files, {})


def add_signals(run: Run) -> None:
    summary = {"examples": 9, "encodings": "topk, realised", "left_out": {HOSTILE: 1}}
    for name in ("topk", "realised"):
        summary |= {f"{name}_rows": 8, f"{name}_tokens": 1234, f"{name}_bytes": 3 << 20}
        summary |= {f"{name}_bytes_per_token": 19.7}
    run.finish("signals", "s", [], summary | {"seconds": 12.34})


def add_finetune(run: Run) -> None:
    steps = [{"step": s, "epoch": s / 2, "loss": 1 / s} for s in range(1, 5)]
    validations = [
        {"step": 2 * e, "epoch": e, "validation_loss": 1 / e, "best": True} for e in (1, 2)
    ]
    path = write(run.path("finetune", "metrics.jsonl"), *steps, *validations)
    run.finish("finetune", "f", [path], TRAINING)


def add_evaluate(run: Run, summary: Row | None = None) -> None:
    summary = summary or scores()
    files = [write(run.path("evaluate", "scores.json"), summary)]
    for name in ARMS:
        answer = "30 days" if name != "student-labels" else HOSTILE
        row = {"id": "t1", "task": "qa", "prediction": answer, "reference": "30 days"}
        row |= {"finished": None if name == "teacher" else True, "score": 1.0}
        files.append(write(run.path("evaluate", "predictions", f"{name}.jsonl"), row))
    run.finish("evaluate", "e", files, summary)


def full_run(root: Path, **ledger: Any) -> Run:
    run = Run(root)
    data = {"train": "train.jsonl", "test": "test.jsonl"}
    teacher = {"model": "big", "base_url": "https://me:secret@host/v1"}
    config = {"task": "qa", "data": data, "teacher": teacher, "student": {"model": "/m/small"}}
    run.describe(config=config, seed=7, inputs={"train": "ab12"}, versions={"mwalimu": "0.1.0"})
    add_generate(run, **ledger)
    add_curate(run)
    add_signals(run)
    add_finetune(run)
    add_evaluate(run)
    return run


def deep_scores() -> Row:
    """With everything that an evaluation can measure."""
    summary = scores()
    for place, found in enumerate(summary["arms"]):
        found |= {"macro_f1": 0.9, "bleu": 31.4, "chrf": 52.7, "bits_per_byte": 1.234}
        found |= {"bert_score": None, "agreement": None if place == 0 else 0.87}
        found |= {
            "requests_per_s": 2.5,
            "latency_p99_s": 0.12,
            "first_token_p50_s": 0.004,
            "joules_per_request": None,
        }
        found |= {"calibration": {"ece": 0.0432} if place else None}
        found["groups"] = {
            "region": {HOSTILE: {"rows": 40, "accuracy": interval(0.8)}}
            | ({} if place else {"north": {"rows": 60, "accuracy": interval(0.7)}})
        }
    summary["arms"][0]["usd_per_1k"] = 2.0
    for found in summary["comparisons"]:
        found["p_adjusted"] = 0.0321
    checks = [
        {"name": "retention", "required": 0.95, "measured": 0.989, "passed": True},
        {"name": "latency_p95_s", "required": 0.01, "measured": None, "passed": False},
    ]
    return summary | {
        "seeds": {"student-distilled": {"accuracies": [0.9, 0.92], "mean": 0.91, "sd": 0.0141}},
        "divergence": {"kl": 0.0567, "same_best_token": 0.961, "acceptance": 0.853}
        | {"tokens_per_step": 3.41, "draft_tokens": 4, "tokens": 900},
        "judge": {"rows": 50, "win_rate": interval(0.48), "consistency": 0.82},
        "price": {"usd_per_hour": 0.4, "requests_per_hour": 36_000.0, "usd_per_1k": 0.0111}
        | {"break_even_per_hour": 200.0, "reachable": True},
        "verdict": {"passed": False, "checks": checks},
    }
