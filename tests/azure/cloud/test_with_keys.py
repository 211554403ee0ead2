"""The process that a compute starts: a real one, with the identity that Azure gives a compute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mwalimu.azure.cloud import with_keys
from tests.azure.cloud.answers import DATA, FakeAzure

KEY = "sk-the-key-of-the-teacher"
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('TEACHER_KEY')]))"


@pytest.fixture
def compute(azure: FakeAzure, tmp_path: Path) -> dict[str, str]:
    """The environment of a job on a compute; all names resolve to the fake, as here."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        f"place = (socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', {azure.port}))\n"
        "socket.getaddrinfo = lambda *_, **__: [place]\n"
    )
    source = Path(__file__).parents[3] / "src"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{source}",
        "REQUESTS_CA_BUNDLE": os.environ["REQUESTS_CA_BUNDLE"],
        "MSI_ENDPOINT": f"{DATA}/identity",
        "MSI_SECRET": "of the compute",
        "AZUREML_ARM_SUBSCRIPTION": "sub-1",
        "AZUREML_ARM_RESOURCEGROUP": "group-1",
        "AZUREML_ARM_WORKSPACE_NAME": "ws-1",
    }


def connection(credentials: dict[str, str] | None) -> dict[str, Any]:
    known = {"authType": "ApiKey", "category": "Serverless", "target": "https://a.example"}
    return {**known, **({"credentials": credentials} if credentials else {})}


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    arguments = ["-m", "mwalimu.azure.cloud.with_keys", *command]
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_finds_the_key(azure: FakeAzure, compute: dict[str, str]) -> None:
    azure.connections["openai"] = connection({"key": KEY})
    ended = run(compute, "TEACHER_KEY=openai", "--", sys.executable, "-c", SHOW, "a b", "--", "$c")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [["a b", "--", "$c"], KEY]
    assert KEY not in ended.stderr
    (asked,) = azure.sent("GET", "/identity")
    assert asked.query["resource"] == ["https://management.azure.com"]
    bearers = {e.headers.get("Authorization") for e in azure.sent("POST", "/listsecrets")}
    assert bearers == {"Bearer of the compute"}


@pytest.mark.parametrize(
    ("known", "without", "said"),
    [
        ({}, "", "error: connection openai: Azure has no such thing"),
        ({"openai": connection(None)}, "", "error: connection openai: holds no key"),
        ({}, "AZUREML_ARM_WORKSPACE_NAME", "error: AZUREML_ARM_WORKSPACE_NAME: is not set"),
    ],
)
def test_without_a_key_the_command_does_not_run(
    azure: FakeAzure,
    compute: dict[str, str],
    known: Any,
    without: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    azure.connections |= known
    for name, value in compute.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(without, raising=False)
    began: list[object] = []
    monkeypatch.setattr(os, "execvpe", lambda *given: began.append(given))
    with pytest.raises(SystemExit) as ended:
        with_keys.main(["TEACHER_KEY=openai", "--", sys.executable, "-c", SHOW])
    assert isinstance(ended.value.code, str)  # Python says it on stderr, and ends with 1
    assert ended.value.code.startswith(said)
    assert capsys.readouterr().out == ""
    assert not began
