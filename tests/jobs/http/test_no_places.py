"""No answer tells where the workspace is on the server: a real job is run, and all is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mwalimu.jobs.http.access import ROLES
from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from tests.jobs.dashboard.conftest import upload
from tests.jobs.lives import begin
from tests.jobs.service import Running, running
from tests.tiny import make_tiny_model

CONFIG = {
    "task": "generic",
    "data": {"train": "dataset:train", "test": "dataset:test", "labelled": "dataset:labelled"},
    "teacher": {"model": "fake"},
    "student": {"model": "model:tiny", "method": "full", "max_length": 512},
    "finetune": {"epochs": 1, "batch_size": 4, "save_every": 1},
    "generate": {"min_ok": 0.5},
    "evaluate": {"max_tokens": 4, "bootstrap": 100, "labelled_epochs": 1},
}
NAMES = {"name": "tokens", "version": "1", "dataset": "train"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a job that was done and one that failed, in a folder of a name that nobody says."""
    with running(tmp_path_factory.mktemp("whereabouts") / "workspace") as here:
        here.service.store.lease_s = 600  # of a busy machine
        student = make_tiny_model(here.service.workspace.root / "models" / "tiny", layers=1)
        folder = str(Path(student).relative_to(here.service.workspace.root))
        here.service.models.add("tiny", job="by-hand", folder=folder)
        for split, rows in {"train": 12, "test": 6, "labelled": 6}.items():
            upload(here, split, split, rows)
        done(here, "one", State.COMPLETED)
        here.service.workspace.dataset(here.service.datasets.get("train").sha256).unlink()
        done(here, "broken", State.FAILED)
        yield here


def done(here: Running, name: str, state: State) -> None:
    asked = {"name": name, "config": CONFIG, "registers": [f"{name}-distilled", f"{name}-before"]}
    with here.client() as client:
        client.post("/v1/jobs", json=asked).raise_for_status()
    lease = here.service.store.claim("cpu-0", "cpu")
    assert lease is not None
    begin(here.service.workspace, lease).join(300)
    told = here.service.store.get(name)
    assert told.state is state, (told.error, here.service.workspace.log(name).read_text())


def addresses(client: httpx2.Client) -> list[str]:
    """Every GET of the table, for each thing that there is."""
    found = []
    files = {
        job: [one["path"] for one in client.get(f"/v1/jobs/{job}/artefacts").json()["files"]]
        for job in ("one", "broken")
    }
    for method, path in ROLES:
        if method != "GET":
            continue
        models = ["tiny", "one-distilled", "one-before"] if "{model}" in path else [""]
        for job in files if "{job}" in path else ["one"]:
            for model in models:
                for file in files[job] if "{path:path}" in path else [""]:
                    plain = path.replace("{path:path}", file)
                    found.append(plain.format(job=job, model=model, **NAMES))
    return [one + ("?jobs=one,broken" if one == "/v1/compare" else "") for one in found]


def test_no_answer_tells_a_place_on_the_server(place: Running) -> None:
    root = str(place.service.workspace.root.absolute()).encode()
    leaks, seen = [], 0
    with place.client(Role.ADMIN) as client:
        for address in addresses(client):
            answer = client.get(address)
            assert answer.status_code == 200, (address, answer.text)
            seen += 1
            if (at := answer.content.find(root)) >= 0:
                leaks.append((address, answer.content[max(at - 60, 0) : at + 120]))
    assert not leaks, "\n".join(map(str, leaks))
    assert seen >= 60
