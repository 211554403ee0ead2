"""`mwalimu jobs` as processes against a real service; no worker takes the jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from tests.command import mwalimu
from tests.jobs.service import Running, running

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def run(service: Running, tmp_path: Path) -> Run:
    rows = [{"messages": [{"role": "user", "content": f"question {i}"}]} for i in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "task": "generic",
        "data": {"train": "rows.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    (tmp_path / "distill.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "folder").mkdir()

    def call(*arguments: str, token: str = "", url: str = service.url) -> CompletedProcess[str]:
        token = token or service.tokens[Role.SUBMITTER]
        return mwalimu("jobs", *arguments, cwd=tmp_path, MWALIMU_URL=url, MWALIMU_TOKEN=token)

    return call


def submitted(run: Run, *more: str) -> str:
    done = run("submit", "distill.yaml", "--json", *more)
    assert done.returncode == 0, done.stderr
    name: str = json.loads(done.stdout)["name"]
    return name


def failed(service: Running, name: str, exit_code: int) -> None:
    """As a worker ends a job; the one that was claimed is the oldest."""
    store = service.service.store
    while (lease := store.claim("cpu-0", "cpu")) is not None:
        if lease.job == name:
            error = {"what": "broke", "where": "", "fix": "mend it", "exit_code": exit_code}
            store.advance(lease, State.FAILED, error=error)
            return
        store.give_back(lease)
        store.cancel(lease.job)


def test_a_job_from_submission_to_its_end(run: Run, service: Running) -> None:
    done = run(
        *("submit", "distill.yaml", "--set", "finetune.epochs=7", "--title", "A <b>title</b>"),
        *("--tag", "team=returns", "--priority", "3", "--registers", "mine"),
    )
    assert done.returncode == 0, done.stderr
    name = re.findall(r"^submitted: (\S+)$", done.stdout, re.MULTILINE)[0]
    shown = json.loads(run("show", name, "--json").stdout)
    assert (shown["tags"], shown["priority"]) == ({"team": "returns"}, 3)
    assert shown["registers"] == ["mine"]
    assert "A <b>title</b>" in run("list").stdout
    assert f"name: {name}" in run("show", name).stdout
    failed(service, name, 11)
    waited = run("wait", name)
    assert waited.returncode == 11
    assert waited.stderr.splitlines()[-1] == f"error: {name}: broke; mend it"
    assert "state=Failed" in run("events", name).stdout
    assert run("resume", name).stdout == f"{name}: Queued\n"
    assert run("cancel", name).stdout == f"{name}: Canceled\n"
    assert run("delete", name).returncode == 0
    assert run("show", name).returncode == 8


def test_waiting_for_a_job_that_was_stopped_says_how_to_go_on(run: Run) -> None:
    name = submitted(run)
    run("pause", name)
    waited = run("wait", name)
    assert waited.returncode == 8
    assert f"mwalimu jobs resume {name}" in waited.stderr


def test_a_log_cannot_command_the_terminal(run: Run, service: Running) -> None:
    name = submitted(run)
    log = service.service.workspace.log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes("\x1b[2Jcleared \u202e\x07\x9b31m\nplain\ttext".encode())
    run("cancel", name)
    for shown in (run("logs", name).stdout, run("logs", name, "-f").stdout):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
        assert shown.endswith("plain\ttext\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("submit", "other.yaml"), 2, "no such config file"),
        (("submit", "distill.yaml", "--set", "finetune.epoch=1"), 2, "finetune.epoch: unknown key"),
        (("submit", "distill.yaml", "--set", "student.model=folder"), 2, "model:NAME"),
        (("submit", "distill.yaml", "--set", "data.train=x.jsonl"), 2, "no such file"),
        (("submit", "distill.yaml", "--set", "seed=2026-01-01"), 2, "JSON does not know"),
        (("submit", "distill.yaml", "--tag", "x"), 2, "--tag: 'x'"),
        (("submit", "distill.yaml", "--webhook", "https://127.0.0.1:22/"), 2, "webhook"),
        (("submit", "distill.yaml", "--resource", "tpu"), 2, "resource"),
        (("show", "nothing"), 8, "nothing"),
        (("show", "../../etc"), 8, "Not Found"),
        (("models", "show", "nothing"), 8, "nothing"),
        (("models", "evaluate", "nothing", "rows.jsonl"), 8, "nothing"),
        (("datasets", "upload", "x", "none.jsonl"), 2, "no such file"),
        (("datasets", "delete", "nothing"), 8, "nothing"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_bad_token_and_no_service_are_one_line_without_the_token(run: Run) -> None:
    done = run("list", token="mw_not-a-token")
    assert done.returncode == 8 and "mw_not" not in done.stderr + done.stdout
    done = run("list", url="http://example.com")
    assert done.returncode == 2 and "unprotected" in done.stderr


def test_datasets_and_models(run: Run) -> None:
    done = run("datasets", "upload", "tickets", "rows.jsonl", "--task", "qa")
    assert done.stdout == "dataset:tickets@1  5 rows\n"
    assert run("datasets", "upload", "tickets", "rows.jsonl", "--task", "qa").stdout == done.stdout
    assert json.loads(run("datasets", "validate", "rows.jsonl").stdout)["rows"] == 5
    assert re.search(r"^tickets +1 +qa +5 ", run("datasets", "list").stdout, re.MULTILINE)
    assert run("datasets", "delete", "tickets").stdout == "tickets is deleted\n"
    assert run("models", "list").stdout == "NAME  VERSION  JOB  CREATED\n"


def test_metrics_and_downloads_of_a_job_that_has_none(run: Run, tmp_path: Path) -> None:
    name = submitted(run)
    assert run("metrics", name).stdout == ""
    assert run("download", name, "--to", "mine").returncode == 0
    assert run("download", name, "../x").returncode == 8
    assert not (tmp_path / "x").exists()
