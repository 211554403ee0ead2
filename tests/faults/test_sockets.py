"""The n-th call on a socket fails: the row is asked again, or one line says that nobody answers."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mwalimu.files import sha256_file
from mwalimu.quickstart.job import write_jsonl
from tests import command
from tests.figures import record
from tests.synthesis.teacher_server import TeacherServer

LONG = bool(os.environ.get("MWALIMU_LONG"))
ROWS, CONCURRENCY = 12, 4
OUTPUTS = ("train.jsonl", "rejects.jsonl")


class Kind(NamedTuple):
    call: str
    error: str
    says: str  # where every call fails


KINDS = (
    Kind("socket", "EMFILE", "too many open files"),
    Kind("connect", "ECONNREFUSED", "connection refused"),
    Kind("connect", "ETIMEDOUT", "timed out"),
    Kind("connect", "ENETUNREACH", "unreachable"),
    Kind("send", "ECONNRESET", "connection lost"),
    Kind("send", "EPIPE", "connection lost"),
    Kind("recv", "ECONNRESET", "connection lost"),
    Kind("recv", "ETIMEDOUT", "no answer"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[TeacherServer]:
    with TeacherServer(latency_s=0.005) as found:
        yield found


def write(folder: Path, url: str) -> Path:
    folder.mkdir()
    rows = [{"id": f"r{n}", "prompt": f"question {n}"} for n in range(ROWS)]
    write_jsonl(folder / "p.jsonl", rows)
    teacher: dict[str, Any] = {"model": "tiny", "base_url": url, "concurrency": CONCURRENCY}
    teacher |= {"outage_s": 0.5, "max_retries": 2, "timeout_s": 20}
    config = {"task": "generic", "data": {"train": "p.jsonl"}, "teacher": teacher}
    (folder / "distill.yaml").write_text(json.dumps(config | {"student": {"model": "none"}}))
    return folder


def generate(folder: Path, **fault: Any) -> tuple[int, str]:
    env = {"MWALIMU_TESTS_FAULT": json.dumps(fault)} if fault else {}
    done = command.mwalimu("generate", "distill.yaml", "--run", "run", cwd=folder, **env)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


def hashes(folder: Path) -> list[str]:
    return [sha256_file(folder / "run" / "generate" / name) for name in OUTPUTS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.call}-{kind.error}")
def test_a_socket_that_fails_costs_no_row(
    kind: Kind, server: TeacherServer, tmp_path: Path
) -> None:
    reference = write(tmp_path / "whole", server.url)
    assert generate(reference, names=[kind.call])[0] == 0
    calls = int((reference / "calls").read_text())
    assert calls >= 1
    number, tried = getattr(errno, kind.error), 0
    places = {1, 2, (calls + 1) // 2, calls} if LONG else {2}
    for at in sorted(places & set(range(1, calls + 1))):
        folder = write(tmp_path / str(at), server.url)
        server.asked.clear()
        code, said = generate(folder, names=[kind.call], number=number, at=at)
        assert code in (0, 4), said  # 4 where it was the first look at the server
        assert code == 0 or generate(folder)[0] == 0
        assert hashes(folder) == hashes(reference)
        assert server.asked.total() <= ROWS + CONCURRENCY
        tried += 1
    folder = write(tmp_path / "always", server.url)
    server.asked.clear()
    code, said = generate(folder, names=[kind.call], number=number, at=1, lasting=True)
    assert code == 4 and said.startswith("error: ") and kind.says in said, said
    assert generate(folder)[0] == 0
    assert hashes(folder) == hashes(reference)
    record("R6", f"{kind.error} at a {kind.call}", tried=tried + 1, note=f"of {calls} calls")
