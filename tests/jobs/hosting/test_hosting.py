"""`mwalimu server` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from mwalimu.cli import app, main
from mwalimu.jobs.hosting.listening import local_url, public_url, resolved
from mwalimu.jobs.settings import ServiceSettings
from mwalimu.jobs.states import State
from mwalimu.jobs.workers.holding import holder
from mwalimu.jobs.workspace import Workspace
from tests.jobs.place import Place
from tests.jobs.waiting import wait_for
from tests.tiny import make_tiny_model

HERE = socket.gethostname().lower()
TLS = {"tls_certificate": Path("c.pem"), "tls_key": Path("k.pem")}
MWALIMU = (sys.executable, "-m", "mwalimu")


class Hosted:
    """Servers of one workspace, one after the other."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *options: str) -> str:
        """The address, once it listens."""
        command = [*MWALIMU, "server", "--workspace", str(self.workspace.root), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(self.process)
        wait_for(lambda: self._is_there() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.process.communicate()
        return str(self.facts()["url"])

    def _is_there(self) -> bool:
        return self.workspace.service.exists() and self.facts()["pid"] == self.process.pid

    def facts(self) -> Any:
        return json.loads(self.workspace.service.read_text())

    def end(self) -> tuple[int, str]:
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err

    def me(self, url: str) -> Any:
        token = self.workspace.token.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.get(f"{url}/v1/me", headers=headers, trust_env=False).json()


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    found = Hosted(tmp_path / "service")
    yield found
    for process in found.processes:
        process.kill()
        with process:
            pass


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(lambda: app([str(word) for word in words]))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_it_starts_makes_a_token_of_its_user_and_ends_well(hosted: Hosted) -> None:
    url = hosted.start()
    assert hosted.me(url)["role"] == "admin"
    token = hosted.workspace.token
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(hosted.workspace.root.stat().st_mode) == 0o700
    code, said = hosted.end()
    assert (code, said) == (0, f"dashboard: {url}\n")
    assert token.read_text().strip() not in said
    assert not hosted.workspace.service.exists()
    before = token.read_text()
    assert hosted.me(hosted.start())["name"] == "local"
    assert token.read_text() == before


def test_a_workspace_has_one_server(hosted: Hosted) -> None:
    hosted.start()
    words = ["server", "--workspace", str(hosted.workspace.root), "--port", "0"]
    second = subprocess.run([*MWALIMU, *words], capture_output=True, text=True)
    assert second.returncode == 8
    assert second.stderr.startswith("error: ") and second.stderr.count("\n") == 1
    assert "another mwalimu works in this workspace now" in second.stderr


def test_tokens_are_made_listed_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--workspace", tmp_path)
    code, token, _ = run(capsys, "server", "token", "make", "amina", "--role", "viewer", *where)
    assert code == 0 and token.startswith("mw_")
    assert run(capsys, "server", "token", "list", *where)[1] == "amina\tviewer\tdoes not expire\n"
    assert run(capsys, "server", "token", "revoke", "amina", *where)[0] == 0
    assert run(capsys, "server", "token", "list", *where)[1] == ""
    code, _, err = run(capsys, "server", "token", "revoke", "amina", *where)
    assert (code, err) == (8, "error: amina: there is no token of that name\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slots", "cpu"), "error: --slots: 'cpu' is no number of jobs; write cpu=2\n"),
        (("--tls-key", "k.pem"), "error: server: tls_certificate and tls_key go together\n"),
    ],
)
def test_options_that_do_not_go_are_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "server", "--workspace", tmp_path, *words)
    assert (code, err) == (2, said)


@pytest.mark.parametrize(
    ("given", "public", "local"),
    [
        ({}, "http://127.0.0.1:8600", "http://127.0.0.1:8600"),
        ({"host": "::1"}, "http://[::1]:8600", "http://[::1]:8600"),
        ({"host": "0.0.0.0"}, f"http://{HERE}:8600", "http://127.0.0.1:8600"),
        ({"host": "::", "port": 1}, f"http://{HERE}:1", "http://[::1]:1"),
        (
            {"host": "0.0.0.0", "allowed_hosts": ["desk.example"], **TLS},
            "https://desk.example:8600",
            "https://127.0.0.1:8600",
        ),
    ],
)
def test_it_is_called_by_a_name_that_it_answers_to(
    given: dict[str, Any], public: str, local: str
) -> None:
    settings = resolved(ServiceSettings(**given))
    assert (public_url(settings), local_url(settings)) == (public, local)
    assert urlsplit(public).hostname in settings.allowed_hosts


@pytest.mark.slow
def test_a_distillation_survives_kill_9_of_its_server_and_its_worker(
    hosted: Hosted, tmp_path: Path
) -> None:
    student = make_tiny_model(tmp_path / "tiny", layers=1)
    settings = tmp_path / "server.yaml"
    settings.write_text("lease_s: 3\n", encoding="utf-8")
    hosted.start("--settings", str(settings))
    place = Place(hosted.workspace.root, student)
    job = place.submit(finetune={"epochs": 12, "batch_size": 4})
    worker = wait_for(lambda: holder(hosted.workspace.worker(job.name)), 60)
    hosted.process.send_signal(signal.SIGKILL)
    wait_for(lambda: "finetune" in place.log(job.name), 60)  # it goes on without a server
    assert worker
    os.killpg(worker, signal.SIGKILL)
    hosted.start("--settings", str(settings))
    wait_for(lambda: place.store.get(job.name).state is State.COMPLETED, 120)
    code, said = hosted.end()
    assert code == 0
    assert f"{job.name}: worker " in said
    assert place.models.get("tiny-distilled").job == job.name
