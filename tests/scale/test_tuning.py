"""A search whose trials are on the nodes of a real cluster."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwalimu.config import ScaleConfig, load_config
from mwalimu.errors import ConfigError, Misplaced
from mwalimu.pipeline import Pipeline
from mwalimu.scale.cluster import Cluster, Need
from mwalimu.scale.hosting import Hosted
from mwalimu.tuning.launching import Event, Launch, Running, launch_of
from mwalimu.tuning.trial import Order
from mwalimu.tuning.tune import tune
from tests.jobs.waiting import wait_for
from tests.scale.conftest import Nodes
from tests.scale.made_up import MadeUp
from tests.scale.test_hosting import parent_of
from tests.tuning.jobs import Nowhere, drawn, job, search
from tests.tuning.test_tune import written

TRAINS = pytest.mark.skipif(
    not os.environ.get("MWALIMU_LONG"), reason="MWALIMU_LONG=1: students are trained on the nodes"
)

ABREAST = pytest.mark.skipif(
    not os.environ.get("MWALIMU_LONG"),
    reason="MWALIMU_LONG=1: that two are on two nodes is tried by test_hosting too",
)


def on_nodes(nodes: Nodes, *, holds: int) -> Launch:
    cluster = Cluster(ScaleConfig(engine="ray", address=nodes.address))
    return partial(Hosted, cluster, Need(2, 0), partial(MadeUp, holds=f"{holds:04}"))


def lives(root: Path, number: int) -> list[int]:
    """The raylets under which a trial was begun."""
    found = sorted((root / "tuning" / "trials" / f"{number:04}").glob("life-*"))
    return [int(text) for life in found if (text := life.read_text())]


def killing_its_node(nodes: Nodes, root: Path, number: int) -> threading.Thread:
    """Of a trial, once it is under way there."""

    def work() -> None:
        (raylet,) = wait_for(lambda: lives(root, number))
        nodes.kill_node_of(raylet)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_journal_is_that_of_this_machine_whatever_node_dies(
    nodes: Nodes, tmp_path: Path
) -> None:
    """Every recipe, what it was worth, and which were ended early."""
    nodes.mend()
    config = job(warm_up=2)
    here = search(tmp_path / "here", config, Nowhere(), budget="3trials")
    here.run()
    wanted = drawn(here)
    assert {state for _, state, _ in wanted} == {"COMPLETE", "PRUNED"}
    there = search(tmp_path / "there", config, on_nodes(nodes, holds=0), budget="3trials")
    killer = killing_its_node(nodes, tmp_path / "there", 0)
    there.run()
    killer.join()
    nodes.mend()
    assert drawn(there) == wanted
    assert [len(lives(tmp_path / "there", n)) for n in range(3)] == [2, 1, 1]


@ABREAST
def test_several_at_a_time_are_on_several_nodes_and_none_is_lost(
    nodes: Nodes, tmp_path: Path
) -> None:
    nodes.mend()
    config = job(parallel=2, pruner="none")
    found = search(tmp_path, config, on_nodes(nodes, holds=1), budget="3trials")
    killer = killing_its_node(nodes, tmp_path, 1)
    found.run()
    killer.join()
    nodes.mend()
    assert [state for _, state, _ in drawn(found)] == ["COMPLETE"] * 3
    assert lives(tmp_path, 0)[0] != lives(tmp_path, 1)[0]
    assert len(lives(tmp_path, 1)) == 2


def scaled(path: Path, nodes: Nodes, **tune: Any) -> Pipeline:
    raw = yaml.safe_load(path.read_text())
    raw["scale"] = {"engine": "ray", "address": nodes.address, "cpus_per_worker": 2}
    raw["tune"] |= tune
    path.write_text(yaml.safe_dump(raw))
    return Pipeline(load_config(path), path.parent / "run", store=path.parent / "answers")


def raylet_of(log: Path) -> list[int]:
    """Of the trial whose process writes there, in a list; empty where none does."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.path.samefile(f"/proc/{name}/fd/2", log):
                return [parent_of(parent_of(int(name)))]
    return []


@TRAINS
def test_a_real_search_outlives_the_node_of_a_trial(nodes: Nodes, tmp_path: Path) -> None:
    """Students are trained and measured there; the chosen one's recipe is written."""
    nodes.mend()
    pipeline = scaled(written(tmp_path), nodes, parallel=2, budget="3trials")
    trial = tmp_path / "run/tuning/trials/0001"

    def work() -> None:
        wait_for((trial / "finetune").exists, 500)
        (raylet,) = raylet_of(trial / "log.txt")
        nodes.kill_node_of(raylet)

    killer = threading.Thread(target=work)
    killer.start()
    found = tune(pipeline)
    killer.join()
    nodes.mend()
    assert all(one.state in ("complete", "pruned") and not one.why for one in found.trials)
    assert len(found.trials) == 3 and (tmp_path / "run/tuning/best.yaml").is_file()
    assert (trial / "log.txt").read_text().count("goes on from step") == 1


@TRAINS
def test_a_node_without_the_folder_ends_the_search(nodes: Nodes, tmp_path: Path) -> None:
    nodes.mend()
    pipeline = scaled(written(tmp_path), nodes, budget="2trials")
    launch = launch_of(pipeline.config)

    def elsewhere(order: Order, heard: Callable[[Event], None]) -> Running:
        return launch(replace(order, rows=str(tmp_path / "away")), heard)

    with pytest.raises(Misplaced, match="the folder of the search is not on node"):
        tune(pipeline, launch=elsewhere)


def test_a_key_in_the_config_is_refused_before_anything(nodes: Nodes, tmp_path: Path) -> None:
    path = written(tmp_path)
    raw = yaml.safe_load(path.read_text())
    raw["teacher"] = {"model": "m", "base_url": "http://me:sk-secret@127.0.0.1:1/v1"}
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match="would be handed to Ray"):
        tune(scaled(path, nodes, budget="2trials"))
    assert not (tmp_path / "run").exists()
