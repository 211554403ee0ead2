"""What a job's pages are made of, against the files of its run folder as they are."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis

from mwalimu.evaluation.statistics import compared
from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from tests.jobs.dashboard import seeding
from tests.jobs.service import Running, running

SEEN = ("progress", "funnel", "spend", "samples", "scores", "artefacts", "metrics", "config")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("results")) as found:
        seeding.completed(found.service, "first", "one")
        seeding.completed(found.service, "second", "two", better=0.05)
        seeding.started(found.service, "going", "three")
        seeding.queued(found.service, "waiting", "four")
        seeding.failed(found.service, "broken", "five")
        yield found


@pytest.fixture(scope="module")
def client(place: Running) -> Iterator[httpx2.Client]:
    with place.client() as found:
        yield found


def folder(place: Running, job: str) -> Path:
    return place.service.workspace.run(job)


def get(client: httpx2.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return answer.json()


@pytest.mark.parametrize("job", ["first", "going", "waiting", "broken"])
def test_every_answer_has_the_shape_that_the_document_gives_it(
    client: httpx2.Client, job: str
) -> None:
    document = schemathesis.openapi.from_dict(get(client, "/v1/openapi.json"))
    paths = {"/v1/jobs/{job}": f"/v1/jobs/{job}", "/v1/jobs": "/v1/jobs", "/v1/me": "/v1/me"}
    paths |= {f"/v1/jobs/{{job}}/{one}": f"/v1/jobs/{job}/{one}" for one in SEEN}
    paths |= {"/v1/compare": "/v1/compare?jobs=first,second", "/v1/registry": "/v1/registry"}
    for template, path in paths.items():
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        document[template]["GET"].validate_response(answer)


def test_artefacts_are_the_bytes_that_the_manifest_lists(
    client: httpx2.Client, place: Running
) -> None:
    listed = get(client, "/v1/jobs/first/artefacts")["files"]
    assert listed
    for file in listed:
        answer = client.get(f"/v1/jobs/first/artefacts/{file['path']}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
        assert len(answer.content) == file["size"]
        assert (folder(place, "first") / file["path"]).read_bytes() == answer.content


def test_a_link_in_a_run_folder_is_not_followed_out_of_it(
    client: httpx2.Client, place: Running, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    listed = get(client, "/v1/jobs/second/artefacts")["files"][0]["path"]
    file = folder(place, "second") / listed
    kept = file.read_bytes()
    file.unlink()
    file.symlink_to(secret)
    try:
        answer = client.get(f"/v1/jobs/second/artefacts/{listed}")
        assert answer.status_code == 404 and "secret" not in answer.text
    finally:
        file.unlink()
        file.write_bytes(kept)


def test_metrics_are_the_whole_lines_of_the_file(client: httpx2.Client, place: Running) -> None:
    path = folder(place, "first") / "finetune" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = get(client, "/v1/jobs/first/metrics")
    assert told == {"lines": lines, "next": len(lines)}
    assert get(client, "/v1/jobs/first/metrics?after=3")["lines"] == lines[3:]
    assert get(client, f"/v1/jobs/first/metrics?after={len(lines)}")["lines"] == []
    before = path.read_bytes()
    path.write_bytes(before + b'{"step": 1, "lo')  # being written
    try:
        assert get(client, "/v1/jobs/first/metrics") == told
    finally:
        path.write_bytes(before)


def test_scores_are_the_manifests(client: httpx2.Client, place: Running) -> None:
    manifest = json.loads((folder(place, "first") / "run.json").read_bytes())
    assert get(client, "/v1/jobs/first/scores") == manifest["stages"]["evaluate"]["summary"]
    assert get(client, "/v1/jobs/waiting/scores") == {}


def test_progress_goes_through_the_stages_in_order(client: httpx2.Client) -> None:
    done = get(client, "/v1/jobs/first/progress")["stages"]
    assert {stage["state"] for stage in done} == {"done"}
    waiting = get(client, "/v1/jobs/waiting/progress")["stages"]
    assert {stage["state"] for stage in waiting} == {"waiting"}
    names = [stage["stage"] for stage in waiting]
    assert names == ["generate", "curate", "finetune", "evaluate", "report"]


def test_the_stage_at_work_is_the_one_that_spoke_last(place: Running) -> None:
    lease = seeding.started(place.service, "speaking", "six")
    store = place.service.store
    for label, done in (("generate", 5), ("curate", 1), ("batch", 2), ("evaluate teacher", 3)):
        store.report(lease, "progress", seeding.progress(label, done, 9, "note"))
    with place.client() as client:
        stages = get(client, "/v1/jobs/speaking/progress")["stages"]
        told = {stage["stage"]: (stage["state"], stage["done"]) for stage in stages}
        assert told["generate"] == ("waiting", 2) and told["evaluate"] == ("running", 3)
        store.advance(lease, State.FAILED)
        stages = get(client, "/v1/jobs/speaking/progress")["stages"]
        assert not any(stage["state"] == "running" for stage in stages)


def test_an_arm_that_learns_is_not_the_student_that_does(place: Running) -> None:
    """Both are told as fine-tuning; the arm's is a part of the evaluation."""
    lease = seeding.started(place.service, "arms", "seven")
    store = place.service.store
    for label, done in (("finetune", 9), ("finetune labels", 2), ("evaluate before", 1)):
        store.report(lease, "progress", seeding.progress(label, done, 9, "note"))
    store.report(lease, "progress", seeding.progress("finetune labels", 4, 9, "step 4"))
    with place.client() as client:
        told = {one["stage"]: one for one in get(client, "/v1/jobs/arms/progress")["stages"]}
    assert (told["finetune"]["done"], told["finetune"]["parts"]) == (9, [])
    assert (told["evaluate"]["state"], told["evaluate"]["done"]) == ("running", 4)
    parts = [(one["label"], one["done"], one["note"]) for one in told["evaluate"]["parts"]]
    assert parts == [("evaluate before", 1, "note"), ("finetune labels", 4, "step 4")]


def test_samples_hold_what_each_arm_answered(client: httpx2.Client, place: Running) -> None:
    samples = get(client, "/v1/jobs/first/samples?limit=3")["samples"]
    assert len(samples) == 3
    for arm in samples[0]["answers"]:
        path = folder(place, "first") / "evaluate" / "predictions" / f"{arm}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()[:3]]
        assert [row["prediction"] for row in rows] == [one["answers"][arm] for one in samples]
        assert [row["id"] for row in rows] == [one["id"] for one in samples]


def test_two_students_are_compared_by_the_paired_test(
    client: httpx2.Client, place: Running
) -> None:
    told = get(client, "/v1/compare?jobs=first,second")
    path = Path("evaluate", "predictions", "student-distilled.jsonl")
    scores = [
        [json.loads(line)["score"] for line in (folder(place, job) / path).read_text().splitlines()]
        for job in ("first", "second")
    ]
    for key, value in compared(*scores, draws=2000, seed=0).items():
        assert told["test"][key] == value
    assert told["jobs"] == ["first", "second"] and set(told["scores"]) == {"first", "second"}
    for bad in ("first", "first,first", "first,second,going", "", ","):
        assert client.get("/v1/compare", params={"jobs": bad}).status_code == 400, bad
    assert client.get("/v1/compare?jobs=first,none").status_code == 404


def test_a_model_downloads_as_it_lies_there(client: httpx2.Client, place: Running) -> None:
    found = place.service.models.add("mine", job="first", folder="models/mine/first")
    kept = place.service.workspace.root / found.folder
    (kept / "deep").mkdir(parents=True, exist_ok=True)
    (kept / "config.json").write_text("{}")
    (kept / "deep" / "weights.safetensors").write_bytes(b"w" * 1234)
    (kept / "deep" / ("long-name-" * 20)).write_bytes(b"")
    (kept / "leak").symlink_to("/etc/passwd")
    answer = client.get(f"/v1/models/{found.name}/{found.version}/download")
    assert answer.headers["content-disposition"].startswith("attachment")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = {Path(one.name).relative_to(f"{found.name}-{found.version}") for one in archive}
        assert all(one.isfile() for one in archive)
        packed = {
            Path(one.name).name: archive.extractfile(one).read()  # type: ignore[union-attr]
            for one in archive
        }
    there = {p.relative_to(kept) for p in kept.rglob("*") if p.is_file() and not p.is_symlink()}
    assert names == there and packed["weights.safetensors"] == b"w" * 1234


def test_a_deleted_jobs_files_go(place: Running) -> None:
    seeding.completed(place.service, "going-away", "six")
    assert place.service.workspace.job("going-away").exists()
    with place.client(Role.ADMIN) as admin:
        assert admin.delete("/v1/jobs/going-away").status_code == 204
        assert admin.get("/v1/jobs/going-away").status_code == 404
        assert admin.delete("/v1/jobs/going").status_code == 409  # a worker has it
    assert not place.service.workspace.job("going-away").exists()


def test_a_damaged_run_is_told_without_the_servers_folders(place: Running) -> None:
    seeding.completed(place.service, "damaged", "seven")
    (folder(place, "damaged") / "run.json").write_bytes(b"{")
    with place.client() as client:
        answer = client.get("/v1/jobs/damaged/scores")
    assert answer.status_code == 409 and "damaged" in answer.json()["error"]["what"]
    assert answer.json()["error"]["where"] == "jobs/damaged/run/run.json"
