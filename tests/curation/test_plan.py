"""What auto stands for, and what is told at once where a check lacks what it needs."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import CHECKS
from mwalimu.curation.checks.label import Seen
from mwalimu.curation.passes import survivors
from mwalimu.curation.plan import build_passes, chosen
from mwalimu.errors import ConfigError
from tests.curation.rows import config, row

FORM = ("special_tokens", "leaked", "refusal", "copied", "truncation")
VALUE = ("label", "number", "reference")
REASONED = ("special_tokens", "refusal", "truncation", "number")


@pytest.mark.parametrize(
    ("curate", "sections", "expected"),
    [
        ({}, {}, (*FORM, *VALUE)),
        ({"length": {"max_words": 9}}, {}, (*FORM, "length", *VALUE)),
        ({"language": {"expected": ["en"]}}, {}, (*FORM, *VALUE, "language")),
        ({"json_schema": "s.json"}, {}, (*FORM, *VALUE, "schema")),
        ({"consistency": {"min_agreement": 0.6}}, {}, (*FORM, *VALUE, "consistency")),
        ({"judge": {"teacher": {"model": "fake"}}}, {}, (*FORM, *VALUE, "judge")),
        (
            {},
            {"generate": {"rationale": "mix"}},
            ("special_tokens", "refusal", "truncation", "number"),
        ),
        ({"checks": ["number", "refusal"]}, {}, ("number", "refusal")),
        ({"checks": []}, {}, ()),
    ],
)
def test_which_checks_are_asked(
    tmp_path: Path, curate: Any, sections: Any, expected: tuple[str, ...]
) -> None:
    assert chosen(config(tmp_path, curate, **sections)) == expected


@pytest.mark.parametrize(
    ("curate", "sections", "problem"),
    [
        ({"checks": ["length"]}, {}, "curate.length: no limit is set"),
        ({"checks": ["schema"]}, {}, "curate.json_schema: check schema has no schema"),
        ({"json_schema": "none.json"}, {}, "none.json: cannot be read as JSON"),
        ({"checks": ["consistency"]}, {}, "set generate.samples"),
        ({"consistency": {"min_agreement": 0.6}}, {}, "set generate.samples"),
        ({"checks": ["judge"]}, {}, "curate.judge.teacher: check judge has no judge"),
        (
            {"checks": ["label"]},
            {"task": "classification"},
            "label.known: no label is known",
        ),
        ({"language": {"expected": ["xx"]}}, {}, "curate.language.expected: 'xx' is no language"),
    ],
)
def test_what_a_check_lacks_is_one_line(
    tmp_path: Path, curate: Any, sections: Any, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        build_passes(config(tmp_path, curate, **sections), (), None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("curate", "problem"),
    [
        ({"checks": ["lable"]}, "'lable' is no check; there are auto and special_tokens"),
        ({"checks": "all"}, "'all' is no check"),
        ({"checks": ["label", "label"]}, "label is named twice"),
        ({"length": {"min_words": 3, "max_words": 2}}, "min_words 3 is above max_words 2"),
        ({"refusal": {"extra": ["("]}}, "is no regular expression"),
        ({"judge": {"min_scores": 3}}, "did you mean 'min_score'"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, curate: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        config(tmp_path, curate)
    assert "\n" not in str(error.value)


def kept(tmp_path: Path, answer: str, gold: list[str], **curate: Any) -> bool:
    job = config(tmp_path, curate, task="classification")
    passes = build_passes(job, [Seen("classification", gold=label) for label in gold], None)
    rows = [row("a", answer, task="classification")]
    return bool(list(survivors(rows, passes, lambda *_: None)))


def test_few_gold_rows_forbid_no_label_unless_the_user_says_so(tmp_path: Path) -> None:
    assert kept(tmp_path, "delivery", ["refund", "repair"] * 10)
    assert not kept(tmp_path, "delivery", ["refund", "repair"] * 10, checks=["label"])
    assert not kept(tmp_path, "delivery", ["refund", "repair"] * 50)
    assert kept(tmp_path, "Repair.", ["refund", "repair"] * 50)
    assert not kept(tmp_path, "repair", ["repair"] * 200, label={"known": ["refund"]})


def test_saying_the_prompt_again_is_honest_in_a_generic_task_by_default(tmp_path: Path) -> None:
    text = "Correct this: they were all of them going to the shop in the town on Monday."

    def spared(**curate: Any) -> bool:
        passes = build_passes(config(tmp_path, curate), (), None)
        return bool(list(survivors([row("a", text, text)], passes, lambda *_: None)))

    assert spared()
    assert not spared(checks=["copied"])


def test_other_words_than_the_gold_ones_are_honest_in_qa_by_default(tmp_path: Path) -> None:
    rows = [row("a", "the UK", task="qa", reference="United Kingdom")]

    def spared(**curate: Any) -> bool:
        passes = build_passes(config(tmp_path, curate), (), None)
        return bool(list(survivors(rows, passes, lambda *_: None)))

    assert spared()
    assert not spared(checks=["reference"])


def test_every_check_can_be_built(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}", encoding="utf-8")
    curate = {"checks": CHECKS, "length": {"max_words": 9}, "json_schema": "s.json"}
    job = config(tmp_path, curate, generate={"samples": 3})
    assert [name for name, _ in build_passes(job, (), list)] == list(CHECKS)  # type: ignore[arg-type]
