"""Single checks on texts chosen by hand: what each names, and the honest text beside it."""

import re

import pytest

from mwalimu.config import CopiedConfig, LengthConfig
from mwalimu.curation.checks.copied import copied
from mwalimu.curation.checks.leaked import leaked
from mwalimu.curation.checks.length import length
from mwalimu.curation.checks.number import number
from mwalimu.curation.checks.reference import reference
from mwalimu.curation.checks.refusal import refusal
from mwalimu.curation.checks.schema import schema
from mwalimu.curation.checks.special_tokens import special_tokens
from mwalimu.curation.checks.truncation import truncation
from mwalimu.curation.row import Answered
from mwalimu.data.schema import compile_schema


def said(
    text: str, task: str = "conversation", prompt: str = "", gold: str | None = None
) -> Answered:
    return Answered(task, prompt, text, gold)


@pytest.mark.parametrize(
    "text",
    [
        "Yes.<|im_end|>",
        "Yes.<|eot_id|>\n",
        "Yes.</s>",
        "</s>",
        "<s> Yes.",
        "[INST] And then? [/INST]",
        "<<SYS>>",
        "Yes.<end_of_turn>",
        "Yes <unk> no",
        "Ja.<\uff5cend\u2581of\u2581sentence\uff5c>",
    ],
)
def test_marks_of_templates(text: str) -> None:
    assert special_tokens(said(text)).reason == "a mark of a chat template"
    assert special_tokens(said(text, prompt=f"What does {text.strip()} mean?")).keep


@pytest.mark.parametrize(
    "text",
    ["Now <s>30</s> 20 euros.", "xs |> f <| y", "if a </s", "[PADDING]", "a<|b"],
)
def test_what_looks_like_a_mark(text: str) -> None:
    assert special_tokens(said(text)).keep


def test_marks_of_the_users_own_models() -> None:
    assert special_tokens(said("Yes.@@end@@")).keep
    assert special_tokens(said("Yes.@@end@@"), ["@@end@@"]).value == "@@end@@"


@pytest.mark.parametrize(
    ("text", "task", "reason"),
    [
        ("<think>Hm.</think>neutral", "nli", "a tag of reasoning"),
        ("so.</think> Yes.", "generic", "a tag of reasoning"),
        ("Step 1: read. neutral", "nli", "reasoning before a short answer"),
        ("**Step 1:** read. neutral", "nli", "reasoning before a short answer"),
        ("Let's think step by step. refund", "classification", "reasoning before a short answer"),
        ("To determine the label, I look at it. neutral", "nli", "reasoning before a short answer"),
        ("As an AI language model, I have no view.", "generic", "the teacher speaks of itself"),
        ("I'm just an AI language model.", "conversation", "the teacher speaks of itself"),
        ("Step 1: mix. Step 2: bake.", "generic", ""),
        ("to solve the crossword", "qa", ""),
        ("First, the Emperor", "qa", ""),
        ("step_1_card", "classification", ""),
        ("The robot works as an AI assistant does.", "summarization", ""),
        ("She studies as an aide, I think.", "summarization", ""),
    ],
)
def test_leaks(text: str, task: str, reason: str) -> None:
    assert leaked(said(text, task)).reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "I cannot help with that.",
        "I can't assist you with this request, as it would be unsafe.",
        "Sorry, I must decline.",
        "*I'm sorry, but as an AI I cannot comply with your wish.*",
        "Désolé, mais je ne peux pas vous aider.",
        "Desculpe, mas não posso ajudar com isso.",
        "Samahani, sina uwezo wa kukusaidia.",
        "抱歉,我无法回答这个问题。",
    ],
)
def test_refusals(text: str) -> None:
    assert refusal(said(text)).reason == "the teacher declines"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that. Let me look at your order.",
        "Sorry, I can't find a table for two tonight.",
        "Unfortunately, I cannot see your booking; what is its number?",
        "You can say: I cannot help with that.",
        "I can help with that.",
        "I must say that it was good.",
        "Samahani kwa kuchelewa, mzigo umefika.",
        "Leider ist das Zimmer nicht frei.",
        "No puedo creerlo: ha ganado.",
    ],
)
def test_no_refusals(text: str) -> None:
    assert refusal(said(text)).keep


def test_a_refusal_in_the_users_own_words() -> None:
    text = "That is not within my remit."
    assert refusal(said(text)).keep
    assert not refusal(said(text), [re.compile("That is not within")]).keep


LONG = "The order left on Monday. It is on its way now. "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Here:\n```python\nprint(1)\n", "an open code fence"),
        ("It is far away (about 30 km", "an open bracket"),
        ("He said: \u201cI will come", "an open bracket"),
        ("There are three of them:", "ends where something must follow"),
        ("When it comes,", "ends where something must follow"),
        ("You can find it in front of the", "ends in the middle of a sentence"),
        ("Mzigo wako utafika mjini kesho kwa", "ends in the middle of a sentence"),
        (LONG + "You will ge", "ends in the middle of a sentence"),
        (LONG + "You will get it.", ""),
        (LONG + "\n\nBest regards,\nAmina", ""),
        (LONG + "\n- one\n- two", ""),
        ("One sentence. And a short one", ""),
        ("Here:\n```c\nf(\n```\nDone.", ""),
        ("Too bad :(", ""),
        ("The interval [0, 1) has no largest member", ""),
        ("`print(` is not whole", ""),
        ("Sure", ""),
        ("He got an A", ""),
    ],
)
def test_truncation(text: str, reason: str) -> None:
    assert truncation(said(text)).reason == reason
    assert truncation(said(text, "qa")).keep


PROMPT = "Please write to the customer that her order of six lamps will come on Monday morning"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROMPT, "the prompt again"),
        (PROMPT.upper() + "!", "the prompt again"),
        (f'You say "{PROMPT}". Dear customer, it comes.', "the prompt again"),
        ("Please write to the customer that her order of six", "a piece of the prompt"),
        ("her order of six lamps", ""),
        ("Dear customer, your order of six lamps will come on Monday morning.", ""),
    ],
)
def test_copied(text: str, reason: str) -> None:
    assert copied(said(text, prompt=PROMPT), CopiedConfig()).reason == reason


def test_a_short_prompt_may_be_said_again() -> None:
    assert copied(said("Good morning!", prompt="Good morning"), CopiedConfig()).keep
    part = PROMPT.split()
    assert len(part) == 16  # of which 14 are less than 0.9, and 15 are more
    assert copied(said(" ".join(part[:14]) + " or so", prompt=PROMPT), CopiedConfig()).keep
    assert not copied(said(" ".join(part[:15]) + " or so", prompt=PROMPT), CopiedConfig()).keep


@pytest.mark.parametrize(
    ("limits", "reason", "value"),
    [
        ({"min_words": 4}, "too short (words)", 3),
        ({"max_words": 2}, "too long (words)", 3),
        ({"min_characters": 14}, "too short (characters)", 13),
        ({"max_characters": 12}, "too long (characters)", 13),
        ({"max_ratio": 2}, "too long (ratio)", 2.6),
        ({"min_ratio": 3}, "too short (ratio)", 2.6),
        ({"min_words": 3, "max_words": 3, "min_characters": 13, "max_ratio": 2.6}, "", None),
    ],
)
def test_length(limits: dict[str, float], reason: str, value: float | None) -> None:
    verdict = length(said("one two three", prompt="12345"), LengthConfig(**limits))
    assert (verdict.reason, verdict.value) == (reason, value)


def test_numbers_and_references() -> None:
    assert number(said("It is 1,234.", "math")).keep
    assert number(said("It is many.", "math")).reason == "no number"
    assert number(said("It is many.", "qa")).keep
    assert reference(said("#### 1,234", "math", gold="1234")).keep
    wrong = reference(said("Steps.\nAnswer: 12", "math", gold="13"))
    assert (wrong.reason, wrong.value) == ("not the gold answer", "12")
    assert reference(said("Neutral.", "nli", gold="neutral")).keep
    assert not reference(said("entailment", "nli", gold="neutral")).keep
    assert reference(said("in the year of 1999", "qa", gold="1999")).value == pytest.approx(0.4)
    assert reference(said("the year 1999", "qa", gold="1999")).keep  # F1 2/3: articles go
    assert reference(said("What you like.", "generic", gold="else")).keep
    assert reference(said("12", "math")).keep


def test_schema() -> None:
    fits = compile_schema({"type": "object", "required": ["a"]}, where="s.json")
    assert schema(said('{"a": 1}'), fits).keep
    assert schema(said('{"b": 1}'), fits).reason == "breaks the schema"
    assert schema(said("{"), fits).value == "the answer is not JSON"
