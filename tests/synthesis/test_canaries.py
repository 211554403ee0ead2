"""Keys that are planted through every inlet, and looked for in every byte that is written.

Each inlet is tried through the command line as a user has it, with and without tracebacks, and with
all that can be watched: a log that holds everything, metrics, traces. What the user wrote into a
file of his own stays there; nothing else may hold it: no file, no line, no span.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.command import mwalimu
from tests.figures import record
from tests.synthesis.canary_inlets import INLETS, Canary, Inlet, filled, server_for
from tests.telemetry.collector import collector
from tests.test_cli import write_job

EXPORTER = find_spec("opentelemetry.exporter") is not None

MINE = {"distill.yaml", "prompts.jsonl"}


def leaks(canary: Canary, folder: Path, result: CompletedProcess[str]) -> Iterator[str]:
    written = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    for name, path in written.items():
        if path.is_file() and name not in MINE and (form := canary.found_in(path.read_bytes())):
            yield f"{name}: {form}"
        if canary.found_in(name.encode()):
            yield f"{name}: as a name"
    for stream, text in (("stdout", result.stdout), ("stderr", result.stderr)):
        if form := canary.found_in(text.encode()):
            yield f"{stream}: {form}: {text.strip()[-400:]}"


WATCHED = ("--log", "log.jsonl", "--log-text", "--metrics", "metrics.prom")


def run(inlet: Inlet, folder: Path, *options: str, **watching: str) -> list[str]:
    """What is wrong after one run of the inlet."""
    folder.mkdir()
    canary = Canary(inlet.name)
    with server_for(inlet, canary) as server:
        root = server.url.removesuffix("/v1")
        teacher = {"model": "tiny", "base_url": server.url, "concurrency": 2} | dict(inlet.teacher)
        rows: list[object] = [{"prompt": f"question {i}"} for i in range(3)]
        write_job(folder, rows, teacher=filled(teacher, canary.key, root))
        arguments = filled(list(inlet.arguments), canary.key)
        env = filled(inlet.env, canary.key) | watching
        result = mwalimu(*options, "generate", "distill.yaml", *arguments, cwd=folder, **env)
    wrong = list(leaks(canary, folder, result))
    if result.returncode != inlet.code:
        wrong.append(f"exit code {result.returncode}: {result.stderr[-400:]}")
    if options == WATCHED and not (folder / "log.jsonl").stat().st_size:
        wrong.append("nothing was logged")
    if not options and ("Traceback" in result.stderr or is_split(result.stderr)):
        wrong.append(f"more than one line: {result.stderr[-400:]}")
    return wrong


def is_split(stderr: str) -> bool:
    """Whether an error takes more than its one line."""
    lines = stderr.splitlines()
    found = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    return bool(found) and found != [len(lines) - 1]


@pytest.mark.parametrize("inlet", INLETS, ids=lambda inlet: inlet.name)
def test_a_key_is_nowhere_but_where_the_user_put_it(tmp_path: Path, inlet: Inlet) -> None:
    wrong: dict[str, list[str]] = {}

    def tried(name: str, *options: str, **watching: str) -> None:
        wrong[name] = run(inlet, tmp_path / name, *options, **watching)

    with collector() as found:
        level = {"MWALIMU_LOG_LEVEL": "DEBUG"}
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url} if EXPORTER else {}
        threads = [
            threading.Thread(target=tried, args=("plain",)),
            threading.Thread(target=tried, args=("debug", "--debug")),
            threading.Thread(target=tried, args=("watched", *WATCHED), kwargs=level | traced),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 3 and not any(wrong.values()), "\n".join(chain(*wrong.values()))
    sent = b"".join(found.bodies)
    assert not Canary(inlet.name).found_in(sent)
    record("R21", "a key by every inlet, plain, --debug and all watched", tried=len(wrong))


def test_the_search_finds_what_it_looks_for() -> None:
    import base64
    from urllib.parse import quote

    canary = Canary("x")
    for before in ("", "a", "ab", "Bearer ", "user:"):
        text = f"{before}{canary.key}"
        assert canary.found_in(f"...{text}...".encode())
        assert canary.found_in(quote(text, safe="").encode())
        assert canary.found_in(base64.b64encode(text.encode()))
    assert not canary.found_in(Canary("y").key.encode())


def test_there_are_enough_inlets() -> None:
    assert len(INLETS) >= 20 and len({inlet.name for inlet in INLETS}) == len(INLETS)
