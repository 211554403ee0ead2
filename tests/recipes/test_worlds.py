"""The generated rows: the same bytes, sides apart, and answers right by the worlds' rules."""

import json
import random
from collections import Counter

import pytest
from recipes.make_data import FILES, RECIPES, draw_rows, files, load_world, side_of

from mwalimu.config import load_config
from mwalimu.data.privacy import find
from mwalimu.data.schema import compile_schema, read_schema
from mwalimu.evaluation.tasks.own import load_tasks
from tests.recipes.folders import WORLDS

MOST_BYTES = 150 * 1024


def rows(name: str, split: str) -> list[dict[str, str]]:
    text = (RECIPES / name / FILES[split]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", WORLDS)
def test_the_generator_makes_these_bytes(name: str) -> None:
    for path, text in files(load_world(RECIPES / name)).items():
        there = RECIPES / name / path
        assert there.read_text(encoding="utf-8") == text, path
        assert there.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", WORLDS)
def test_no_test_row_is_a_lesson_or_a_prompt(name: str) -> None:
    """Neither its words nor its core; the cores are many, so that this says something."""
    world = load_world(RECIPES / name)
    asked = {row["prompt"] for row in rows(name, "test")}
    assert len(asked) == world.SIZES["test"]
    others = [*rows(name, "train"), *rows(name, "validation"), *rows(name, "labelled")]
    others += draw_rows(world, "teacher", 1000)
    assert not asked & {row["prompt"] for row in others}
    cores = cores_of(name)
    assert len({cores[row["prompt"]] for row in rows(name, "test")}) >= 40
    assert {side_of(cores[row["prompt"]]) for row in rows(name, "test")} == {"test"}
    assert {side_of(cores[row["prompt"]]) for row in rows(name, "train")} == {"train"}


def cores_of(name: str) -> dict[str, str]:
    """Question -> its core, of whatever the files' own draws met; each has one core, one answer."""
    world = load_world(RECIPES / name)
    found: dict[str, tuple[str, str]] = {}
    for side in ("test", "train"):
        dice, asked = random.Random(f"{side} 0"), {row["prompt"] for row in rows(name, side)}
        while asked - found.keys():
            core, question, answer = world.draw(dice)[:3]
            assert found.setdefault(question, (core, answer)) == (core, answer)
    return {question: core for question, (core, _) in found.items()}


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "translation"])
def test_every_answer_is_one_that_the_job_accepts(name: str) -> None:
    config = load_config(RECIPES / name / "distill.yaml")
    answers = [row["completion"] for split in ("test", "labelled") for row in rows(name, split)]
    if config.task == "classification":
        assert set(answers) == set(config.curate.label.known)
        assert max(Counter(answers).values()) <= 0.4 * len(answers)
        return
    assert config.generate.json_schema is not None
    assert config.curate.json_schema == config.generate.json_schema
    problem = compile_schema(read_schema(config.generate.json_schema), where="schema")
    assert [problem(answer) for answer in answers] == [""] * len(answers)
    assert problem(answers[0].replace('"level"', '"height"'))


def test_a_risk_note_is_graded_by_risk_and_level() -> None:
    score = load_tasks(RECIPES / "financial-risk" / "grades.py")["risk_note"].grader.score
    gold = {"risk": "debt", "level": "high", "reason": "Debt is out of proportion."}

    def grade(**other: object) -> float:
        return score(json.dumps(gold | other), json.dumps(gold))

    assert grade() == grade(reason="It owes more than it sells.") == 1
    assert grade(level="low") == grade(risk="currency") == grade(reason=" ") == 0
    assert score("debt, high", json.dumps(gold)) == 0


def test_a_note_has_the_level_of_its_figure() -> None:
    risks = load_world(RECIPES / "financial-risk")
    levels = {
        ("liquidity", 60): 0, ("liquidity", 59): 1, ("liquidity", 29): 2,
        ("debt", 39): 0, ("debt", 40): 1, ("debt", 70): 2,
        ("customers", 29): 0, ("customers", 30): 1, ("customers", 50): 2,
        ("currency", 29): 0, ("currency", 30): 1, ("currency", 60): 2,
    }  # fmt: skip
    found = {(name, n): risks._step(risks.RISKS[name], n) for name, n in levels}
    assert found == levels


def test_the_triage_rule() -> None:
    rule = load_world(RECIPES / "medical-triage").level_of
    calm = {"lasting": False, "frail": False, "alarming": False}
    assert rule("a cough", "mild", **calm) == 0
    assert rule("a cough", "mild", **calm | {"lasting": True}) == 1
    assert rule("a cough", "getting worse", **calm) == 1
    assert rule("a headache", "getting worse", **calm) == 2
    assert rule("a headache", "quickly worse", **calm | {"frail": True}) == 2
    assert rule("a cough", "mild", **calm | {"alarming": True}) == 3


def test_triage_notes_hold_no_contact_data() -> None:
    folder = RECIPES / "medical-triage"
    for path in map(folder.joinpath, FILES.values()):
        text = path.read_text(encoding="utf-8")
        assert "[PHONE_1]" in text and "[EMAIL_1]" in text
        assert not find(text)
    assert find((folder / "raw_example.jsonl").read_text(encoding="utf-8"))


def test_a_sentence_has_one_translation_either_way() -> None:
    world, dice = load_world(RECIPES / "translation"), random.Random(0)
    into: dict[str, dict[str, str]] = {"to Swahili": {}, "to English": {}}
    for _ in range(20_000):
        _, asked, said, found = world.draw(dice)
        direction = found["direction"]
        assert into[direction].setdefault(asked, said) == said
    shared = into["to English"].keys() & set(into["to Swahili"].values())
    assert len(shared) > 100
    for swahili in shared:
        assert into["to Swahili"].get(into["to English"][swahili], swahili) == swahili


# Written by hand: subject, verb, tense, negated; then both languages.
CLAUSES = [
    (("I", "nunua", "present", True), "I am not buying", "sinunui"),
    (("the teacher", "nunua", "past", True), "the teacher did not buy", "mwalimu hakununua"),
    (("the children", "osha", "perfect", True), "the children have not washed",
     "watoto hawajaosha"),
    (("we", "beba", "future", False), "we will carry", "tutabeba"),
    (("you", "tuma", "future", True), "you will not send", "hutatuma"),
    (("my mother", "leta", "perfect", False), "my mother has brought", "mama yangu ameleta"),
    (("they", "poteza", "past", False), "they lost", "walipoteza"),
    (("the guests", "tafuta", "present", True), "the guests are not looking for",
     "wageni hawatafuti"),
]  # fmt: skip
# Noun, adjective, number, many; then both languages.
THINGS = [
    (("basket", "big", "two", True), "the two big baskets", "vikapu vikubwa viwili"),
    (("car", "new", "", False), "the new car", "gari jipya"),
    (("box", "heavy", "three", True), "the three heavy boxes", "masanduku mazito matatu"),
    (("loaf", "small", "", True), "the small loaves", "mikate midogo"),
    (("table", "new", "four", True), "the four new tables", "meza mpya nne"),
    (("cup", "", "", False), "the cup", "kikombe"),
]


@pytest.mark.parametrize(("parts", "english", "swahili"), CLAUSES)
def test_a_verb_agrees_with_its_subject(
    parts: tuple[str, str, str, bool], english: str, swahili: str
) -> None:
    world = load_world(RECIPES / "translation")
    subject = {one.english: one for one in world.SUBJECTS}[parts[0]]
    assert world.clause(subject, *parts[1:3], negated=parts[3]) == (english, swahili)


@pytest.mark.parametrize(("parts", "english", "swahili"), THINGS)
def test_adjective_and_number_agree_with_their_noun(
    parts: tuple[str, str, str, bool], english: str, swahili: str
) -> None:
    world = load_world(RECIPES / "translation")
    assert world.things(*parts[:3], many=parts[3]) == (english, swahili)
