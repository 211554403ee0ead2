from pathlib import Path

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Spec
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.store.job_store import JobStore
from mwalimu.jobs.store.models import ModelStore


@pytest.fixture
def jobs(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "service.db")


@pytest.fixture
def models(jobs: JobStore) -> ModelStore:
    return ModelStore(jobs.database)


def test_versions_count_by_name(models: ModelStore) -> None:
    first = models.add("phi-distilled", job="a", folder="models/a", properties={"accuracy": 0.5})
    assert (first.version, first.properties) == (1, {"accuracy": 0.5})
    assert models.add("phi-distilled", job="b", folder="models/b").version == 2
    assert models.add("phi-baseline", job="b", folder="models/base").version == 1
    assert models.get("phi-distilled", 1) == first
    assert models.get("phi-distilled").version == 2
    assert [(m.name, m.version) for m in models.all()] == [
        ("phi-baseline", 1),
        ("phi-distilled", 2),
        ("phi-distilled", 1),
    ]
    assert [m.name for m in models.all(job="b")] == ["phi-baseline", "phi-distilled"]


def test_a_job_registers_a_name_once(models: ModelStore) -> None:
    first = models.add("phi", job="a", folder="models/a")
    assert models.add("phi", job="a", folder="models/a") == first
    assert len(models.all()) == 1


def test_what_is_not_there(models: ModelStore) -> None:
    for version in (None, 1):
        with pytest.raises(NotFound, match="there is no such model"):
            models.get("phi", version)
    with pytest.raises(NotFound):
        models.delete("phi", 1, remove=print)
    with pytest.raises(ConfigError):
        models.add(".phi", job="a", folder="models/a")


def test_a_delete_takes_its_folder_and_never_its_number(models: ModelStore) -> None:
    models.add("phi", job="a", folder="models/a")
    models.add("phi-baseline", job="a", folder="models/a")
    removed: list[str] = []
    models.delete("phi", 1, remove=removed.append)
    assert removed == []
    models.delete("phi-baseline", 1, remove=removed.append)
    assert removed == ["models/a"]
    assert models.add("phi", job="b", folder="models/b").version == 2


def test_a_model_in_use_is_kept(jobs: JobStore, models: ModelStore) -> None:
    models.add("phi", job="a", folder="models/a")
    models.add("phi", job="b", folder="models/b")
    jobs.submit(Spec("evaluation", {}, uses=("model:phi@1",)), owner="asha", name="j")
    with pytest.raises(WrongState, match="phi@1: job j uses it"):
        models.delete("phi", 1, remove=print)
    models.delete("phi", 2, remove=lambda _: None)
    jobs.cancel("j")
    models.delete("phi", 1, remove=lambda _: None)
