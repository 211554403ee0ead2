"""Stage 1 on a real cluster of several nodes: the same bytes, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.arms import LABELS, TEXT, Arms, train_ahead
from mwalimu.config import Config, build_config
from mwalimu.data.record import Message, Record
from mwalimu.errors import RunError, TeacherRefusesKey
from mwalimu.run import Run
from mwalimu.scale.scorer import scorer_builder_of
from mwalimu.scale.spread import spread
from mwalimu.synthesis.capture.capture import capture
from mwalimu.synthesis.capture.scorers import build_scorer
from mwalimu.synthesis.store import AnswerStore
from tests.jobs.waiting import wait_for
from tests.scale.conftest import Nodes
from tests.scale.driver import live
from tests.synthesis.capture.jobs import answered_run, gold_rows
from tests.synthesis.capture.jobs import job as taught
from tests.synthesis.teacher_server import TeacherServer
from tests.tiny import make_tiny_model

ROWS, CONCURRENCY, WORKERS = 60, 4, 2
RETRIES = 1 if os.environ.get("MWALIMU_LONG") else 0  # each costs another worker
ROOT = Path(__file__).parents[2]
LOADS_MODELS = pytest.mark.skipif(
    not os.environ.get("MWALIMU_LONG"), reason="MWALIMU_LONG=1: torch is imported on every node"
)

WORKER_ALONE = pytest.mark.skipif(
    not os.environ.get("MWALIMU_LONG"), reason="MWALIMU_LONG=1: a node's death kills its worker too"
)


def scale(nodes: Nodes) -> dict[str, Any]:
    return {"engine": "ray", "address": nodes.address, "workers": WORKERS}


def served(server: TeacherServer) -> dict[str, Any]:
    return {"model": "tiny", "base_url": server.url, "concurrency": CONCURRENCY}


def life(where: dict[str, Any], server: TeacherServer, folder: Path) -> subprocess.Popen[bytes]:
    told = {"folder": str(folder), "teacher": served(server), "rows": ROWS, "scale": where}
    command = [sys.executable, "-m", "tests.scale.driver", json.dumps(told)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def open_requests(folder: Path) -> int:
    with AnswerStore(folder / "answers", Run(folder / "run").id) as store:
        return store.spend().open_requests


def test_a_served_teacher_gives_the_same_bytes_from_the_nodes(nodes: Nodes, tmp_path: Path) -> None:
    with TeacherServer(latency_s=0.02) as server:
        wanted = live(tmp_path / "here", served(server), ROWS, "local")
        assert server.most_in_flight <= CONCURRENCY
        assert live(tmp_path / "there", served(server), ROWS, scale(nodes)) == wanted
        assert set(server.asked.values()) == {2}
        assert server.most_in_flight <= WORKERS * CONCURRENCY


@LOADS_MODELS
def test_a_local_teacher_gives_the_same_bytes_from_the_nodes(nodes: Nodes, tmp_path: Path) -> None:
    teacher = {"model": str(make_tiny_model(tmp_path / "model")), "batch_size": 4, "max_tokens": 6}
    wanted = live(tmp_path / "here", teacher, ROWS, "local", min_ok=0)
    assert live(tmp_path / "there", teacher, ROWS, scale(nodes), min_ok=0) == wanted


def test_a_key_that_the_nodes_lack_is_told_as_here(nodes: Nodes, tmp_path: Path) -> None:
    with TeacherServer(key="sk-other") as server, pytest.raises(TeacherRefusesKey):
        live(tmp_path, served(server), ROWS, scale(nodes))


@pytest.mark.parametrize(
    "kill", [pytest.param(Nodes.kill_worker, marks=WORKER_ALONE), Nodes.kill_node]
)
def test_a_killed_worker_or_node_loses_nothing(
    nodes: Nodes, tmp_path: Path, kill: Callable[[Nodes], None]
) -> None:
    with TeacherServer(latency_s=0.1) as server:
        wanted = live(tmp_path / "here", served(server), ROWS, "local")
        server.asked.clear()

        def half_way() -> None:
            wait_for(lambda: len(server.asked) > ROWS // 3)
            kill(nodes)

        killer = threading.Thread(target=half_way)
        killer.start()
        assert live(tmp_path / "there", served(server), ROWS, scale(nodes)) == wanted
        killer.join()
        nodes.mend()
        assert len(server.asked) == ROWS
        assert server.asked.total() - ROWS <= WORKERS * CONCURRENCY


def test_a_killed_driver_goes_on_where_it_was(nodes: Nodes, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    with TeacherServer(latency_s=0.1) as server:
        wanted = live(tmp_path / "here", served(server), ROWS, "local")
        server.asked.clear()
        driver = life(scale(nodes), server, folder)
        wait_for(lambda: len(server.asked) > ROWS // 3)
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
        opened = open_requests(folder)
        assert opened <= WORKERS * CONCURRENCY
        assert live(folder, served(server), ROWS, scale(nodes)) == wanted
        assert len(server.asked) == ROWS
        assert server.asked.total() - ROWS <= opened


@pytest.mark.skipif(not os.environ.get("MWALIMU_LONG"), reason="MWALIMU_LONG=1: another cluster")
def test_the_head_dies_and_another_cluster_goes_on(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends a driver whose head is gone; the same command goes on elsewhere."""
    from ray.cluster_utils import Cluster

    folder = tmp_path / "there"
    first = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")  # Ray's own: 60
    with TeacherServer(latency_s=0.2) as server:
        wanted = live(tmp_path / "here", served(server), ROWS, "local")
        server.asked.clear()
        driver = life(scale(nodes) | {"address": str(first.address)}, server, folder)
        wait_for(lambda: len(server.asked) > ROWS // 4)
        first.head_node.kill_gcs_server(check_alive=False)
        first.head_node.kill_raylet(check_alive=False)
        assert driver.wait(120) == 1
        assert 0 < len(server.asked) < ROWS
        assert live(folder, served(server), ROWS, scale(nodes)) == wanted
        assert len(server.asked) == ROWS
        assert server.asked.total() - ROWS <= WORKERS * CONCURRENCY
    first.shutdown()


def test_a_request_that_kills_its_worker_is_given_up(nodes: Nodes, tmp_path: Path) -> None:
    """The engine's own bound on tries holds; the others' answers are there."""

    def fault(prompt: str, times: int) -> None:
        if prompt == "q7":
            nodes.kill_worker()

    with TeacherServer(fault, latency_s=0.05) as server:
        teacher = served(server) | {"concurrency": 1, "max_retries": RETRIES}
        one = scale(nodes) | {"workers": 1}
        _, _ = live(tmp_path, teacher, 12, one, min_ok=0)
        lines = (tmp_path / "run/generate/rejects.jsonl").read_text().splitlines()
        (reject,) = map(json.loads, lines)
        assert reject["id"] == "r7" and "its worker was lost" in reject["reason"]
        assert server.asked["q7"] == 1 + RETRIES


@LOADS_MODELS
def test_a_scoring_pass_on_the_nodes_writes_the_same_shards(nodes: Nodes, tmp_path: Path) -> None:
    def captured(folder: Path, where: Any) -> dict[str, str]:
        config = taught(tmp_path, "forward_kl", signals={"rows_per_shard": 4}, scale=where)
        run = answered_run(folder, gold_rows(18))
        scorer = build_scorer(config, tmp_path / "answers", scorer_builder_of(config.scale))
        capture(config, run, scorer, stage_fingerprint="x", on_progress=lambda *_: None)
        return {n: h for n, h in run.require("signals").files.items() if "shard" in n}

    wanted = captured(tmp_path / "here", "local")
    assert len(wanted) == 5
    assert captured(tmp_path / "there", scale(nodes)) == wanted


def learning(folder: Path, model: Path, nodes: Nodes) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "unused"},
        "teacher": {"model": "fake"},
        "student": {"model": str(model), "method": "full", "max_length": 64},
        "finetune": {"epochs": 1, "objective": "cross_entropy"},
        "scale": scale(nodes),
    }
    return build_config(raw, base=folder)


@LOADS_MODELS
def test_the_trainings_of_an_evaluation_are_found_done(nodes: Nodes, tmp_path: Path) -> None:
    """Ahead on the nodes; the same work here finds it done, as a resume would."""
    model = make_tiny_model(tmp_path / "model", layers=1)
    config = learning(tmp_path, model, nodes)
    gold = [Record(f"g{i}", "generic", (Message("user", "hi"),), "yes") for i in range(4)]
    run, said = Run(tmp_path / "run"), []

    def note(stage: str, done: int, total: int, text: str) -> None:
        said.append(text)

    told = (run.root, tmp_path / "answers", gold, "fp")
    spread(config, train_ahead, [(*told, LABELS, seed) for seed in (0, 1)])
    arms = Arms(
        config,
        run,
        tmp_path / "answers",
        labelled=gold,
        test=gold,
        validation=(),
        stage_fingerprint="fp",
        progress=note,
    )
    for seed in (0, 1):
        assert (arms._trained(LABELS, seed).folder / "config.json").is_file()
    assert said == ["already done"] * 2


@LOADS_MODELS
def test_what_fails_on_a_node_is_told_as_here(nodes: Nodes, tmp_path: Path) -> None:
    config = learning(tmp_path, tmp_path, nodes)
    with pytest.raises(RunError, match="stage generate is not finished here"):
        spread(config, train_ahead, [(tmp_path, tmp_path, [], "fp", TEXT, n) for n in (0, 1)])


STARTED_HERE = """
import os
from mwalimu.config import ScaleConfig
from mwalimu.scale.cluster import Cluster
(node,) = Cluster(ScaleConfig(engine="ray")).ray.nodes()
print(node["NodeManagerAddress"], *map(os.getenv, ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED")))
"""


@pytest.mark.skipif(not os.environ.get("MWALIMU_LONG"), reason="MWALIMU_LONG=1: a Ray of its own")
def test_a_cluster_that_is_started_here_is_open_to_nobody() -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-c", STARTED_HERE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["127.0.0.1", "token", "0"]
