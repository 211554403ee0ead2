"""The generated rows: repeatable, right by an independent reading, and held out by composition."""

import re
from typing import Any

import pytest

from mwalimu.data.readers import to_record
from mwalimu.quickstart.records import generate_exercises, generate_pages
from mwalimu.quickstart.rows import generate_rows
from mwalimu.quickstart.world import ADJECTIVES, NOUNS, RETURN_DAYS

SPLITS = ("teacher", "train", "labelled", "validation", "test")
PRODUCT = re.compile(rf"\b({'|'.join(ADJECTIVES)}) ({'|'.join(NOUNS)})s?\b")


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    return {split: generate_rows(split, 2000) for split in SPLITS}  # type: ignore[arg-type]


def prompt(row: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in row["messages"][:-1])


def gold(row: dict[str, Any]) -> str:
    return str(row["messages"][-1]["content"])


def products(rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    texts = (message["content"] for row in rows for message in row["messages"])
    return {found for text in texts for found in PRODUCT.findall(text)}


def sums(rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The wording of the question without names and products: kind and numbers."""
    asked = (prompt(row) for row in rows if row["task"] == "math")
    return {(text.split()[1], *re.findall(r"\d+", text)) for text in asked}


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    assert generate_rows("train", 50, 3) == generate_rows("train", 50, 3)
    assert generate_rows("train", 50, 3) != generate_rows("train", 50, 4)


def test_every_row_is_valid_input_and_all_five_tasks_are_there(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    for row in rows["train"]:
        assert to_record(row, task="generic", default_id="x").reference == gold(row)
    tasks = {row["task"] for row in rows["test"]}
    assert tasks == {"nli", "conversation", "qa", "math", "summarization"}


def test_a_conversation_has_at_least_two_exchanges(rows: dict[str, list[dict[str, Any]]]) -> None:
    turns = [len(row["messages"]) for row in rows["test"] if row["task"] == "conversation"]
    assert min(turns) == 4 and max(turns) == 6


@pytest.mark.parametrize("seen", ["teacher", "train", "labelled"])
def test_held_out_rows_name_products_and_sums_that_were_never_seen(
    rows: dict[str, list[dict[str, Any]]], seen: str
) -> None:
    for held_out in ("validation", "test"):
        assert not products(rows[seen]) & products(rows[held_out])
        assert not sums(rows[seen]) & sums(rows[held_out])
        assert not set(map(prompt, rows[seen])) & set(map(prompt, rows[held_out]))
    assert not products(rows["validation"]) & products(rows["test"])


def test_no_prompt_stands_twice_in_a_split(rows: dict[str, list[dict[str, Any]]]) -> None:
    for split in SPLITS:
        assert len(set(map(prompt, rows[split]))) == len(rows[split])


def test_every_step_of_a_sum_holds_and_ends_in_the_answer(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    step = re.compile(r"(\d+) ([x+-]) (\d+) = (\d+)\.")
    for row in (row for row in rows["test"] if row["task"] == "math"):
        steps = step.findall(gold(row))
        for left, sign, right, result in steps:
            a, b = int(left), int(right)
            assert int(result) == {"x": a * b, "+": a + b, "-": a - b}[sign]
        assert gold(row).endswith(f"Answer: {steps[-1][3]}")


def test_a_decision_follows_the_policy_of_the_product(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    for row in (row for row in rows["test"] if row["task"] == "conversation"):
        first, _, details, decision = (message["content"] for message in row["messages"][:4])
        window = RETURN_DAYS[PRODUCT.findall(first)[0][1]]
        age = int(re.findall(r"(\d+) days", details)[0])
        within = f"within {window} days" if age <= window else f"past {window} days"
        assert within in decision


def test_a_label_agrees_with_what_the_ticket_says(rows: dict[str, list[dict[str, Any]]]) -> None:
    labels = set()
    for row in (row for row in rows["test"] if row["task"] == "nli"):
        story, _, claim = prompt(row).removesuffix(" Entailed?").partition(" Claim: ")
        labels.add(gold(row))
        if paid := re.fullmatch(r"The \w+ was paid by (\w+)\.", claim):
            told = re.search(r"(?:paid|payment was) by (\w+)", story)
            expected = "neutral" if told is None else told[1] == paid[1]
            named = {True: "entailment", False: "contradiction"}
            assert gold(row) == (expected if told is None else named[bool(expected)])
    assert labels == {"entailment", "neutral", "contradiction"}


def test_the_base_models_pages_tell_no_policy_and_no_held_out_product(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    pages = generate_pages(2000) + generate_exercises(2000)
    assert not products(pages) & (products(rows["test"]) | products(rows["validation"]))
    assert not any("days" in gold(page) or "?" in gold(page) for page in pages)
