"""A line a event, whole, from many processes, without a secret; and no job that ends for it."""

from __future__ import annotations

import json
import logging
import logging.config
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.telemetry import context, logs, redaction, setting_up
from mwalimu.telemetry.fields import FIELDS
from tests.figures import record

PROCESSES, LINES = 4, 2000


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.getLogger("mwalimu").level
    yield
    logs.end()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.getLogger("mwalimu").setLevel(before[2])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_has_what_was_said_and_what_is_bound(tmp_path: Path) -> None:
    logs.begin(tmp_path / "log")
    with context.bound(run="r", stage="generate", not_a_field="x"):
        logs.say("request", row="7", status="answered", latency_s=0.5, attempt=2)
    logs.say("later", loss=float("nan"), run=None)
    first, second = lines(tmp_path / "log")
    assert first | {"time": "", "pid": 0} == {
        "time": "",
        "level": "INFO",
        "event": "request",
        "logger": "mwalimu",
        "pid": 0,
        "run": "r",
        "stage": "generate",
        "row": "7",
        "status": "answered",
        "latency_s": 0.5,
        "attempt": 2,
    }
    assert "run" not in second and second["loss"] is None
    assert first.keys() | second.keys() <= FIELDS.keys()
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_nothing_is_written_where_no_log_was_asked_for(tmp_path: Path) -> None:
    logs.say("request", row="7")
    assert not logs.is_on() and not list(tmp_path.iterdir())


def test_the_level_decides(tmp_path: Path) -> None:
    logs.begin(tmp_path / "log", "warning")
    logs.say("one")
    logs.say("two", logs.WARNING)
    logging.getLogger("other.package").info("three")
    logging.getLogger("other.package").error("four")
    assert [line["event"] for line in lines(tmp_path / "log")] == ["two", "four"]
    with pytest.raises(ConfigError, match="'loud' is no level"):
        logs.begin(tmp_path / "log", "loud")


def test_other_packages_lines_are_redacted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx says every address at INFO, urllib3 at DEBUG; an exception says what it was told."""
    monkeypatch.setattr(redaction, "_known", {})
    monkeypatch.setattr(redaction, "_forms", ())
    redaction.hide(key := "the+secret/key==")
    logs.begin(tmp_path / "log", "DEBUG", text=True)
    import httpx2

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        client.get("http://host/v1", params={"key": key})
    logging.getLogger("urllib3").debug("headers %r", {"Authorization": f"Bearer {key}"})
    try:
        try:
            raise ValueError(f"first {key}")
        except ValueError as error:
            raise RuntimeError(f"second {key}") from error
    except RuntimeError:
        logging.getLogger("any").exception("a bug with %s", key)
    text = (tmp_path / "log").read_text()
    found = lines(tmp_path / "log")
    assert any("http://host/v1" in line["event"] for line in found)
    assert "RuntimeError: second [hidden]" in found[-1]["traceback"]
    assert "first [hidden]" in found[-1]["traceback"]
    assert "the+secret" not in text and "the%2Bsecret" not in text


def test_an_exceptions_words_are_text_too(tmp_path: Path) -> None:
    logs.begin(tmp_path / "log")
    try:
        try:
            raise KeyError("what the prompt says")
        except KeyError as error:
            raise RuntimeError("what the answer says") from error
    except RuntimeError as error:
        logs.say("broken", logs.ERROR, bug=error, prompt="what the prompt says", answer="says")
    (line,) = lines(tmp_path / "log")
    assert line["error"] == "RuntimeError" and "KeyError" in line["traceback"]
    assert "test_logs.py" in line["traceback"]
    assert "says" not in json.dumps(line)


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    context_ = multiprocessing.get_context("fork")
    workers = [context_.Process(target=_write, args=(path, n)) for n in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    found = lines(path)
    seen = {(line["worker"], line["step"]) for line in found}
    assert len(found) == len(seen) == PROCESSES * LINES
    record("O3", "lines of processes that share a log", tried=len(found))


def _write(path: Path, worker: int) -> None:
    logs.end()
    logs.begin(path, text=True)
    for step in range(LINES):
        logs.say("line", worker=worker, step=step, answer="x" * (step % 5000))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_full_disk_costs_lines_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    logs.begin(Path("/dev/full"))
    for _ in range(5):
        logs.say("one")
    why = "[Errno 28] No space left on device"
    said = f"the log cannot be written ({why}): lines are left out\n"
    assert capfd.readouterr().err == said


def test_after_a_torn_line_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a disk does that has room for half a line, and then for more."""
    logs.begin(tmp_path / "log")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    logs.say("torn")
    monkeypatch.undo()
    logs.say("whole")
    torn, whole = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(whole)["event"] == "whole" and not torn.endswith(b"}")
    assert "lines are left out" in capfd.readouterr().err


def test_a_closed_log_costs_lines_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.begin(tmp_path / "log")
    assert logs._file is not None
    os.close(logs._file._descriptor)
    logs.say("one")
    logs.say("two")
    assert logs._file.lost == 2
    assert capfd.readouterr().err.count("the log cannot be written") == 1


def test_who_sets_up_logging_anew_does_not_end_the_log(tmp_path: Path) -> None:
    """As uvicorn does, which closes every handler that there is."""
    logs.begin(tmp_path / "log")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    logs.say("after")
    assert [line["event"] for line in lines(tmp_path / "log")] == ["after"]


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be opened \(no such file"):
        logs.begin(tmp_path / "none" / "log")


def test_a_line_has_an_end(tmp_path: Path) -> None:
    logs.begin(tmp_path / "log", text=True)
    logs.say("long", row="7", answer="x" * (2 * logs.LONGEST), prompt=["\ud800 half"])
    (line,) = lines(tmp_path / "log")
    assert line["answer"] == "[too long]" and line["row"] == "7"
    assert line["prompt"] == ["\ud800 half"]


def test_warnings_of_others_are_still_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Which the standard library does only where the root has no handler."""
    logging.getLogger().handlers[:] = []
    logs.begin(tmp_path / "log")
    logging.getLogger("other").warning("look out for sk-%s", "x" * 30)
    logging.getLogger("other").info("never mind")
    assert capfd.readouterr().err == "look out for [hidden]\n"
    assert len(lines(tmp_path / "log")) == 2


def test_warnings_of_others_are_redacted_where_nobody_asked_for_a_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MWALIMU_LOG", raising=False)
    logging.getLogger().handlers[:] = []
    setting_up.begin()
    setting_up.begin()
    logging.getLogger("other").warning("look out for sk-%s", "x" * 30)
    assert capfd.readouterr().err == "look out for [hidden]\n"
