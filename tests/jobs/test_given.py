"""Files that come inside a submission: kept whole, once, for as long as somebody names them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs import given
from mwalimu.jobs.given import folder_of, put, sweep
from mwalimu.jobs.hosting.hosting import keep_house
from mwalimu.jobs.workspace import Workspace
from tests.jobs.http.configs import GOOD, ROWS
from tests.jobs.service import Running, running

SCHEMA = '{"type": "object"}'


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def aged(folder: Path) -> None:
    then = time.time() - given.UNUSED_S - 10
    os.utime(folder, (then, then))


def test_equal_texts_are_one_folder_and_others_another(workspace: Workspace) -> None:
    texts = {"b.md": "two ü", "a.md": "one"}
    for _ in range(2):
        put(workspace, texts)
    folder = folder_of(workspace, dict(reversed(texts.items())))
    assert {file.name: file.read_text() for file in folder.iterdir()} == texts
    assert [*workspace.given.iterdir()] == [folder]
    others = ({"a.md": "two ü", "b.md": "one"}, {"a.md": "one"}, {"c.md": "one"})
    assert len({folder_of(workspace, one) for one in (texts, *others)}) == 4


def test_what_nobody_names_goes_after_a_day(workspace: Workspace) -> None:
    for text in "abc":
        put(workspace, {"x.txt": text})
    used, old, new = (folder_of(workspace, {"x.txt": text}) for text in "abc")
    half = workspace.given / ".half"
    half.mkdir()
    for folder in (used, old, half):
        aged(folder)
    put(workspace, {"x.txt": "a"})
    aged(used)
    assert sweep(workspace, {used.name}) == 2
    assert sorted(workspace.given.iterdir()) == sorted([used, new])


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with running(tmp_path / "w") as found, found.client() as client:
        client.put("/v1/datasets/good", content=ROWS).raise_for_status()
        yield found


def submitted(here: Running, files: Any, **config: Any) -> Any:
    with here.client() as client:
        return client.post("/v1/jobs", json={"config": GOOD | config, "files": files})


def test_a_submission_brings_its_files_which_stay_while_its_job_does(here: Running) -> None:
    files = {"s.json": SCHEMA, "docs": {"a.md": "text"}, "idle.txt": "x"}
    told = submitted(here, files, generate={"json_schema": "file:s.json"})
    assert told.status_code == 201, told.text
    name = told.json()["name"]
    spec = here.service.store.get(name).spec
    place = Path(spec.config["generate"]["json_schema"])
    assert place.read_text() == SCHEMA
    workspace, store = here.service.workspace, here.service.store
    assert [*workspace.given.iterdir()] == [place.parent], "only what the config names is kept"
    aged(place.parent)
    keep_house(workspace, store)
    assert place.exists()
    with here.client() as client:
        assert str(workspace.root) not in client.get(f"/v1/jobs/{name}/config").text
    store.cancel(name)
    store.delete(name)
    keep_house(workspace, store)
    assert not place.exists()


def test_what_a_model_is_graded_by_outlives_its_job(here: Running) -> None:
    put(here.service.workspace, {"t.yaml": "x"})
    folder = folder_of(here.service.workspace, {"t.yaml": "x"})
    properties = {"evaluate": {"tasks_file": str(folder / "t.yaml")}}
    here.service.models.add("m", job="gone", folder="x", properties=properties)
    aged(folder)
    keep_house(here.service.workspace, here.service.store)
    assert folder.exists()


@pytest.mark.parametrize(
    ("key", "value", "files", "said"),
    [
        ("generate.json_schema", "s.json", {"s.json": SCHEMA}, "is no file of the submission"),
        ("generate.json_schema", "/etc/passwd", {}, "is no file of the submission"),
        ("generate.json_schema", "file:../s.json", {"s.json": SCHEMA}, "is no file of"),
        ("generate.json_schema", "file:s.json", {}, "no text of `files` is called"),
        ("generate.json_schema", "file:s.json", {"s.json": {"a": "b"}}, "no text of `files`"),
        ("generate.json_schema", "file:s.txt", {"s.txt": SCHEMA}, "is of another kind"),
        ("evaluate.tasks_file", "file:t.py", {"t.py": "TASKS = {}"}, "is of another kind"),
        ("data.train", "file:r.jsonl", {"r.jsonl": ROWS.decode()}, "is no dataset"),
    ],
)
def test_what_is_none_is_refused_by_its_key(
    here: Running, key: str, value: str, files: Any, said: str
) -> None:
    section, _, leaf = key.partition(".")
    told = submitted(here, files, **{section: GOOD.get(section, {}) | {leaf: value}})
    error = told.json()["error"]
    assert (told.status_code, error["where"]) == (400, key)
    assert said in error["what"]
    assert not here.service.workspace.given.exists()


@pytest.mark.parametrize(
    "files", [{"../x": "a"}, {"": "a"}, {".x": "a"}, {"d": {"a/b": "x"}}, {"d": {}}, {"x": 3}]
)
def test_no_name_leads_elsewhere(here: Running, files: Any) -> None:
    assert submitted(here, files).status_code == 400
    assert not here.service.workspace.given.exists()


def test_documents_are_a_folder(here: Running) -> None:
    texts = {"a.md": "first", "b.txt": "second"}
    config = {key: value for key, value in GOOD.items() if key != "data"}
    asked = {
        "files": {"docs": texts},
        "config": config
        | {"prompts": {"method": "documents", "rows": 2, "documents": "file:docs"}},
    }
    with here.client() as client:
        told = client.post("/v1/jobs", json=asked)
    assert told.status_code == 201, told.text
    folder = Path(here.service.store.get(told.json()["name"]).spec.config["prompts"]["documents"])
    assert {file.name: file.read_text() for file in folder.iterdir()} == texts
