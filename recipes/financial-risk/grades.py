"""How a risk note is graded: right are the risk and its level, in JSON, with a reason beside it."""

from __future__ import annotations

import json


def risk_note(prediction: str, reference: str) -> float:
    """1.0 where risk and level are those of `reference`, in an object that gives a reason too."""
    given, wanted = _object(prediction), _object(reference)
    reason = given.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        return 0.0
    return float(all(given.get(key) == wanted[key] for key in ("risk", "level")))


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


TASKS = {"risk_note": risk_note}
