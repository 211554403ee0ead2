"""Groups of rows that come more often than others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import MixtureConfig
from mwalimu.errors import DataError
from mwalimu.finetune.mixture import Mixture, groups_of, mixture_of
from tests.finetune.jobs import sums, train, weights


def rows_of(**sizes: int) -> list[dict[str, Any]]:
    return [
        row | {"task": task}
        for seed, (task, size) in enumerate(sizes.items())
        for row in sums(size, seed=seed)
    ]


def made(rows: list[dict[str, Any]], **weights: float) -> Mixture:
    found = mixture_of(MixtureConfig(weights=weights), rows)
    assert found is not None
    return found


def test_an_epoch_has_as_many_rows_as_there_are_in_the_shares_that_are_asked_for() -> None:
    rows = rows_of(nli=30, qa=10)
    epochs = [made(rows, qa=3.0).rows(seed=1, epoch=epoch) for epoch in range(2)]
    for drawn in epochs:
        assert len(drawn) == 40 and drawn == sorted(drawn)
        assert Counter(row >= 30 for row in drawn) == {False: 20, True: 20}
        assert set(Counter(row for row in drawn if row >= 30).values()) == {2}
        assert len({row for row in drawn if row < 30}) == 20
    assert epochs[0] != epochs[1], "another epoch draws other rows of what is taken in part"
    assert made(rows, qa=3.0).rows(seed=1, epoch=1) == epochs[1]


def test_a_group_of_weight_0_is_left_out_and_equal_weights_change_nothing() -> None:
    rows = rows_of(nli=7, qa=5)
    assert set(made(rows, qa=0.0).rows(seed=0, epoch=0)) == set(range(7))
    assert made(rows, nli=2.0, qa=2.0).rows(seed=0, epoch=3) == list(range(12))
    assert made(rows, qa=1e-9).rows(seed=0, epoch=0) == made(rows, qa=0.0).rows(seed=0, epoch=0)


def test_a_row_that_teaches_several_turns_counts_as_often() -> None:
    chat = [{"role": role, "content": role} for role in ("user", "assistant") * 2]
    rows = [{"id": "a", "task": "qa", "messages": chat, "learn": "all"}, *sums(1)]
    assert groups_of("task", rows) == {"qa": [0, 1], "generic": [2]}


def test_metadata_names_groups_too() -> None:
    rows = [row | {"metadata": {"source": "web"}} for row in sums(2)] + sums(1)
    assert groups_of("source", rows) == {"web": [0, 1], "": [2]}


def test_what_cannot_be_is_told_in_one_line() -> None:
    assert mixture_of(None, sums(2)) is None
    with pytest.raises(DataError, match=r"names math, of which there is no row; by task there are"):
        made(rows_of(nli=2, qa=2), math=1.0)
    with pytest.raises(DataError, match="leaves no row to learn"):
        made(rows_of(nli=2, qa=2), nli=0.0, qa=0.0)
    with pytest.raises(ValueError, match="it is 0 or above"):
        MixtureConfig(weights={"qa": -1.0})


def test_a_student_learns_the_mixture(tmp_path: Path, tiny: Path) -> None:
    """Of weight 0 nothing is learned, of equal weights the same student, byte for byte."""
    mixture = {"by": "task", "weights": {"b": 0.0}}
    rows = rows_of(a=16, b=16)
    plain = train(tiny, tmp_path / "plain", rows=rows)
    mixed = train(tiny, tmp_path / "mixed", rows=rows, mixture=mixture)
    even = train(tiny, tmp_path / "even", rows=rows, mixture={"weights": {"a": 3.0, "b": 3.0}})
    found = [weights(tmp_path / name) for name in ("plain", "mixed", "even")]
    assert found[0] == found[2] and found[0] != found[1]
    assert plain["steps"] == mixed["steps"] == even["steps"]
