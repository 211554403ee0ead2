"""Answers that are too short or too long for the user."""

from __future__ import annotations

from mwalimu.config import LengthConfig
from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault


def length(answer: Answered, limits: LengthConfig) -> Verdict:
    """Words are what spaces part; the ratio is characters of the answer to those of the prompt."""
    measured = {
        "words": len(answer.text.split()),
        "characters": len(answer.text),
        "ratio": len(answer.text) / max(1, len(answer.prompt)),
    }
    for unit, value in measured.items():
        low, high = getattr(limits, f"min_{unit}"), getattr(limits, f"max_{unit}")
        if low is not None and value < low:
            return fault(f"too short ({unit})", value)
        if high is not None and value > high:
            return fault(f"too long ({unit})", value)
    return KEPT
