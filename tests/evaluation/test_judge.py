import re

import pytest

from mwalimu.data.record import Message, Record
from mwalimu.evaluation.judge import judge, read_verdict

RECORDS = [
    Record(f"r{i}", "generic", (Message("user", f"question {i}"),), "gold") for i in range(4)
]
OURS = ["good", "good", "bad", "bad"]
THEIRS = ["bad", "bad", "good", "bad"]


def parts(record: Record) -> tuple[str, str]:
    body = record.messages[-1].content
    a, b = (re.search(rf"<<<{name}\n(.*)\n{name}>>>", body, re.DOTALL) for name in "AB")
    assert a and b
    return a[1], b[1]


def fair(records: list[Record]) -> list[str]:
    verdicts = []
    for record in records:
        a, b = parts(record)
        verdicts.append("Verdict: " + ("tie" if a == b else "A" if a == "good" else "B"))
    return verdicts


def run(ask: object, records: list[Record] = RECORDS) -> dict[str, object]:
    n = len(records)
    rubric = "truth, tone"
    return judge(ask, records, OURS[:n], THEIRS[:n], rubric=rubric, draws=200, seed=0)  # type: ignore[arg-type]


def test_a_fair_judge_is_consistent() -> None:
    found = run(fair)
    assert found["win_rate"]["mean"] == (1 + 1 + 0 + 0.5) / 4  # type: ignore[index]
    assert (found["rows"], found["consistency"], found["kappa"], found["unread"]) == (4, 1, 1, 0)


def test_a_judge_that_likes_the_first_place_gives_ties() -> None:
    found = run(lambda records: ["Verdict: A"] * len(records))
    assert found["win_rate"]["mean"] == 0.5 and found["consistency"] == 0.0  # type: ignore[index]
    assert found["kappa"] == 1.0  # it repeats itself, whatever that is worth


def test_each_row_is_asked_in_both_orders_with_the_rubric_turned_round() -> None:
    seen: list[Record] = []

    def ask(records: list[Record]) -> list[str]:
        seen.extend(records)
        return fair(records)

    run(ask, RECORDS[:1])
    assert [record.id for record in seen] == ["r0/ab", "r0/ba", "r0/ab-again", "r0/ba-again"]
    assert [parts(record) for record in seen] == [("good", "bad"), ("bad", "good")] * 2
    rubrics = [record.messages[0].content for record in seen]
    assert ["truth, tone" in text for text in rubrics] == [True, True, False, False]
    assert ["tone, truth" in text for text in rubrics] == [False, False, True, True]
    # No two requests are the same, or the answer store would answer the repeat by itself.
    assert len({tuple(record.messages) for record in seen}) == 4


def test_verdicts_that_cannot_be_read_are_counted() -> None:
    found = run(lambda records: [""] * len(records))
    assert (found["rows"], found["win_rate"], found["consistency"]) == (0, None, None)
    assert found["kappa"] is None and found["unread"] == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Verdict: A", "ours"),
        ("B is longer.\n**Verdict: B**", "theirs"),
        ("verdict = tie.", "tie"),
        ("Verdict: A at first; no. Verdict: B", "theirs"),
        ("Verdict: Apple", "none"),
        ("A", "none"),
    ],
)
def test_reading_a_verdict(text: str, expected: str) -> None:
    assert read_verdict(text, ours_is="A") == expected
