from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mwalimu.config import ScaleConfig, TeacherConfig
from mwalimu.errors import ConfigError, MissingDependency
from mwalimu.scale import builder_of
from mwalimu.scale.cluster import Need, connect, workers_of
from mwalimu.scale.teacher import RayTeacher
from mwalimu.teachers.fake import FakeTeacher

RAY = ScaleConfig(engine="ray")


def ray_with(*nodes: dict[str, float], dead: int = 0) -> Any:
    alive = [{"Alive": True, "Resources": node} for node in nodes]
    gone = [{"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}] * dead
    return SimpleNamespace(nodes=lambda: [*alive, *gone])


def test_local_teachers_are_built_here() -> None:
    teacher = builder_of(ScaleConfig())(TeacherConfig(model="fake"))
    assert isinstance(teacher, FakeTeacher)


def test_one_worker_a_node_that_has_room_or_one_for_so_many_gpus() -> None:
    ray = ray_with({"CPU": 4.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 0.5}, dead=2)
    assert workers_of(ray, RAY, Need(1, 0)) == 2
    assert workers_of(ray, RAY, Need(1, 2)) == 4
    assert workers_of(ray, RAY, Need(1, 0.5)) == 16
    assert workers_of(ray, RAY.model_copy(update={"workers": 7}), Need(1, 0)) == 7


def test_a_worker_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="no node of 2 has 1 CPUs and 1 GPUs for a worker"):
        workers_of(ray_with({"CPU": 4.0}, {"CPU": 0.5, "GPU": 1.0}), RAY, Need(1, 1))


def test_a_missing_ray_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[ray\]'"):
        connect(RAY)


def test_no_cluster_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore of it.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=bool, init=init))
    said = r"scale.address: no Ray cluster can be joined there \(Could not find any running Ray"
    with pytest.raises(ConfigError, match=said):
        connect(ScaleConfig(engine="ray", address="auto"))


def test_no_key_is_handed_to_ray() -> None:
    config = TeacherConfig(
        model="m", base_url="http://localhost:1/v1", extra_body={"api_key": "sk-secret"}
    )
    with pytest.raises(ConfigError, match="has a key in its address or extra_body") as caught:
        RayTeacher(config, RAY)
    assert "sk-secret" not in str(caught.value)
