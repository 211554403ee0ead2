"""Steps come in order, one of them ahead, with the errors where they belong; passes are bounded."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from mwalimu.data.collate import Batch
from mwalimu.finetune.loader import AHEAD, Loader, ahead
from mwalimu.finetune.teacher.view import Mixed, TeacherView
from mwalimu.finetune.teaching import Teaching, accumulate
from mwalimu.objectives.packing import BLOCKS
from tests.finetune.models import make_model, make_rows

CPU = torch.device("cpu")


def test_results_come_in_order_and_from_another_thread() -> None:
    def slowest_first(number: int) -> tuple[int, int]:
        time.sleep(0.01 * (5 - number))
        return number, threading.get_ident()

    with ahead(slowest_first, range(5)) as made:
        found = list(made)
    assert [number for number, _ in found] == list(range(5))
    assert {thread for _, thread in found}.isdisjoint({threading.get_ident()})


def test_no_more_than_the_next_is_made_ahead() -> None:
    made: list[int] = []
    with ahead(lambda number: made.append(number) or number, range(100)) as results:
        for number in results:
            time.sleep(0.002)
            assert len(made) <= number + 1 + AHEAD
            if number == 5:
                break
    time.sleep(0.01)
    assert len(made) <= 6 + AHEAD


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ZeroDivisionError("the third")
        return number

    found = []
    with pytest.raises(ZeroDivisionError, match="the third"), ahead(make, range(9)) as made:
        for number in made:
            found.append(number)
    assert found == [0, 1]


def test_leaving_does_not_wait_for_what_is_being_made() -> None:
    stuck = threading.Event()
    try:
        begun = time.perf_counter()
        with pytest.raises(KeyboardInterrupt), ahead(lambda _: stuck.wait(30), range(2)):
            raise KeyboardInterrupt
        assert time.perf_counter() - begun < 5
    finally:
        stuck.set()


class Views:
    """A teacher that remembers where it was looked at."""

    hidden_size = 0

    def __init__(self, *, early: bool, waits: bool = False) -> None:
        self.early = early
        self.waits = waits
        self.looked: list[Batch] = []

    def look(self, batch: Batch) -> TeacherView:
        self.looked.append(batch)
        return TeacherView()

    def ahead(self, batch: Batch) -> TeacherView | None:
        return self.look(batch) if self.early else None

    def close(self) -> None: ...


def loader_of(most: int | None = None, source: Any = None) -> Loader:
    return Loader(Teaching(make_model(), source=source, packings=[BLOCKS]), 0, CPU, most)


def test_without_a_bound_a_group_is_a_pass() -> None:
    rows = make_rows(10)
    groups = [(rows[:4], False), (rows[4:6], True), (rows[6:], False)]
    step = loader_of().step(groups)
    for (own, kind), batch in zip(groups, step.batches, strict=True):
        assert sorted(map(id, own)) == sorted(map(id, batch.rows)) and batch.on_policy == kind
    assert step.views == [None] * 3


@pytest.mark.parametrize("most", [1, 30, 60, 10**6])
def test_with_a_bound_passes_are_made_of_all_rows_of_a_kind(most: int) -> None:
    rows = make_rows(20)
    groups = [(rows[:7], False), (rows[7:10], True), (rows[10:], False)]
    step = loader_of(most).step(groups)
    for batch in step.batches:
        assert batch.ids_BT.numel() <= most or len(batch.rows) == 1
    for kind in (False, True):
        own = [row for batch in step.batches if batch.on_policy == kind for row in batch.rows]
        given = [row for rows, k in groups if k == kind for row in rows]
        assert sorted(map(id, own)) == sorted(map(id, given))
        lengths = [len(row.ids) for row in own]
        assert lengths == sorted(lengths)
    assert len(step.batches) <= (2 if most == 10**6 else 20)


def test_how_rows_are_passed_changes_no_gradient() -> None:
    rows, expected = make_rows(12), None
    for loader in (loader_of(), loader_of(25), loader_of(1)):
        model = loader.teaching.forward.model.double()
        step = loader.step([(rows[:6], False), (rows[6:], False)])
        model.zero_grad()
        loss = accumulate(loader.teaching, step.batches, 0.0, step.views).loss
        found = [float(loss), *(p.grad.clone() for p in model.parameters())]
        expected = expected or found
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_view_that_can_be_had_early_is_not_looked_for_again() -> None:
    for early in (True, False):
        source = Views(early=early)
        loader = loader_of(source=source)
        step = loader.step([(make_rows(2), False)])
        assert source.looked == (step.batches if early else [])
        accumulate(loader.teaching, step.batches, 0.0, step.views)
        assert source.looked == step.batches


def test_the_cache_beside_a_teacher_is_read_early_for_its_own_rows_alone() -> None:
    cached, live = Views(early=True), Views(early=False)
    loader = loader_of(source=Mixed(cached, live))
    step = loader.step([(make_rows(2), False), (make_rows(3), True)])
    assert cached.looked == step.batches[:1] and not live.looked
    assert step.views == [TeacherView(), None]


@pytest.mark.parametrize(
    ("device", "waits", "thread"),
    [("cpu", False, False), ("cpu", True, True), ("cuda", False, True)],
)
def test_a_thread_is_for_copies_to_a_gpu_and_for_a_teacher_that_waits(
    device: str, waits: bool, thread: bool
) -> None:
    loader = loader_of(source=Views(early=True, waits=waits))
    loader = replace(loader, device=torch.device(device))
    with loader.steps(lambda _: threading.get_ident(), range(3)) as made:
        assert (set(made) != {threading.get_ident()}) is thread


def test_given_is_taken_lazily() -> None:
    taken: list[int] = []

    def given() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with ahead(lambda number: number, given()) as made:
        next(made)
    assert len(taken) == 1 + AHEAD
