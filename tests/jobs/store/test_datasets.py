import threading
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import RegisteredDataset, Spec
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.states import State
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.job_store import JobStore


@pytest.fixture
def jobs(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "service.db")


@pytest.fixture
def datasets(jobs: JobStore) -> DatasetStore:
    return DatasetStore(jobs.database)


def add(datasets: DatasetStore, name: str, sha256: str, **other: Any) -> RegisteredDataset:
    given: dict[str, Any] = {
        "rows": 3,
        "size": 10,
        "task": "nli",
        "owner": "asha",
        "place": lambda: None,
    }
    return datasets.add(name, sha256=sha256, file=f"datasets/{sha256}.jsonl", **given | other)


def test_versions_count_and_equal_bytes_are_the_same(datasets: DatasetStore) -> None:
    first = add(datasets, "tickets", "aa")
    assert add(datasets, "tickets", "aa") == first
    assert add(datasets, "tickets", "bb").version == 2
    assert add(datasets, "tickets", "aa").version == 3, "the newest is what was sent last"
    assert add(datasets, "tickets", "aa", task="math").version == 4
    assert datasets.get("tickets", 1) == first
    assert datasets.get("tickets").version == 4
    assert add(datasets, "other", "aa").version == 1
    assert [(d.name, d.version) for d in datasets.all()] == [
        ("other", 1),
        *(("tickets", version) for version in (4, 3, 2, 1)),
    ]


def test_what_is_not_there(datasets: DatasetStore) -> None:
    add(datasets, "tickets", "aa")
    with pytest.raises(NotFound, match="tickets@2: there is no such dataset"):
        datasets.get("tickets", 2)
    with pytest.raises(NotFound):
        datasets.get("nothing")
    with pytest.raises(NotFound):
        datasets.delete("nothing", remove=print)
    with pytest.raises(ConfigError):
        add(datasets, "a/b", "aa")


def test_another_owners_name_is_taken(datasets: DatasetStore) -> None:
    add(datasets, "tickets", "aa")
    with pytest.raises(WrongState, match="another owner"):
        add(datasets, "tickets", "bb", owner="juma")


def test_a_number_is_never_given_twice(datasets: DatasetStore) -> None:
    add(datasets, "tickets", "aa")
    datasets.delete("tickets", remove=lambda file: None)
    assert add(datasets, "tickets", "bb").version == 2


def test_a_file_goes_with_its_last_row(datasets: DatasetStore) -> None:
    add(datasets, "tickets", "aa")
    add(datasets, "tickets", "bb")
    add(datasets, "other", "aa")
    removed: list[str] = []
    datasets.delete("tickets", remove=removed.append)
    assert removed == ["datasets/bb.jsonl"]
    datasets.delete("other", remove=removed.append)
    assert removed == ["datasets/bb.jsonl", "datasets/aa.jsonl"]


def test_a_file_is_there_as_long_as_a_row_says_so(datasets: DatasetStore, tmp_path: Path) -> None:
    """Two names of the same bytes, made and dropped at once for a while."""
    file, missing = tmp_path / "aa.jsonl", []

    def work(name: str) -> None:
        for _ in range(40):
            add(datasets, name, "aa", place=lambda: file.write_text("{}\n"))
            if not file.exists():
                missing.append(name)
            datasets.delete(name, remove=lambda _: file.unlink())

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing and not file.exists()


@pytest.mark.parametrize(
    ("end", "kept"),
    [(None, True), (State.PAUSED, True), (State.CANCELED, False)],
)
def test_a_dataset_in_use_is_kept(
    jobs: JobStore, datasets: DatasetStore, end: State | None, kept: bool
) -> None:
    add(datasets, "tickets", "aa")
    add(datasets, "tick", "bb")
    jobs.submit(Spec("distillation", {}, uses=("dataset:tickets@1",)), owner="asha", name="j")
    if end:
        {State.PAUSED: jobs.pause, State.CANCELED: jobs.cancel}[end]("j")
    assert datasets.users("tickets") == (["j"] if kept else [])
    datasets.delete("tick", remove=lambda _: None)
    if kept:
        with pytest.raises(WrongState, match="tickets: job j uses it"):
            datasets.delete("tickets", remove=lambda _: None)
    else:
        datasets.delete("tickets", remove=lambda _: None)
