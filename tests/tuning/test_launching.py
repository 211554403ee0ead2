"""A trial's process: what it tells, how it ends, how it is stopped."""

import queue
import sys
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import ScaleConfig
from mwalimu.errors import MissingDependency
from mwalimu.tuning.launching import InSubprocess, launch_of
from mwalimu.tuning.trial import Order
from tests.tuning.jobs import job


def order(folder: Path) -> Order:
    return Order({"task": "qa"}, str(folder / "trial"), "store", "rows", "stages", ("a",), False)


def started(folder: Path, script: str) -> tuple[InSubprocess, queue.Queue[Any]]:
    """A program of Python in the place of a trial."""
    program = ("-c", f"import json, os, sys\n{script}")
    events: queue.Queue[Any] = queue.Queue()
    return InSubprocess(order(folder), events.put, program), events


def test_events_come_in_order_and_the_end_comes_last(tmp_path: Path) -> None:
    script = (
        "order = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'usd': 0.5, 'folder': order['folder']}), flush=True)\n"
        "print('Killed by nobody', file=sys.stderr)\n"
        "print('{\"moment\": {\"epo', end='', flush=True)\n"
        "os._exit(7)"
    )
    _, events = started(tmp_path, script)
    assert events.get(timeout=60) == {"usd": 0.5, "folder": str(tmp_path / "trial")}
    assert events.get(timeout=60) == {"ended": {"code": 7, "said": "Killed by nobody"}}


def test_stop_is_the_end_of_its_input(tmp_path: Path) -> None:
    script = "sys.stdin.readline(); sys.stdin.read(); os._exit(130)"
    running, events = started(tmp_path, script)
    running.stop()
    running.stop()
    assert events.get(timeout=60) == {"ended": {"code": 130, "said": ""}}


def test_one_that_cannot_even_read_its_order_has_ended(tmp_path: Path) -> None:
    running, events = started(tmp_path, "sys.stdin.close(); sys.exit('no')")
    assert events.get(timeout=60)["ended"]["code"] == 1
    running.stop()


def test_without_a_cluster_trials_are_processes_of_this_machine() -> None:
    assert launch_of(job()) is InSubprocess


def test_with_ray_missing_a_search_over_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[ray\]'"):
        launch_of(job().model_copy(update={"scale": ScaleConfig(engine="ray")}))


def test_an_order_goes_through_a_line() -> None:
    import json

    one = order(Path("x"))
    raw = json.loads(one.to_line())
    assert Order(**raw).to_line() == one.to_line() and one.to_line().count(b"\n") == 1
