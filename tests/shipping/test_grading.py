"""How often an export says what the student says, derived by hand."""

import pytest

from mwalimu.errors import GateFailed, MwalimuError
from mwalimu.shipping.grading import agreement
from mwalimu.shipping.telling import rebuilt, told


def row(prediction: str, *ids: int) -> dict[str, object]:
    return {"prediction": prediction, "ids": list(ids)}


def test_agreement_of_ids_and_of_texts() -> None:
    """Leading ids that are equal, of the longer answer: 2/2, 1/4, 0/2, 0/0."""
    student = [row("yes", 5, 2), row("a b c", 5, 6, 7, 2), row("no", 9, 2), row("")]
    export = [row("Yes.", 5, 2), row("a", 5, 2), row("maybe", 8, 2), row("")]
    found = agreement(export, student)
    assert found["answers"] == 2 / 4
    assert found["prefix"] == pytest.approx((1 + 1 / 4 + 0 + 1) / 4)
    assert found["texts"] == 2 / 4  # but for case and punctuation


def test_an_error_survives_a_file() -> None:
    error = rebuilt(told(GateFailed("missed", where="here", fix="do it")))
    assert type(error) is GateFailed and str(error) == "here: missed; do it"
    assert type(rebuilt(told(error) | {"kind": "Unknown"})) is MwalimuError
