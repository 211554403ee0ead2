"""What goes on on a node of a real cluster, when that dies: two nodes of two logical CPUs each."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import ScaleConfig
from mwalimu.errors import ConfigError
from mwalimu.scale import hosting
from mwalimu.scale.cluster import Cluster, Need
from mwalimu.scale.hosting import STOPPED, Hosted
from tests.jobs.waiting import wait_for
from tests.scale.conftest import Nodes
from tests.scale.lines import Lines

WHOLE = Need(2, 0)  # of a node


@pytest.fixture
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    nodes.mend()
    yield Cluster(ScaleConfig(engine="ray", address=nodes.address))
    nodes.mend()


class Told:
    """A program of Python on a node; its lines are events, as are those of all its lives."""

    def __init__(self, cluster: Cluster, script: str, *, need: Need = WHOLE) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.hosted = Hosted(cluster, need, Lines, f"import os, sys, time\n{script}", self.put)

    def put(self, event: Any) -> None:
        self.events.put(event)

    def next(self) -> Any:
        return self.events.get(timeout=120)


def test_events_come_in_order_and_the_end_is_the_last(cluster: Cluster) -> None:
    told = Told(cluster, "for i in range(50): print(i, flush=True)\nsys.exit(3)")
    events = [told.next() for _ in range(51)]
    assert events == [*({"said": f"{i}"} for i in range(50)), {"ended": {"code": 3, "said": ""}}]
    assert told.events.empty()


def test_two_are_on_two_nodes_and_a_third_waits_for_room(cluster: Cluster) -> None:
    raylet = "open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1]"
    script = f"print({raylet}, flush=True)\nsys.stdin.read()"
    first, second = Told(cluster, script), Told(cluster, script)
    where = {first.next()["said"], second.next()["said"]}
    assert len(where) == 2
    third = Told(cluster, script)
    first.hosted.stop()
    assert first.next()["ended"]["code"] == 0
    assert third.next()["said"] in where
    for told in (second, third):
        told.hosted.stop()
        assert told.next()["ended"]["code"] == 0


def test_what_waits_for_room_can_be_stopped(cluster: Cluster) -> None:
    script = "print('here', flush=True)\nsys.stdin.read()"
    at_work = [Told(cluster, script) for _ in range(2)]
    assert [told.next() for told in at_work] == [{"said": "here"}] * 2
    waits = Told(cluster, script)
    waits.hosted.stop()
    assert waits.next() == {"ended": {"code": STOPPED, "said": "stopped"}}
    for told in at_work:
        told.hosted.stop()
        told.next()


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[1])


def kill_its_worker(nodes: Nodes, pid: int) -> None:
    os.kill(parent_of(pid), signal.SIGKILL)


def kill_its_node(nodes: Nodes, pid: int) -> None:
    nodes.kill_node_of(parent_of(parent_of(pid)))


@pytest.mark.parametrize("kill", [kill_its_worker, kill_its_node])
def test_it_begins_anew_where_its_worker_or_node_dies(
    nodes: Nodes, cluster: Cluster, tmp_path: Path, kill: Callable[[Nodes, int], None]
) -> None:
    """What it left is found by its next life; the first one's process ends with its worker."""
    log = tmp_path / "log"
    script = (
        f"lives = open({str(log)!r}, 'a+')\nlives.write('x'); lives.flush(); lives.seek(0)\n"
        "life = len(lives.read())\nprint(life, os.getpid(), flush=True)\n"
        "if life == 1: sys.stdin.read()\n"
    )
    told = Told(cluster, script)
    life, pid = told.next()["said"].split()
    assert life == "1"
    kill(nodes, int(pid))
    assert told.next()["said"].split()[0] == "2"
    assert told.next() == {"ended": {"code": 0, "said": ""}}
    assert log.read_text() == "xx"
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_one_that_kills_its_worker_is_given_up(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "TRIES", 1)
    log = tmp_path / "log"
    script = f"open({str(log)!r}, 'a').write('x')\nos.kill(os.getppid(), 9)\nsys.stdin.read()"
    told = Told(cluster, script)
    said = "its worker or node died 2 times"
    assert told.next() == {"ended": {"code": -9, "said": said}}
    assert log.read_text() == "xx"


def test_one_that_cannot_begin_has_ended(cluster: Cluster) -> None:
    events: queue.Queue[Any] = queue.Queue()
    Hosted(cluster, WHOLE, Lines, 7, events.put)
    ended = events.get(timeout=120)["ended"]
    assert ended["code"] == 1 and ended["said"].startswith("TypeError: ")


def test_what_no_node_can_hold_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="no node of 3 has 3 CPUs"):
        Told(cluster, "", need=Need(3, 0))
