"""The judge of stage curate, in the estimate: at most one request an answer."""

from pathlib import Path

from mwalimu.estimate.spans import Span
from tests.estimate.jobs import PRICES, SERVED, of_job, place, prompts, write_job

JUDGE = {"judge": {"teacher": SERVED | PRICES | {"model": "judge", "max_tokens": 200}}}


def test_every_answer_is_scored_at_most_once(tmp_path: Path) -> None:
    rows = prompts(50, length=400)
    teacher = SERVED | PRICES | {"temperature": 1.0}
    config = write_job(tmp_path, teacher, rows, curate=JUDGE, generate={"samples": 2})
    found = of_job(tmp_path, config)
    judged = place(found, "curate.judge.teacher", "curate")
    assert judged.cost.requests == Span(100, 0, 100)
    assert judged.cost.answer_tokens == Span(100 * 100, 0, 100 * 200)
    # It reads at least the prompts, and the rubric of more than a hundred tokens.
    asked = place(found).cost.prompt_tokens.mid
    assert judged.cost.prompt_tokens.mid > asked + 100 * 100
    assert judged.cost.usd is not None and place(found).cost.usd is not None
    assert found.cost.usd is not None
    assert found.cost.usd.mid == judged.cost.usd.mid + place(found).cost.usd.mid
    assert any("curate.judge.teacher in stage curate" in line for line in found.lines())
    assert [notice for notice in found.terms if notice.startswith("judge ")]


def test_without_a_judge_the_stage_costs_nothing(tmp_path: Path) -> None:
    unnamed = {"checks": ["refusal"]} | JUDGE
    for curate in ({}, unnamed):
        config = write_job(tmp_path, SERVED | PRICES, prompts(5), curate=curate)
        assert {one.stage for one in of_job(tmp_path, config).places} == {"generate"}
