"""What the server around an application says of its own accord."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KEY = "sk-" + "q7" * 15
PROGRAM = f"""
import http.client, sys, threading
from mwalimu.serving.listening import ListeningServer
from mwalimu.telemetry import logs
from tests.serving.running import free_port

async def app(scope, receive, send):
    if scope["type"] == "http":
        raise RuntimeError("the teacher refused {KEY}")

def ask():
    there = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    there.request("GET", "/")
    assert there.getresponse().status == 500
    server.should_exit = True

if len(sys.argv) > 1:
    logs.begin(sys.argv[1])
port = free_port()
server = ListeningServer(app, host="127.0.0.1", port=port, connections=8, grace=1, lifespan="off")
server.listen(threading.Thread(target=ask).start)
"""


@pytest.mark.parametrize("with_log", [False, True])
def test_a_bug_is_told_once_and_without_keys(with_log: bool, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", PROGRAM, *([str(path)] if with_log else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeError: the teacher refused [hidden]") == 1
    assert KEY not in done.stderr + done.stdout
    if with_log:
        told = [json.loads(line) for line in path.read_bytes().splitlines()]
        bug = next(line for line in told if line["level"] == "ERROR")
        assert "exception" in json.dumps(bug).lower() and KEY not in path.read_text()
