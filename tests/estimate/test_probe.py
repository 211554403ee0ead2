"""A probe against a real server: what it buys is bought once, and what it measures is true."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mwalimu.config import Config
from mwalimu.errors import BudgetReached, ConfigError, RunError, TeacherUnreachable
from mwalimu.estimate import Estimate
from mwalimu.files import exclusive
from mwalimu.run import Run
from tests.estimate.jobs import (
    PRICES,
    generate_rows,
    of_job,
    place,
    prompts,
    word_server,
    write_job,
    write_rows,
)
from tests.synthesis.teacher_server import TeacherServer, completion
from tests.tiny import make_tiny_model


def worded(count: int) -> list[dict[str, Any]]:
    """Prompts of 3 to 12 words."""
    return [{"prompt": f"{i} " + "word " * (2 + i % 10)} for i in range(count)]


def job(folder: Path, server: TeacherServer, rows: Any = None, **changes: Any) -> Config:
    teacher = {"model": "tiny", "base_url": server.url, "max_retries": 0} | PRICES
    teacher |= changes.pop("teacher", {})
    return write_job(folder, teacher, worded(200) if rows is None else rows, **changes)


def probe(folder: Path, config: Config, size: int) -> Estimate:
    return of_job(folder, config, probe=size, folder=folder / "run")


def test_it_sends_so_many_rows_once_and_a_run_finds_their_answers(tmp_path: Path) -> None:
    with word_server() as server:
        config = job(tmp_path, server)
        first = probe(tmp_path, config, 20)
        assert sum(server.asked.values()) == 20 and place(first).stored == 20
        again = probe(tmp_path, config, 20)
        more = probe(tmp_path, config, 30)
        assert sum(server.asked.values()) == 30
        ledger = generate_rows(tmp_path, config)
        assert server.asked.most_common(1)[0][1] == 1
    assert first.probed and again.probed and more.probed
    assert (first.probed.sent, again.probed.sent, more.probed.sent) == (20, 0, 10)
    assert (again.probed.reused, more.probed.reused) == (20, 20) and again.probed.usd == 0
    assert first.probed.outcomes == {"ok": 20} and first.probed.usd
    assert (ledger["requests_sent"], ledger["answers_reused"]) == (170, 30)
    assert ledger["spent"]["requests"] == 200  # the probes were on the run's account


def test_what_it_measures_holds_what_the_run_then_takes(tmp_path: Path) -> None:
    with word_server() as server:
        config = job(tmp_path, server)
        found = probe(tmp_path, config, 40)
        ledger = generate_rows(tmp_path, config)
    cost, spent = place(found).cost, ledger["tokens"]
    assert found.probed and cost.requests.mid == 160
    for span, total in (
        (cost.prompt_tokens, spent["prompt"]),
        (cost.answer_tokens, spent["completion"]),
    ):
        left = total - sum_of_probe(config, total)
        assert 0.8 * left < span.low <= span.mid <= span.high < 1.2 * left
        assert span.low < span.high
    assert cost.usd is not None and cost.usd.low < ledger["usd"] - found.probed.usd < cost.usd.high
    basis = place(found).basis
    assert "as the teacher counts them; measured on 40 rows" in basis["prompt"]
    assert "an answer +/- " in basis["answer"] and "tokens/s +/- " in basis["time"]


def sum_of_probe(config: Config, total: float) -> float:
    """Of 200 rows that are alike 40 have about a fifth."""
    return total * 40 / 200


def test_the_minutes_come_from_the_latency(tmp_path: Path) -> None:
    with word_server(latency_s=0.2) as server:
        config = job(tmp_path, server, teacher={"concurrency": 4})
        minutes = place(probe(tmp_path, config, 16)).cost.minutes
    assert minutes is not None and 0.9 < minutes.mid / (184 * 0.2 / 4 / 60) < 1.6


def test_the_server_s_quota_makes_it_longer(tmp_path: Path) -> None:
    def limited(prompt: str, count: int) -> web.Response:
        headers = {"x-ratelimit-limit-requests": "6000", "x-ratelimit-remaining-requests": "99"}
        headers |= {"x-ratelimit-limit-tokens": "60", "x-ratelimit-remaining-tokens": "99999"}
        return web.json_response(completion("x"), headers=headers)

    with TeacherServer(limited) as server:
        found = place(probe(tmp_path, job(tmp_path, server), 1))
    assert found.cost.minutes is not None
    tokens = found.cost.prompt_tokens.mid + found.cost.answer_tokens.mid
    assert found.cost.minutes.mid == pytest.approx(tokens / 60)
    assert "rate limits" in found.basis["time"]


def test_truncated_answers_are_measured_with_their_second_try(tmp_path: Path) -> None:
    def cut(prompt: str, count: int) -> web.Response:
        body = completion("long", finish_reason="length" if count == 1 else "stop")
        body["usage"] = {"prompt_tokens": 10, "completion_tokens": 8 if count == 1 else 12}
        return web.json_response(body)

    with TeacherServer(cut) as server:
        config = job(tmp_path, server, teacher={"max_tokens": 8})
        found = probe(tmp_path, config, 5)
    assert found.probed and found.probed.sent == 10
    cost = place(found).cost
    assert cost.requests.mid == pytest.approx(2 * 195)
    assert cost.answer_tokens.mid == pytest.approx(20 * 195)


def test_failures_and_refusals_are_told(tmp_path: Path) -> None:
    def refuse(prompt: str, count: int) -> web.Response | None:
        if prompt.startswith("1"):
            return web.json_response({"error": {"message": "too long"}}, status=400)
        return None

    with TeacherServer(refuse) as server:
        found = probe(tmp_path, job(tmp_path, server), 50)
    assert found.probed and set(found.probed.outcomes) == {"ok", "failed"}


def test_an_unknown_price_stays_unknown(tmp_path: Path) -> None:
    with word_server() as server:
        config = job(tmp_path, server, teacher={"usd_per_million_input": None})
        found = probe(tmp_path, config, 2)
    assert found.probed and found.probed.usd is None and found.cost.usd is None
    assert any("2 requests sent at an unknown price" in line for line in found.lines())


def test_a_cap_of_the_budget_stops_the_probe_and_counts_it(tmp_path: Path) -> None:
    with word_server() as server:
        config = job(tmp_path, server, budget={"requests": 5})
        with pytest.raises(BudgetReached):
            probe(tmp_path, config, 6)
        assert sum(server.asked.values()) <= 5
        found = of_job(tmp_path, config, folder=tmp_path / "run")
    assert found.caps[0].spent == sum(server.asked.values()) > 0
    assert "not enough" in found.caps[0].verdict


def test_a_dead_server_a_busy_folder_and_a_busy_store_are_told(tmp_path: Path) -> None:
    with word_server() as server:
        config = job(tmp_path, server)
        with exclusive(tmp_path / "run", "run folder"), pytest.raises(RunError):
            probe(tmp_path, config, 1)
        with exclusive(tmp_path / "answers", "answer store"), pytest.raises(RunError):
            probe(tmp_path, config, 1)
        assert not server.asked
    with pytest.raises(TeacherUnreachable):
        probe(tmp_path, config, 1)
    assert of_job(tmp_path, config).cost.requests.mid == 200  # without a probe nobody is asked


def test_few_rows_without_a_run_folder(tmp_path: Path) -> None:
    with word_server() as server:
        found = of_job(tmp_path, job(tmp_path, server, rows=worded(3)), probe=10)
    assert found.probed and found.probed.rows == 3 and found.cost.requests.mid == 0
    assert not (tmp_path / "run").exists() and Run(tmp_path).manifest["stages"] == {}


def test_a_model_on_this_machine_is_measured_and_nothing_is_kept(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "tiny")
    teacher = {"model": "tiny", "max_tokens": 4, "batch_size": 4}
    config = write_job(tmp_path, teacher, prompts(40, 10))
    found = of_job(tmp_path, config, probe=8)
    assert found.probed and found.probed.sent >= 8 and not found.probed.kept
    assert not (tmp_path / "answers").exists() and place(found).stored == 0
    assert place(found).cost.minutes is not None and found.cost.usd is not None
    # Ten characters and the template's three tokens a row, as its own tokenizer counts them.
    assert place(found).cost.prompt_tokens.mid >= 40 * 13


ENSEMBLES = {
    "fallback": {"strategy": "fallback"},
    "route": {"strategy": "route", "draws": 2},
    "judge": {"strategy": "judge", "judge": {"model": "large", "max_tokens": 9}},
    "best": {"strategy": "best"},
}


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
def test_each_place_of_an_ensemble_is_measured(tmp_path: Path, ensemble: dict[str, Any]) -> None:
    """The first teacher fails for every other row."""

    def answer(body: dict[str, Any]) -> web.Response:
        number = body["messages"][-1]["content"].split()[0]
        if body["model"] == "tiny" and number.isdigit() and int(number) % 2:
            return web.json_response(completion("", message={"refusal": "no"}))
        reply = completion(f"Answer: {body['model']}")
        reply["usage"] = {"prompt_tokens": 10, "completion_tokens": 5 if number.isdigit() else 2}
        return web.json_response(reply)

    with TeacherServer() as server:
        server.fault = lambda prompt, count: answer(server.bodies[-1])
        warm = {"base_url": server.url, "temperature": 0.5} | PRICES
        ensemble = ensemble | {"others": [{"model": "large"} | warm]}
        if "judge" in ensemble:
            ensemble["judge"] |= warm
        write_rows(tmp_path / "v.jsonl", [r | {"completion": "x"} for r in prompts(4)])
        data = {"train": "p.jsonl", "validation": "v.jsonl"}
        config = job(tmp_path, server, teacher=warm, ensemble=ensemble, data=data)
        found = probe(tmp_path, config, 100)
    other = place(found, "ensemble.others.0")
    assert "measured on 100 rows" in other.basis["requests"] and found.probed
    assert found.probed.sent == sum(server.asked.values())
    made = {key: sum(b["model"] == key for b in server.bodies) for key in ("tiny", "large")}
    if ensemble["strategy"] in ("fallback", "route"):
        share = other.cost.requests.mid / (other.planned - 100)
        assert 0.3 < share < 0.7 and made["large"] == pytest.approx(100 * share)
    elif ensemble["strategy"] == "best":
        assert made == {"tiny": 100, "large": 100}
    else:
        judged = place(found, "ensemble.judge")
        assert judged.cost.answer_tokens.mid == pytest.approx(2 * judged.cost.requests.mid)


def test_a_fallback_that_was_never_needed_is_at_most_seldom(tmp_path: Path) -> None:
    with word_server() as server:
        other = {"model": "large", "base_url": server.url} | PRICES
        config = job(tmp_path, server, ensemble={"strategy": "fallback", "others": [other]})
        found = place(probe(tmp_path, config, 30), "ensemble.others.0")
    assert (found.cost.requests.mid, found.cost.requests.low) == (0, 0)
    assert 0 < found.cost.requests.high < 200 * 0.1 * 1.2
    assert "never needed" in found.basis["requests"]


def test_conversations_are_measured_whole(tmp_path: Path) -> None:
    with word_server() as server:
        user = {"model": "large", "base_url": server.url} | PRICES
        settings = {"conversation": "simulate", "turns": 2, "user_model": user, "min_ok": 0}
        found = probe(tmp_path, job(tmp_path, server, generate=settings), 10)
    assert found.probed and found.probed.sent == 30
    assert place(found).cost.requests.mid == pytest.approx(2 * 190)
    assert place(found, "generate.user_model").cost.requests.mid == pytest.approx(190)


def test_a_job_that_no_run_would_take_is_refused(tmp_path: Path) -> None:
    with word_server() as server:
        with pytest.raises(ConfigError, match=r"generate\.samples"):
            probe(tmp_path, job(tmp_path, server, generate={"samples": 2}), 1)
        assert not server.asked
