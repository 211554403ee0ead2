"""Stage 1 against a real server and its faults, and killed."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mwalimu.config import Config, build_config
from mwalimu.data.record import Message, Record
from mwalimu.errors import (
    TeacherRefusesKey,
    TeacherUnreachable,
    TooFewAnswers,
    UnknownTeacherModel,
)
from mwalimu.run import Run
from mwalimu.synthesis import limiter
from mwalimu.synthesis.generate import generate
from tests.synthesis.teacher_server import Fault, TeacherServer, answer_to, completion


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "BACKOFF_S", 0.01)


def config_for(folder: Path, server: TeacherServer | str, **teacher: Any) -> Config:
    url = server if isinstance(server, str) else server.url
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "tiny", "base_url": url, "max_retries": 3} | teacher,
        "student": {"model": "none"},
        "generate": {"min_ok": 0.0},
    }
    return build_config(raw, base=folder)


def prompts(*texts: str, task: str = "generic") -> list[Record]:
    return [Record(f"r{i}", task, (Message("user", text),)) for i, text in enumerate(texts)]


def run_stage(
    folder: Path, config: Config, rows: list[Record], validation: list[Record] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    run = Run(folder / "run")
    ledger = generate(
        config,
        run,
        folder / "answers",
        rows,
        validation,
        stage_fingerprint="f",
        on_progress=lambda *_: None,
    )
    return ledger, read(run.path("generate", "train.jsonl")), rejects(run)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rejects(run: Run) -> list[dict[str, Any]]:
    return read(run.path("generate", "rejects.jsonl"))


def faulty(responses: dict[str, Any], *, times: int = 10**6) -> Fault:
    def fault(prompt: str, count: int) -> Any:
        if count > times or prompt not in responses:
            return None
        value = responses[prompt]
        return value() if callable(value) else value

    return fault


def reply(body: Any = None, *, status: int = 200, **options: Any) -> Any:
    """A maker: a response object serves once."""
    if isinstance(body, bytes):
        return lambda: web.Response(body=body, status=status, **options)
    return lambda: web.json_response(body, status=status, **options)


def test_rows_come_out_in_input_order_with_their_ids(tmp_path: Path) -> None:
    texts = [f"question {i}" for i in range(60)]
    with TeacherServer(latency_s=0.01) as server:
        ledger, rows, _ = run_stage(tmp_path, config_for(tmp_path, server), prompts(*texts))
        assert 8 <= server.most_in_flight <= 16
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(60)]
    assert [row["messages"][-1]["content"] for row in rows] == [answer_to(t) for t in texts]
    assert ledger["outcomes"] == {"ok": 60} and ledger["requests_sent"] == 60
    assert ledger["tokens"] == {"prompt": 420, "completion": 180}


def test_the_bytes_do_not_depend_on_concurrency(tmp_path: Path) -> None:
    rows = prompts(*[f"q{i}" for i in range(40)])
    written = []
    with TeacherServer(lambda prompt, _: time.sleep(random.random() / 500)) as server:
        for concurrency in (1, 7, 32):
            folder = tmp_path / str(concurrency)
            run_stage(folder, config_for(tmp_path, server, concurrency=concurrency), rows)
            written.append((folder / "run" / "generate" / "train.jsonl").read_bytes())
    assert written[0] == written[1] == written[2]


def test_a_second_run_buys_nothing(tmp_path: Path) -> None:
    with TeacherServer() as server:
        config = config_for(tmp_path, server)
        run_stage(tmp_path, config, prompts("a", "b"))
        ledger, rows, _ = run_stage(tmp_path, config, prompts("b", "c", "a"))
        assert server.asked == {"a": 1, "b": 1, "c": 1}
    assert ledger["answers_reused"] == 2 and len(rows) == 3


def test_duplicates_are_named_and_not_paid_in_any_split(tmp_path: Path) -> None:
    rows = prompts("a", "b", "a", "a")
    validation = [Record(f"v{i}", "generic", (Message("user", t),)) for i, t in enumerate("bcb")]
    with TeacherServer() as server:
        ledger, train, rejected = run_stage(
            tmp_path, config_for(tmp_path, server), rows, validation
        )
        assert server.asked == {"a": 1, "b": 1, "c": 1}
    assert [row["id"] for row in train] == ["r0", "r1"]
    assert [(row["id"], row["duplicate_of"]) for row in rejected] == [
        ("r2", "r0"),
        ("r3", "r0"),
        ("v0", "r1"),
        ("v2", "r1"),
    ]
    assert ledger["reject_reasons"] == {"the same prompt as another row": 4}
    assert sum(ledger["outcomes"].values()) == ledger["inputs"] == 7


OUTCOMES = {
    "cut": (reply(completion("half", finish_reason="length")), "truncated"),
    "refused": (reply(completion("", message={"refusal": "no"})), "refused"),
    "filter": (reply(completion("", finish_reason="content_filter")), "filtered"),
    "empty": (reply(completion("  ")), "invalid"),
    "null": (reply(completion("", message={"content": None})), "invalid"),
    "no reason": (reply(completion("x", finish_reason=None)), "failed"),
    "bad request": (reply({"error": {"message": "too long"}}, status=400), "failed"),
    "always 500": (reply({}, status=500), "failed"),
    "html": (reply(b"<html>ok</html>"), "failed"),
    "cut json": (reply(b'{"choices": [{"mess'), "failed"),
    "no choices": (reply({"choices": []}), "failed"),
    "dropped": ("drop", "failed"),
}


def test_every_row_ends_in_one_named_outcome(tmp_path: Path) -> None:
    fault = faulty({name: response for name, (response, _) in OUTCOMES.items()})
    with TeacherServer(fault) as server:
        config = config_for(tmp_path, server)
        ledger, rows, rejected = run_stage(tmp_path, config, prompts("good", *OUTCOMES))
    assert [row["id"] for row in rows] == ["r0"]
    found = {row["messages"][-1]["content"]: row["status"] for row in rejected}
    assert found == {name: status for name, (_, status) in OUTCOMES.items()}
    assert all(row["reason"] for row in rejected)
    assert sum(ledger["outcomes"].values()) == ledger["inputs"]


@pytest.mark.parametrize("name", ["429", "503", "drop", "html"])
def test_a_passing_fault_costs_a_retry_and_no_row(tmp_path: Path, name: str) -> None:
    response = {
        "429": reply({}, status=429),
        "503": reply({}, status=503),
        "drop": "drop",
        "html": reply(b"<html>"),
    }[name]
    with TeacherServer(faulty({"q": response}, times=2)) as server:
        ledger, rows, _ = run_stage(tmp_path, config_for(tmp_path, server), prompts("q"))
        assert server.asked["q"] == 3
    assert len(rows) == 1 and sum(ledger["retries"].values()) == 2
    assert ledger["ambiguous_retries"] == (2 if name in ("drop", "html") else 0)


def test_retry_after_stops_every_worker(tmp_path: Path) -> None:
    times: list[float] = []

    def fault(prompt: str, count: int) -> web.Response | None:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.json_response({}, status=429, headers={"Retry-After": "0.5"})
        return None

    with TeacherServer(fault) as server:
        config = config_for(tmp_path, server, concurrency=1)
        _, rows, _ = run_stage(tmp_path, config, prompts("a", "b", "c"))
    assert len(rows) == 3
    assert times[1] - times[0] >= 0.5


def test_the_wrong_key_is_refused_before_any_row_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-7f3a")
    with TeacherServer(key="right") as server:
        with pytest.raises(TeacherRefusesKey, match="MY_KEY") as caught:
            run_stage(tmp_path, config_for(tmp_path, server, api_key_env="MY_KEY"), prompts("q"))
        assert not server.asked
    assert "canary" not in str(caught.value)


def test_the_key_reaches_the_server_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "canary-7f3a")
    with TeacherServer(key="canary-7f3a") as server:
        run_stage(tmp_path, config_for(tmp_path, server, api_key_env="MY_KEY"), prompts("q"))
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()


def test_an_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    with (
        TeacherServer() as server,
        pytest.raises(UnknownTeacherModel, match="did you mean 'tiny'"),
    ):
        run_stage(tmp_path, config_for(tmp_path, server, model="tinny"), prompts("q"))


def test_a_server_that_dies_stops_the_run_and_keeps_the_answers(tmp_path: Path) -> None:
    with TeacherServer() as server:
        config = config_for(tmp_path, server, max_retries=0)
        run_stage(tmp_path, config, prompts("a"))
    with pytest.raises(TeacherUnreachable, match="no answer from the teacher"):
        run_stage(tmp_path, config, prompts("a", "b"))


def test_a_server_that_always_fails_is_given_up(tmp_path: Path) -> None:
    def always(prompt: str, count: int) -> web.Response:
        return web.json_response({}, status=500)

    with (
        TeacherServer(always) as server,
        pytest.raises(TeacherUnreachable, match=r"to \d+ requests in a row, 4 tries"),
    ):
        run_stage(tmp_path, config_for(tmp_path, server), prompts(*map(str, range(50))))


def test_too_few_answers_fail_after_the_rejects_are_published(tmp_path: Path) -> None:
    with TeacherServer(faulty({"b": reply(completion(" "))})) as server:
        config = config_for(tmp_path, server)
        strict = config.model_copy(
            update={"generate": config.generate.model_copy(update={"min_ok": 0.9})}
        )
        with pytest.raises(TooFewAnswers, match=r"50\.0% of the answers"):
            run_stage(tmp_path, strict, prompts("a", "b"))
    assert [row["id"] for row in rejects(Run(tmp_path / "run"))] == ["r1"]
    assert Run(tmp_path / "run").stage("generate") is None


def test_nli_and_math_answers_are_checked(tmp_path: Path) -> None:
    answers = {"n1": "Entailment.", "n2": "maybe", "m1": "it is 7", "m2": "it is seven"}
    fault = faulty({name: reply(completion(text)) for name, text in answers.items()})
    with TeacherServer(fault) as server:
        rows = [
            Record(name, "nli" if name[0] == "n" else "math", (Message("user", name),))
            for name in answers
        ]
        _, accepted, rejected = run_stage(tmp_path, config_for(tmp_path, server), rows)
    assert [row["id"] for row in accepted] == ["n1", "m1"]
    assert [row["status"] for row in rejected] == ["invalid", "invalid"]
