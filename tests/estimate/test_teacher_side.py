"""Requests, tokens, dollars and minutes by hand, for every way to ask teachers."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError
from mwalimu.estimate.spans import Span
from tests.estimate.jobs import PRICES, SERVED, of_job, place, prompts, write_job, write_rows

DEAR = {"usd_per_million_input": 20.0, "usd_per_million_output": 80.0}
ONCE = {"generate": {"longer_once": 1.0}}


def test_tokens_and_dollars_by_hand(tmp_path: Path) -> None:
    # 100 prompts of 40 bytes / 4 + 8 tokens around the messages; answers at most 10 tokens each.
    found = of_job(tmp_path, write_job(tmp_path, SERVED | PRICES, prompts(100), **ONCE))
    cost = place(found).cost
    assert cost.requests == Span(100, 100, 100)
    assert cost.prompt_tokens.mid == pytest.approx(1800)
    assert (cost.prompt_tokens.low, cost.prompt_tokens.high) == pytest.approx((1440, 2400))
    assert cost.answer_tokens == Span(1000, 100, 1000)
    assert cost.usd is not None and cost.usd.mid == pytest.approx((1800 * 2 + 1000 * 8) / 1e6)
    assert cost.usd.high == pytest.approx((2400 * 2 + 1000 * 8) / 1e6)
    # 100 x (0.5 s + 10 tokens / 50 a second) at 16 at once.
    assert cost.minutes is not None and cost.minutes.mid == pytest.approx(100 * 0.7 / 16 / 60)
    assert found.cost == cost
    assert found.training.tokens.mid == pytest.approx((1800 + 1000) * 3)


def test_a_truncated_answer_may_be_asked_again(tmp_path: Path) -> None:
    cost = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(100))).cost
    assert cost.requests.mid == 100 and cost.requests.high == pytest.approx(110)
    assert cost.answer_tokens.high == pytest.approx(100 * 10 + 10 * 20)


def test_gold_answers_replace_the_upper_bound(tmp_path: Path) -> None:
    rows = [row | {"completion": "y" * 8} for row in prompts(10)]
    found = place(of_job(tmp_path, write_job(tmp_path, SERVED, rows, **ONCE)))
    assert found.cost.answer_tokens.mid == pytest.approx(20)
    assert found.cost.answer_tokens.low == pytest.approx(20 * 0.5 * 0.8)
    assert "as long as the gold answers, x0.5 to x2" in found.basis["answer"]
    reasoned = write_job(tmp_path, SERVED, rows, generate={"chain_of_thought": True})
    assert "the reasoning is not known" in place(of_job(tmp_path, reasoned)).basis["answer"]
    long = [row | {"completion": "y" * 400} for row in prompts(10)]
    capped = of_job(tmp_path, write_job(tmp_path, SERVED, long, **ONCE)).cost.answer_tokens
    assert capped.mid == capped.high == 100


def test_the_instruction_and_the_samples_are_paid(tmp_path: Path) -> None:
    plain = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(10), **ONCE)).cost
    settings = {"chain_of_thought": True, "samples": 3, "longer_once": 1.0}
    warm = SERVED | {"temperature": 1.0}
    cost = of_job(tmp_path, write_job(tmp_path, warm, prompts(10), generate=settings)).cost
    assert cost.requests.mid == 30
    assert cost.prompt_tokens.mid > 3 * plain.prompt_tokens.mid + 30 * 30


def test_an_unknown_price_is_unknown_not_zero(tmp_path: Path) -> None:
    found = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(1)))
    assert found.cost.usd is None and found.to_json()["total"]["usd"] is None
    assert any("unknown: set teacher.usd_per_million" in line for line in found.lines())


@pytest.mark.parametrize("kind", ["local", "vllm", "fake"])
def test_teachers_on_this_machine_cost_nothing(tmp_path: Path, kind: str) -> None:
    found = of_job(tmp_path, write_job(tmp_path, {"model": "m", "kind": kind}, prompts(3)))
    assert found.cost.usd == Span(0, 0, 0)
    assert (found.cost.minutes is None) == (kind != "fake")
    assert not (tmp_path / "answers").exists()


def ensemble_job(folder: Path, strategy: str, rows: int = 100, **more: Any) -> Any:
    others = [SERVED | DEAR | {"model": "dear"}]
    settings = {"strategy": strategy, "others": others} | more
    teacher = SERVED | PRICES | {"temperature": 0.7}
    return write_job(folder, teacher, prompts(rows), ensemble=settings, task="qa", **ONCE)


@pytest.mark.parametrize(
    ("strategy", "more", "first", "second"),
    [
        ("vote", {}, Span(100, 100, 100), Span(100, 100, 100)),
        ("fallback", {}, Span(100, 100, 100), Span(0, 0, 100)),
        ("route", {"draws": 2}, Span(200, 200, 200), Span(50, 0, 100)),
        ("mix", {"weights": [1, 0]}, Span(100, 100, 100), Span(0, 0, 0)),
    ],
)
def test_who_is_asked_how_often(
    tmp_path: Path, strategy: str, more: dict[str, Any], first: Span, second: Span
) -> None:
    found = of_job(tmp_path, ensemble_job(tmp_path, strategy, **more))
    assert place(found).cost.requests == first
    assert place(found, "ensemble.others.0").cost.requests == second
    assert found.cost.requests == first + second
    usd, own = found.cost.usd, place(found).cost.usd
    assert (
        usd is not None and own is not None and usd.low == own.low * (1 if not second.low else 11)
    )


def test_mix_shares_the_rows_exactly(tmp_path: Path) -> None:
    found = of_job(tmp_path, ensemble_job(tmp_path, "mix", weights=[3, 1]))
    first, second = place(found).planned, place(found, "ensemble.others.0").planned
    assert first + second == 100 and 60 < first < 90


def test_a_judge_reads_all_answers(tmp_path: Path) -> None:
    judge = SERVED | DEAR | {"model": "judge", "max_tokens": 500}
    found = of_job(tmp_path, ensemble_job(tmp_path, "judge", judge=judge))
    cost = place(found, "ensemble.judge").cost
    assert cost.requests == Span(100, 0, 100) and cost.answer_tokens.mid == 100 * 100
    assert cost.prompt_tokens.mid > place(found).cost.prompt_tokens.mid + 100 * (2 * 10 + 100)


def test_the_best_teacher_is_tried_and_then_one_of_them(tmp_path: Path) -> None:
    write_rows(tmp_path / "v.jsonl", [{"prompt": f"v{i}", "completion": "1"} for i in range(20)])
    config = ensemble_job(tmp_path, "best", rows=80)
    data = config.data.model_copy(update={"validation": tmp_path / "v.jsonl"})
    found = of_job(tmp_path, config.model_copy(update={"data": data}))
    cheap, dear = place(found).cost.usd, place(found, "ensemble.others.0").cost.usd
    assert cheap and dear and found.cost.usd and found.cost.requests.mid == 2 * 20 + 80
    assert found.cost.usd.low == pytest.approx(0.2 * (cheap.low + dear.low) + 0.8 * cheap.low)
    assert found.cost.usd.high == pytest.approx(0.2 * (cheap.high + dear.high) + 0.8 * dear.high)


def chat(turns: int, row: int) -> dict[str, Any]:
    said = [("user", f"u{row}" * 20), ("assistant", "a" * 40)] * turns
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def test_relabelling_asks_for_every_assistant_turn(tmp_path: Path) -> None:
    rows = [chat(3, row) for row in range(10)]
    settings = {"conversation": "relabel", "longer_once": 1.0}
    found = of_job(tmp_path, write_job(tmp_path, SERVED, rows, generate=settings))
    assert found.cost.requests.mid == 30 and place(found).basis["answer"].startswith("as long as")
    # Prompts of 40, 120 and 200 bytes, in 1, 3 and 5 messages.
    assert found.cost.prompt_tokens.mid == pytest.approx(10 * (360 / 4 + 4 * (2 + 4 + 6)))
    with pytest.raises(ConfigError, match="does not suit task qa"):
        of_job(tmp_path, write_job(tmp_path, SERVED, rows, generate=settings, task="qa"))


def test_a_simulation_is_a_range_of_turns_and_has_a_user(tmp_path: Path) -> None:
    user = SERVED | {"model": "user", "max_tokens": 100}
    settings = {"conversation": "simulate", "turns": 3, "user_model": user, "longer_once": 1.0}
    found = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(10), generate=settings))
    teacher, user_cost = place(found).cost, place(found, "generate.user_model").cost
    assert teacher.requests == Span(30, 10, 30) and user_cost.requests == Span(20, 0, 20)
    # Three prompts of 18 tokens; an answer (10) and a user's turn (10 + 4) stand in 2 + 1 of them.
    assert teacher.prompt_tokens.mid == pytest.approx(10 * (3 * 18 + 3 * (10 + 14)))
    assert user_cost.prompt_tokens.mid > 20 * 100


def test_the_evaluation_s_teacher_is_paid_too(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.jsonl", [r | {"completion": "1"} for r in prompts(5, 50)])
    data = {"train": "p.jsonl", "test": "t.jsonl"}
    config = write_job(tmp_path, SERVED | PRICES, prompts(10), data=data, **ONCE)
    found = of_job(tmp_path, config)
    assert place(found, stage="evaluate").cost.requests.mid == 5
    assert found.cost.requests.mid == 15 and found.rows == {"train": 10, "test": 5}
    off = config.evaluate.model_copy(update={"arms": ("distilled",)})
    assert of_job(tmp_path, config.model_copy(update={"evaluate": off})).cost.requests.mid == 10


def test_batches_cost_their_share_and_take_a_day(tmp_path: Path) -> None:
    online = SERVED | PRICES
    batch = online | {"mode": "batch", "batch_factor": 0.5}
    whole = of_job(tmp_path, write_job(tmp_path, online, prompts(10))).cost.usd
    found = of_job(tmp_path, write_job(tmp_path, batch, prompts(10)))
    assert whole and found.cost.usd and found.cost.usd.mid == pytest.approx(whole.mid / 2, abs=1e-8)
    assert found.cost.minutes is None and any("24 hours" in line for line in found.lines())
    unknown = of_job(tmp_path, write_job(tmp_path, batch | {"batch_factor": None}, prompts(10)))
    assert unknown.cost.usd and unknown.cost.usd.mid == pytest.approx(whole.mid)
    write_rows(tmp_path / "t.jsonl", [row | {"completion": "1"} for row in prompts(10)])
    data = {"train": "p.jsonl", "test": "t.jsonl"}
    both = of_job(tmp_path, write_job(tmp_path, batch, prompts(10), data=data))
    evaluated = place(both, stage="evaluate").cost  # online, at the full price
    assert evaluated.usd == whole and evaluated.minutes is not None
