import re

import pytest

from mwalimu.report.verdict import training_hint, verdict
from tests.report.runs import TRAINING, deep_scores, scores

LEAD = (
    "The distilled student keeps 98.9 % of the teacher's accuracy with 8.3x fewer parameters and "
    "3.1x lower latency; it is "
)
LABELS = "than the student trained on your labels alone"


@pytest.mark.parametrize(
    ("p", "difference", "said"),
    [
        (1e-9, 0.412, f"significantly better {LABELS} (p < 0.0001)."),
        (0.002, 0.412, f"significantly better {LABELS} (p = 0.002)."),
        (0.31, 0.01, f"not significantly better {LABELS} (p = 0.31)."),
        (0.01, -0.05, f"significantly worse {LABELS} (p = 0.01)."),
    ],
)
def test_the_verdict_says_what_the_numbers_say(p: float, difference: float, said: str) -> None:
    assert verdict(scores(p, difference), TRAINING) == LEAD + said


def test_the_verdict_is_silent_on_what_is_unknown_or_alike() -> None:
    summary = scores()
    summary["arms"][0] |= {"parameters": None, "latency_p50_s": 0.02}
    assert verdict(summary, TRAINING).startswith(
        "The distilled student keeps 98.9 % of the teacher's accuracy; it is"
    )
    summary["retention"], summary["comparisons"] = None, []
    assert verdict(summary, TRAINING) == (
        "The distilled student reaches an accuracy of 92.8 % on 600 held-out rows."
    )


def test_the_verdict_without_an_evaluation_claims_nothing() -> None:
    said = verdict(None, TRAINING)
    assert said.startswith("No test file was given") and "is unknown" in said
    assert verdict(None, {}, test_given=True).startswith("The evaluate stage is not finished")


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([], "cannot be seen"),
        ([0.9, 0.5, 0.7], r"rose from 0.500 \(epoch 2\) to 0.700 \(epoch 3\)"),
        ([0.9, 0.7, 0.5], "still falling"),
        ([0.9, 0.5, 0.501], "levelled off"),
        ([float("nan"), 0.5], "levelled off"),
    ],
)
def test_the_hint_reads_the_validation_losses(losses: list[float], said: str) -> None:
    metrics = [{"epoch": e, "validation_loss": loss} for e, loss in enumerate(losses, start=1)]
    assert re.search(said, training_hint(metrics))


def test_the_gate_is_part_of_the_verdict() -> None:
    summary = deep_scores()
    summary["verdict"]["passed"] = True
    assert verdict(summary, {}).endswith(
        "It passes the gate: retention 0.989 where 0.95 is required, "
        "latency p95 s unknown where 0.01 is required."
    )
    summary["verdict"] = {"passed": None, "checks": []}
    assert "gate" not in verdict(summary, {})


def test_the_cost_is_told_where_both_prices_are_known() -> None:
    summary = deep_scores()
    assert "of the teacher's accuracy at 0.6 % of its cost" in verdict(summary, {})
    summary["price"] = None
    assert "of its cost" not in verdict(summary, {})
