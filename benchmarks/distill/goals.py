"""What a cached step is meant to reach, and whether the rounds do; ratios are within a round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

Row = dict[str, Any]  # {"arm", "round", "seconds", "peak_mib", ...}
TIME, MEMORY = "seconds", "peak_mib"


@dataclass(frozen=True)
class Goal:
    """The ratio of `arm` to `other` is at most, or at least, a number, to two decimals."""

    text: str
    arm: str
    other: str
    key: str
    most: float | None = None
    least: float | None = None

    def met(self, ratio: float) -> bool:
        if self.most is not None:
            return round(ratio, 2) <= self.most
        return self.least is not None and round(ratio, 2) >= self.least


CACHED, SFT = "ours-cached-kd", "ours-sft-fused"
GOALS = (
    Goal("time of a cached step, of fused SFT: at most 1.00", CACHED, SFT, TIME, most=1.0),
    Goal("memory of a cached step, of fused SFT: at most 1.00", CACHED, SFT, MEMORY, most=1.0),
    Goal("time of a cached step, of plain SFT: at most 0.75", CACHED, "hf-sft", TIME, most=0.75),
    Goal(
        "memory of a cached step, of plain SFT: at most 0.75", CACHED, "hf-sft", MEMORY, most=0.75
    ),
    Goal("TRL GKD's time, of a cached step: at least 7", "trl-gkd", CACHED, TIME, least=7.0),
    Goal("TRL stable KL's time, the same: at least 4", "trl-stable-kl", CACHED, TIME, least=4.0),
    Goal("TRL stable JSD's time, the same: at least 4", "trl-stable-jsd", CACHED, TIME, least=4.0),
    Goal("TRL GKD's memory, of a cached step: at least 5", "trl-gkd", CACHED, MEMORY, least=5.0),
)


def ratios(rows: list[Row], arm: str, other: str, key: str) -> list[float]:
    """Of `arm` to `other`, in the rounds that have both."""
    mine, theirs = by_round(rows, arm, key), by_round(rows, other, key)
    return [mine[number] / theirs[number] for number in sorted(mine.keys() & theirs.keys())]


def by_round(rows: list[Row], arm: str, key: str) -> dict[int, float]:
    found = [row for row in rows if row["arm"] == arm and row.get(key) is not None]
    return {row["round"]: row[key] for row in found}


def verdicts(rows: list[Row], size: str) -> list[tuple[str, str, str]]:
    """(goal, median, verdict). They are of the full size: in a small one all is overhead."""
    found = []
    for goal in GOALS:
        values = ratios(rows, goal.arm, goal.other, goal.key)
        middle = f"{median(values):.3f}" if values else "-"
        verdict = ("met" if goal.met(median(values)) else "missed") if values else "not measured"
        found.append((goal.text, middle, verdict if size == "full" else "not judged at this size"))
    return found
