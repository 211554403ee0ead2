"""What a check says of an answer."""

from __future__ import annotations

from mwalimu.data.record import value_class


@value_class
class Verdict:
    """`reason` names the fault, one of a few phrases a check; `value` is what was measured."""

    keep: bool
    reason: str = ""
    value: str | float | None = None


KEPT = Verdict(keep=True)


def fault(reason: str, value: str | float | None = None) -> Verdict:
    """Not to be learned. Texts are shown by their first 120 characters."""
    return Verdict(False, reason, value[:120] if isinstance(value, str) else value)
