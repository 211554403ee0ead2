"""One pass over the rows: duplicates, samples, and what the answer store has already."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data import seen
from mwalimu.data.record import Message, Record
from mwalimu.estimate.survey import distinct
from tests.estimate.jobs import (
    PRICES,
    SERVED,
    generate_rows,
    of_job,
    place,
    prompts,
    write_job,
    write_rows,
)
from tests.held import traced
from tests.synthesis.teacher_server import TeacherServer


def record(number: int) -> Record:
    return Record(f"r{number}", "generic", (Message("user", f"prompt {number}"),))


def test_repetitions_are_told_over_all_splits() -> None:
    splits = {"train": [record(1), record(2), record(1)], "validation": [record(2), record(3)]}
    assert [repeated for _, _, repeated in distinct(splits)] == [False, False, True, True, False]


def test_repeated_prompts_cost_nothing_and_are_not_learned(tmp_path: Path) -> None:
    config = write_job(tmp_path, SERVED, [*prompts(3), *prompts(2)])
    found = of_job(tmp_path, config)
    assert found.rows == {"train": 5} and found.repeated == 2 and place(found).planned == 3
    kept = of_job(
        tmp_path,
        config.model_copy(
            update={"generate": config.generate.model_copy(update={"deduplicate": False})}
        ),
    )
    assert place(kept).planned == 3
    assert kept.training.tokens.mid == pytest.approx(found.training.tokens.mid * 5 / 3)


def test_splits_and_max_rows(tmp_path: Path) -> None:
    rows = prompts(9)
    write_rows(tmp_path / "v.jsonl", rows[6:])
    data = {"train": "p.jsonl", "validation": "v.jsonl", "max_rows": 5}
    found = of_job(tmp_path, write_job(tmp_path, SERVED, rows[:6], data=data))
    assert found.rows == {"train": 5, "validation": 3} and place(found).planned == 8


def test_memory_does_not_grow_with_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "RECENT", 500)  # keys that are held, of any number of rows
    peaks = []
    for count in (2_000, 8_000):
        config = write_job(tmp_path, SERVED, prompts(count, 1000))
        peaks.append(traced(partial(of_job, tmp_path, config))[1])
    assert peaks[1] < peaks[0] + (1 << 18)


SCHEMA = '{"type": "object"}'
ALIKE: dict[str, dict[str, Any]] = {
    "plain": {},
    "reasoned": {"generate": {"chain_of_thought": True}},
    "sampled": {"generate": {"samples": 3}},
    "held to a schema": {"generate": {"json_schema": "schema.json"}},
    "seeded": {"seed": 7},
    "relabelled": {"generate": {"conversation": "relabel"}},
    "simulated": {"generate": {"conversation": "simulate", "turns": 2}},
}


@pytest.mark.parametrize("changes", ALIKE.values(), ids=ALIKE)
def test_what_stage_1_stored_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(SCHEMA, encoding="utf-8")
    chat = [("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    rows = [*prompts(4), {"messages": [{"role": r, "content": c} for r, c in chat]}]
    with TeacherServer() as server:
        teacher = {"model": "tiny", "base_url": server.url, "temperature": 0.5, "stop": ["#"]}
        teacher |= PRICES
        generate = {"min_ok": 0.0} | changes.get("generate", {})
        config = write_job(tmp_path, teacher, rows, **changes | {"generate": generate})
        before = place(of_job(tmp_path, config))
        generate_rows(tmp_path, config)
        after = place(of_job(tmp_path, config))
    assert before.stored == 0 < before.planned == after.stored == after.planned
    assert after.cost.requests.mid == after.cost.answer_tokens.mid == 0
    assert after.cost.usd is not None and after.cost.usd.mid == 0


ENSEMBLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "vote": ({"strategy": "vote"}, ["teacher", "ensemble.others.0"]),
    "judge": (
        {"strategy": "judge", "judge": {"model": "large", "max_tokens": 9}},
        ["teacher", "ensemble.others.0"],
    ),
    "mix": ({"strategy": "mix", "weights": [3, 1]}, ["teacher", "ensemble.others.0"]),
    "fallback": ({"strategy": "fallback"}, ["teacher"]),
    "route": ({"strategy": "route", "draws": 3}, ["teacher"]),
}


@pytest.mark.parametrize(("ensemble", "asked"), ENSEMBLES.values(), ids=ENSEMBLES)
def test_every_member_s_stored_answers_are_found(
    tmp_path: Path, ensemble: dict[str, Any], asked: list[str]
) -> None:
    with TeacherServer() as server:
        here = {"base_url": server.url, "temperature": 0.5}
        ensemble = ensemble | {"others": [{"model": "large"} | here]}
        if "judge" in ensemble:
            ensemble["judge"] = ensemble["judge"] | here
        settings = {"min_ok": 0.0, "samples": 2}
        config = write_job(
            tmp_path, {"model": "tiny"} | here, prompts(12), ensemble=ensemble, generate=settings
        )
        before = of_job(tmp_path, config)
        ledger = generate_rows(tmp_path, config)
        after = of_job(tmp_path, config)
    sent = 0
    for key in ("teacher", "ensemble.others.0"):
        expected = place(before, key).planned if key in asked else 0
        assert place(after, key).stored == expected
        assert place(before, key).planned == place(after, key).planned > 0
        sent += expected
    if ensemble["strategy"] != "judge":  # whose two answers are alike need no judge
        assert ledger["requests_sent"] == sent
