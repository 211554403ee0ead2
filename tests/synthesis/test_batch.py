"""Batches against a real server: faults, kills, mode switches, and nothing is bought twice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import (
    BudgetReached,
    ConfigError,
    RunError,
    TeacherError,
    TeacherUnreachable,
)
from mwalimu.synthesis import limiter, store
from mwalimu.synthesis.batches import buyer, remote
from mwalimu.synthesis.batches.records import BatchFolder
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore
from mwalimu.teachers.anthropic_messages import AnthropicMessages
from mwalimu.teachers.batch import openai_files
from mwalimu.teachers.batch.base import Limits
from mwalimu.teachers.served import ServedTeacher
from tests.held import traced
from tests.synthesis.batch_life import RUN, Life, config_for, rows, run
from tests.synthesis.batch_server import BatchServer

KINDS = ("openai", "azure", "azure-v1", "anthropic")
TEXTS = [f"question {i}" for i in range(12)]
ECHOED = [f"echo {text}" for text in TEXTS]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(remote, "LAST_POLL_S", 0.01)
    monkeypatch.setattr(limiter, "BACKOFF_S", 0.01)
    monkeypatch.setattr(openai_files, "FILE_POLL_S", 0.01)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def buy(folder: Path, kind: str, server: BatchServer, *texts: str, **changes: Any) -> Life:
    config = config_for(folder, kind, server.home, **changes)
    return run(config, folder / "answers", rows(*(texts or TEXTS)))


def records(folder: Path) -> list[dict[str, Any]]:
    """Those that still say something about requests."""
    paths = sorted((folder / "answers" / "batches").glob("*.json"))
    read = [json.loads(path.read_bytes()) for path in paths]
    return [record for record in read if record["requests"]]


def each_once(server: BatchServer, texts: list[str] = TEXTS) -> bool:
    return server.done == dict.fromkeys(texts, 1)


def test_a_batch_brings_every_answer_at_its_own_price(tmp_path: Path, kind: str) -> None:
    with BatchServer(polls=3) as server:
        life = buy(tmp_path, kind, server)
        assert each_once(server) and not server.online
    assert life.texts == ECHOED
    assert life.spend.answers == 12 and life.spend.open_requests == 0
    assert life.spend.nano_usd == 12 * (7 * 1_000 + 3 * 5_000)
    assert not records(tmp_path)


def test_an_unknown_factor_counts_at_the_full_price(tmp_path: Path) -> None:
    with BatchServer() as server:
        life = buy(tmp_path, "openai", server, "q", batch_factor=None)
    assert life.spend.nano_usd == 7 * 2_000 + 3 * 10_000


def test_what_the_batch_leaves_out_is_asked_one_by_one(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "INDEX_EVERY", 5)  # frames: it lags behind the results
    fates: dict[str, Any] = {
        "expires": "expired",
        "fails": (500, {"error": {"message": "internal", "type": "api_error"}}),
        "too long": (400, {"error": {"message": "too long", "type": "invalid_request_error"}}),
    }
    with BatchServer(fate=fates.get) as server:
        life = buy(tmp_path, kind, server, "good", *fates)
        assert server.online == dict.fromkeys(fates, 1)
        assert each_once(server, ["good", *fates])
        assert (
            records(tmp_path)[0]["state"] == "done" and len(records(tmp_path)[0]["requests"]) == 3
        )
        # They had their try: the next life does not wait a day for them again.
        again = buy(tmp_path, kind, server, "good", *fates)
        assert len(server.batches) == 1 and again.sent == 0
        monkeypatch.setattr(buyer, "KEPT_S", 0.0)
        buy(tmp_path, kind, server, "good", *fates)
        assert not records(tmp_path)
    assert [o.status for o in life.outcomes] == ["ok"] * 4 and life.repeated == 0
    assert life.spend.open_requests == 0
    assert "1 answers, 3 without one" in life.notes[-1] and "too long" in life.notes[-1]
    # One at the price of a batch, three at that of online requests.
    assert life.spend.nano_usd == 22_000 + 3 * 44_000


def test_a_row_that_fails_everywhere_is_not_batched_again(tmp_path: Path) -> None:
    no = (400, {"error": {"message": "no"}})
    with BatchServer(
        fate={"bad": no}.get, fault=lambda op, n: no if op == "chat" else None
    ) as server:
        for _ in range(2):
            life = buy(tmp_path, "openai", server, "good", "bad")
            assert [o.status for o in life.outcomes] == ["ok", "failed"]
        assert len(server.batches) == 1 and server.calls["chat"] == 2


@pytest.mark.parametrize("fate", ["malformed", "missing"])
def test_lines_without_meaning_stay_unsettled_unless_all_answers_are_there(
    tmp_path: Path, kind: str, fate: str
) -> None:
    with BatchServer(fate={"bad": fate}.get) as server:
        life = buy(tmp_path, kind, server, "good", "bad")
        assert each_once(server, ["good", "bad"])  # the batch did not count it among the answered
    assert life.texts == ["echo good", "echo bad"] and life.ambiguous == 0


def test_an_answered_line_that_cannot_be_read_counts_at_its_worst(tmp_path: Path) -> None:
    class Liar(BatchServer):
        """It says that it answered everything."""

        def _shown(self, batch: Any, anthropic: bool) -> dict[str, Any]:
            shown = super()._shown(batch, anthropic)
            return shown | {"request_counts": {"total": 2, "completed": 2, "failed": 0}}

    with Liar(fate={"bad": "malformed"}.get) as server:
        life = buy(tmp_path, "openai", server, "good", "bad")
    assert life.texts == ["echo good", "echo bad"]
    assert life.ambiguous == 1 and life.spend.open_requests == 1


def test_an_answer_without_meaning_is_asked_again_and_counted(tmp_path: Path) -> None:
    with BatchServer(fate={"odd": (200, {"choices": []})}.get) as server:
        life = buy(tmp_path, "openai", server, "good", "odd")
    assert life.texts == ["echo good", "echo odd"] and life.ambiguous == 1


def test_a_filtered_prompt_is_an_outcome_not_a_second_request(tmp_path: Path) -> None:
    body = {"error": {"code": "content_filter", "message": "filtered"}}
    with BatchServer(fate={"bad": (400, body)}.get) as server:
        life = buy(tmp_path, "azure", server, "good", "bad")
        assert not server.online
    assert [o.status for o in life.outcomes] == ["ok", "filtered"]


@pytest.mark.parametrize("fault", [(429, {}), (500, {}), (503, {}), "drop", "drop after"])
def test_polling_outlives_a_passing_fault(tmp_path: Path, kind: str, fault: Any) -> None:
    def at(operation: str, count: int) -> Any:
        return fault if operation == "poll" and count <= 3 else None

    with BatchServer(fault=at) as server:
        assert buy(tmp_path, kind, server).texts == ECHOED
        assert each_once(server)


def test_a_provider_that_stays_away_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    faults: list[Any] = [(500, {})]
    with BatchServer(fault=lambda op, n: faults[0] if op == "poll" else None) as server:
        with pytest.raises(TeacherUnreachable, match="batches that were sent go on"):
            buy(tmp_path, "openai", server, outage_s=0.2)
        assert records(tmp_path)[0]["state"] == "running"
        faults[0] = None
        assert buy(tmp_path, "openai", server).texts == ECHOED
        assert each_once(server) and len(server.batches) == 1


@pytest.mark.parametrize("operation", ["upload", "create"])
@pytest.mark.parametrize("fault", [(429, {}), (503, {}), "drop", "drop after"])
def test_a_fault_while_sending_leaves_one_batch(
    tmp_path: Path, kind: str, operation: str, fault: Any
) -> None:
    def at(asked: str, count: int) -> Any:
        return fault if asked == operation and count == 1 else None

    with BatchServer(fault=at) as server:
        life = buy(tmp_path, kind, server)
        assert len(server.batches) == 1 and each_once(server)
    assert life.texts == ECHOED and life.spend.open_requests == 0


def test_a_batch_is_found_by_its_file_where_no_metadata_is_kept(tmp_path: Path) -> None:
    def at(operation: str, count: int) -> Any:
        return "drop after" if operation == "create" and count == 1 else None

    with BatchServer(fault=at, keeps_metadata=False) as server:
        assert buy(tmp_path, "azure", server).texts == ECHOED
        assert len(server.batches) == 1 and each_once(server)


def test_results_that_break_off_are_fetched_again(tmp_path: Path, kind: str) -> None:
    broken = []

    def at(operation: str, number: int) -> Any:
        if operation == "line" and number == 5 and not broken:
            broken.append(number)
            return "drop"
        return None

    with BatchServer(fault=at) as server:
        life = buy(tmp_path, kind, server)
        assert server.calls["results"] == 2 and each_once(server)
    assert life.texts == ECHOED and life.spend.answers == 12


def test_a_batch_refused_as_a_whole_is_an_error_and_costs_nothing(tmp_path: Path) -> None:
    error = {"code": "model_not_found", "message": "no deployment of that name"}
    with BatchServer(refuse=lambda lines: error) as server:
        with pytest.raises(TeacherError, match="no deployment of that name"):
            buy(tmp_path, "azure", server)
        assert not server.done and not records(tmp_path)
        server.refuse = lambda lines: None
        life = buy(tmp_path, "azure", server)
        assert each_once(server)
    assert life.spend.open_requests == 0


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_refused_request_for_a_batch_is_an_error(tmp_path: Path, kind: str) -> None:
    refusal = (400, {"error": {"type": "invalid_request_error", "message": "bad model"}})
    with (
        BatchServer(fault=lambda op, n: refusal if op == "create" else None) as server,
        pytest.raises(TeacherError, match="bad model"),
    ):
        buy(tmp_path, kind, server)
    assert not records(tmp_path)


def test_a_server_without_batches_says_so(tmp_path: Path) -> None:
    with (
        BatchServer(fault=lambda op, n: (404, {}) if op == "upload" else None) as server,
        pytest.raises(TeacherError, match="no batch API"),
    ):
        buy(tmp_path, "openai", server)


@pytest.mark.parametrize("most", [50_000, 6])
def test_a_full_queue_is_met_with_smaller_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The provider takes five requests at a time, told long after the batch was made."""
    monkeypatch.setattr(openai_files.OpenAIBatches, "limits", Limits(most, 10**6))

    def refuse(lines: list[Any]) -> dict[str, str] | None:
        if len(lines) <= 5:
            return None
        return {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}

    with BatchServer(refuse=refuse) as server:
        life = buy(tmp_path, "openai", server)
        assert each_once(server) and not server.online
    assert life.texts == ECHOED and not records(tmp_path)


def test_a_queue_that_is_full_at_once_and_stays_so_is_an_error(tmp_path: Path) -> None:
    full = (429, {"error": {"code": "token_limit_exceeded", "message": "limit reached"}})
    with (
        BatchServer(fault=lambda op, n: full if op == "create" else None) as server,
        pytest.raises(TeacherError, match="no room in its queue"),
    ):
        buy(tmp_path, "azure", server, "a", "b", "c")
    assert not records(tmp_path)


@pytest.mark.parametrize("limits", [Limits(5, 10**6), Limits(10**6, 900)])
def test_files_keep_to_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    monkeypatch.setattr(openai_files.OpenAIBatches, "limits", limits)
    with BatchServer(polls=5) as server:
        life = buy(tmp_path, "openai", server)
        assert each_once(server) and len(server.batches) >= 3
        sizes = [len(content) for _, content in server.files.values()]
        assert max(sizes) <= limits.bytes
        assert max(len(b.lines) for b in server.batches.values()) <= limits.requests
    assert life.texts == ECHOED and life.spend.answers == 12


def test_the_same_question_is_bought_once(tmp_path: Path) -> None:
    with BatchServer() as server:
        assert buy(tmp_path, "openai", server, "a", "b", "a").texts == [
            "echo a",
            "echo b",
            "echo a",
        ]
        assert each_once(server, ["a", "b"])


def test_an_adopted_batch_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Anthropic's batches bear no name: one of the same size and time may be another's."""

    def at(operation: str, count: int) -> Any:
        return "drop" if operation == "create" and count == 1 else None

    with BatchServer(fault=at) as server:
        line = {"custom_id": "x", "body": {"messages": [{"content": "theirs"}]}}
        server._new([line], None, "")
        life = buy(tmp_path, "anthropic", server, "ours")
        assert server.done["ours"] == 1
    assert life.texts == ["echo ours"] and life.ambiguous == 1
    assert any("may be lost" in note and "another's" in note for note in life.notes)


def test_batches_that_cannot_be_told_apart_count_as_possibly_lost(tmp_path: Path) -> None:
    def at(operation: str, count: int) -> Any:
        return "drop" if operation == "create" and count == 1 else None

    with BatchServer(fault=at) as server:
        for name in ("x", "y"):
            line = {"custom_id": name, "body": {"messages": [{"content": name}]}}
            server._new([line], None, "")
        life = buy(tmp_path, "anthropic", server, "ours")
    assert life.texts == ["echo ours"] and life.ambiguous == 1
    assert life.spend.open_requests == 1
    assert sum("may be lost" in note for note in life.notes) == 1


@pytest.mark.parametrize("operation", ["poll", "results"])
def test_a_batch_the_provider_forgot_is_asked_one_by_one(tmp_path: Path, operation: str) -> None:
    with BatchServer(fault=lambda op, n: (404, {}) if op == operation else None) as server:
        life = buy(tmp_path, "openai", server)
    assert life.texts == ECHOED and life.spend.open_requests == 12 and life.ambiguous == 12


# -- the budget -------------------------------------------------------------------------------


def test_the_cap_holds_over_files_that_get_smaller(tmp_path: Path) -> None:
    """Room for about three at their worst; each turns out cheaper, so that more fit later."""
    with BatchServer() as server:
        with pytest.raises(BudgetReached):
            buy(tmp_path, "openai", server, budget={"tokens": 150})
        first = sum(server.done.values())
        sizes = [len(batch.lines) for batch in server.batches.values()]
        assert len(sizes) > 1 and sizes[0] == 3 and first * 10 <= 150
        assert not server.online
        life = buy(tmp_path, "openai", server, budget={"tokens": 10_000})
        assert each_once(server)
    assert life.texts == ECHOED


def test_a_capped_run_waits_for_what_an_earlier_life_sent(tmp_path: Path) -> None:
    faults: list[Any] = [(500, {})]
    capped: dict[str, Any] = {"budget": {"tokens": 150}}
    with BatchServer(fault=lambda op, n: faults[0] if op == "poll" else None) as server:
        # Nothing else fits while they are under way, and whoever waits for room hears the error.
        with pytest.raises(TeacherUnreachable):
            buy(tmp_path, "openai", server, outage_s=0.2, **capped)
        assert [len(batch.lines) for batch in server.batches.values()] == [3]
        faults[0] = None
        with pytest.raises(BudgetReached):
            buy(tmp_path, "openai", server, **capped)
        assert len(server.batches) > 1 and set(server.done.values()) == {1}


def test_a_cap_below_one_request_sends_nothing(tmp_path: Path) -> None:
    with BatchServer() as server:
        with pytest.raises(BudgetReached):
            buy(tmp_path, "openai", server, budget={"usd": 1e-6})
        assert not server.batches and not records(tmp_path)


# -- mode switches ----------------------------------------------------------------------------


def test_from_batch_to_online_cancels_and_keeps_what_was_done(tmp_path: Path, kind: str) -> None:
    with BatchServer(polls=10**9, at_cancel=5) as server:
        worker = start(tmp_path, kind, server)
        wait_for(lambda: server.calls["poll"] >= 2)
        kill(worker)
        life = buy(tmp_path, kind, server, mode="online")
        assert each_once(server) and len(server.online) == 7
    assert life.texts == ECHOED and life.spend.open_requests == 0 and life.repeated == 0


def test_from_online_to_batch_buys_only_the_rest(tmp_path: Path, kind: str) -> None:
    with BatchServer() as server:
        buy(tmp_path, kind, server, *TEXTS[:4], mode="online")
        life = buy(tmp_path, kind, server)
        assert each_once(server) and len(server.online) == 4
        assert [len(b.lines) for b in server.batches.values()] == [8]
    assert life.texts == ECHOED


def test_online_without_batches_asks_nothing_about_them(tmp_path: Path) -> None:
    with BatchServer() as server:
        assert buy(tmp_path, "openai", server, mode="online").texts == ECHOED
        assert set(server.calls) == {"chat"}


def test_another_run_takes_up_the_batch_on_its_own_account(tmp_path: Path) -> None:
    with BatchServer(polls=10**9) as server:
        worker = start(tmp_path, "openai", server)
        wait_for(lambda: server.calls["poll"] >= 2)
        kill(worker)
        for batch in server.batches.values():
            batch.polls_left = 0
        config = config_for(tmp_path, "openai", server.home)
        life = run(config, tmp_path / "answers", rows(*TEXTS), run="cd" * 16)
        assert each_once(server)
    assert life.spend.answers == 12 and life.spend.open_requests == 0


def test_batches_of_another_teacher_wait_for_it(tmp_path: Path) -> None:
    with BatchServer(polls=10**9) as server:
        worker = start(tmp_path, "openai", server)
        wait_for(lambda: server.calls["poll"] >= 2)
        kill(worker)
        server.polls = 1
        life = buy(tmp_path, "anthropic", server)
        assert any("another teacher" in note for note in life.notes)
        assert len(records(tmp_path)) == 1


# -- kill -9 ----------------------------------------------------------------------------------


def start(folder: Path, kind: str, server: BatchServer) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.synthesis.batch_life",
            str(folder),
            kind,
            server.home,
            json.dumps(TEXTS),
        ],
        cwd=Path(__file__).parents[2],
    )


def kill(worker: subprocess.Popen[bytes]) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


MOMENTS = [
    ("upload", "hang", 1),  # between the intent and the sending
    ("create", "hang", 1),
    ("create", "hang after", 1),  # sent, and its id never recorded
    ("poll", "hang", 2),
    ("results", "hang", 1),
    ("line", "hang", 7),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: "-".join(map(str, m)))
def test_killed_at_any_moment_nothing_is_lost_or_bought_twice(
    tmp_path: Path, kind: str, moment: tuple[str, str, int]
) -> None:
    if moment[0] == "upload" and kind == "anthropic":
        pytest.skip("its requests go inline")
    where, how, number = moment
    armed = [True]

    def at(operation: str, count: int) -> Any:
        return how if armed[0] and operation == where and count == number else None

    with BatchServer(fault=at, polls=2) as server:
        worker = start(tmp_path, kind, server)
        assert server.hanging.wait(60)
        kill(worker)
        armed[0] = False
        life = buy(tmp_path, kind, server)
        assert each_once(server) and not server.online
        assert len(server.batches) == 1
    assert life.texts == ECHOED and not records(tmp_path)
    assert life.spend.answers == 12 and life.spend.open_requests == 0


def test_killed_while_results_were_written_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mwalimu.synthesis.batches import intake

    monkeypatch.setattr(intake, "GROUP", 3)
    real, calls = intake._Group.write, []

    def write(self: Any, *args: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, *args)

    fates = {"question 1": "expired"}
    with BatchServer(fate=fates.get) as server:
        monkeypatch.setattr(intake._Group, "write", write)
        with pytest.raises(KeyboardInterrupt):
            buy(tmp_path, "anthropic", server)
        assert records(tmp_path)[0]["state"] == "running"
        life = buy(tmp_path, "anthropic", server)
        assert each_once(server) and server.online == {"question 1": 1}
    assert life.texts == ECHOED and life.spend.open_requests == 0


def test_memory_does_not_grow_with_the_results(tmp_path: Path) -> None:
    """20,000 answers of 4 kB, 80 MB in all, taken in by the life after the one that sent them."""
    filler = "x" * 4000
    with BatchServer(polls=0, answer=lambda prompt: filler) as server:
        config = config_for(tmp_path, "anthropic", server.home)
        keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(20_000)]
        body = {"messages": [{"content": "q"}]}
        server._new([{"custom_id": key, "body": body} for key in keys], None, "")
        costs = dict.fromkeys(keys, Cost(7, 20, 100))
        identity = ServedTeacher(config.teacher, AnthropicMessages()).info.model
        place = f"{server.home}/v1/messages"
        folder = BatchFolder(tmp_path / "answers")
        record = folder.new(identity, place, RUN, costs)
        record.remote, record.state = "batch-0", "running"
        folder.save(record)
        with AnswerStore(tmp_path / "answers", RUN) as answers:
            answers.mark_sent(costs.items())

        def taken_in() -> None:
            assert run(config, tmp_path / "answers", []).spend.answers == 20_000

        _, peak = traced(taken_in)
    assert not records(tmp_path)
    assert peak < 40 << 20  # the keys and what they may cost; not the answers


# -- what does not suit -----------------------------------------------------------------------


def test_mode_batch_needs_one_teacher_and_one_turn(tmp_path: Path) -> None:
    with BatchServer() as server:
        with pytest.raises(ConfigError, match="one teacher and one turn"):
            buy(tmp_path, "openai", server, generate={"conversation": "relabel"})
        assert not server.batches


def test_a_teacher_without_an_address_has_no_batches(tmp_path: Path) -> None:
    config = config_for(tmp_path, "openai", "http://localhost")
    fake = config.teacher.model_copy(update={"kind": "fake", "base_url": None, "model": "fake"})
    with pytest.raises(ConfigError, match="no batch API"):
        run(config.model_copy(update={"teacher": fake}), tmp_path / "answers", rows("q"))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "answers" / "batches"
    folder.mkdir(parents=True)
    (folder / "000001.json").write_bytes(b"{")
    with BatchServer() as server, pytest.raises(RunError, match=r"000001\.json"):
        buy(tmp_path, "openai", server)


def test_no_key_reaches_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "canary-7f3a")
    with BatchServer(fate={"question 1": "expired"}.get) as server:
        buy(tmp_path, "openai", server, api_key_env="MY_KEY")
    assert records(tmp_path)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()
