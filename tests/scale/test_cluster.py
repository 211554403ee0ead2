from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mwalimu.config import ScaleConfig, TeacherConfig, build_config
from mwalimu.errors import ConfigError, MissingDependency
from mwalimu.pipeline.fingerprints import Fingerprints
from mwalimu.run import Run
from mwalimu.scale.cluster import Cluster, Need
from mwalimu.scale.scorer import scorer_builder_of
from mwalimu.scale.teacher import builder_of
from mwalimu.synthesis.capture.scorers import model_scorer
from mwalimu.teachers.fake import FakeTeacher

RAY = ScaleConfig(engine="ray")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Ray that is connected, to nodes that a test may name."""
    module = SimpleNamespace(is_initialized=lambda: True, nodes=lambda: [])
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def has(fake: Any, *nodes: dict[str, float], dead: int = 0) -> None:
    alive = [{"Alive": True, "Resources": node} for node in nodes]
    gone = [{"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}] * dead
    fake.nodes = lambda: [*alive, *gone]


def test_without_ray_all_is_built_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert isinstance(builder_of(ScaleConfig())(TeacherConfig(model="fake")), FakeTeacher)
    assert scorer_builder_of(ScaleConfig()) is model_scorer


def test_one_worker_a_node_that_has_room_or_one_for_so_many_gpus(fake: Any) -> None:
    has(fake, {"CPU": 4.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 0.5}, dead=2)
    cluster = Cluster(RAY)
    assert cluster.workers(Need(1, 0)) == 2
    assert cluster.workers(Need(1, 2)) == 4
    assert cluster.workers(Need(1, 0.5)) == 16
    assert Cluster(RAY.model_copy(update={"workers": 7})).workers(Need(1, 0)) == 7


def test_a_worker_that_fits_nowhere_is_refused(fake: Any) -> None:
    has(fake, {"CPU": 4.0}, {"CPU": 0.5, "GPU": 1.0})
    with pytest.raises(ConfigError, match="no node of 2 has 1 CPUs and 1 GPUs for a worker"):
        Cluster(RAY).workers(Need(1, 1))


def test_a_missing_ray_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[ray\]'"):
        Cluster(RAY)


def test_no_cluster_at_the_address(fake: Any) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore of it.")

    fake.is_initialized, fake.init = bool, init
    said = r"scale.address: no Ray cluster can be joined there \(Could not find any running Ray"
    with pytest.raises(ConfigError, match=said):
        Cluster(ScaleConfig(engine="ray", address="auto"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "secret",
    [
        {"extra_body": {"api_key": "sk-secret"}},
        {"base_url": "http://me:sk-secret@localhost:1/v1"},
        {"base_url": "http://localhost:1/v1?key=sk-secret"},
    ],
)
def test_no_key_is_handed_to_ray(secret: dict[str, Any]) -> None:
    config = TeacherConfig(**{"model": "m", "base_url": "http://localhost:1/v1"} | secret)
    with pytest.raises(ConfigError, match="would be handed to Ray") as caught:
        Cluster(RAY).pool(object, config, need=Need(1, 0), workers=1, places=1, away_s=1.0)
    assert "sk-secret" not in str(caught.value)


def test_no_stage_depends_on_where_it_ran(tmp_path: Path) -> None:
    rows = tmp_path / "train.jsonl"
    rows.write_text('{"id": "a", "prompt": "hello"}\n', encoding="utf-8")
    raw = {
        "task": "generic",
        "data": {"train": str(rows)},
        "teacher": {"model": "fake"},
        "student": {"model": "none"},
    }
    run = Run(tmp_path / "run")
    found = set()
    for scale in ("local", {"engine": "ray", "workers": 3, "gpus_per_worker": 1}):
        config = build_config(raw | {"scale": scale}, base=tmp_path)
        prints = Fingerprints(config, run)
        found.add((prints.prepare({}), prints.generate({"train": "x"})))
    assert len(found) == 1
