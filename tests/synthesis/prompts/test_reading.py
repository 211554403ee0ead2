"""What teachers write when they are asked for prompts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.synthesis.prompts.fitness import why_not
from mwalimu.synthesis.prompts.reading import read_prompt, read_prompts

TWO = ("Name a river.", "Name a hill.")

LISTS = {
    "numbered": ("1. Name a river.\n2. Name a hill.", TWO),
    "numbered with brackets": ("1) Name a river.\n2) Name a hill.", TWO),
    "numbered bold": ("**1.** Name a river.\n**2.** Name a hill.", TWO),
    "bold items": ("1. **Name a river.**\n2. **Name a hill.**", TWO),
    "headings": ("### Prompt 1:\nName a river.\n\n### Prompt 2:\nName a hill.", TWO),
    "questions": ("Q1: Name a river.\nQ2: Name a hill.", TWO),
    "words around": (
        "Sure! Here are two prompts:\n\n1. Name a river.\n2. Name a hill.\n\nAnything else?",
        TWO,
    ),
    "quoted": ('1. "Name a river."\n2. \u201cName a hill.\u201d', TWO),
    "labelled": ("1. Prompt: Name a river.\n2. Question: Name a hill.", TWO),
    "bullets": ("- Name a river.\n- Name a hill.", TWO),
    "stars": ("Here you go:\n* Name a river.\n* Name a hill.", TWO),
    "one number": ("1. Name a river.", TWO[:1]),
    "items of several lines": (
        "1. Add these:\n   2 and 3\n2. Name a hill.",
        ("Add these:\n   2 and 3", "Name a hill."),
    ),
    "numbers inside": (
        "1. Sort:\n3. pears\n9. figs\n2. Name a hill.",
        ("Sort:\n3. pears\n9. figs", "Name a hill."),
    ),
    "items of several paragraphs": (
        "1. Read:\n\nOnce upon a time.\n\n2. Name a hill.\n\nAny hill.",
        ("Read:\n\nOnce upon a time.", "Name a hill.\n\nAny hill."),
    ),
    "json": ('["Name a river.", "Name a hill."]', TWO),
    "json objects": ('[{"prompt": "Name a river."}, {"question": "Name a hill."}]', TWO),
    "json within": ('{"prompts": ["Name a river.", "Name a hill."]}', TWO),
    "json fenced": ('Here:\n```json\n["Name a river.", "Name a hill."]\n```\nDone.', TWO),
    "json in words": ('Of course: ["Name a river.", "Name a hill."] Good luck!', TWO),
    "json lines": ('{"prompt": "Name a river."}\n{"prompt": "Name a hill."}', TWO),
    "json lines with commas": ('{"text": "Name a river."},\n{"text": "Name a hill."}', TWO),
    "json by key": ('{"1": "Name a river.", "2": "Name a hill."}', TWO),
    "json broken": ('["Name a river.", "Name', ('["Name a river.", "Name',)),
    "questions on lines": ("Where is it?\nWhat is it?", ("Where is it?", "What is it?")),
    "paragraphs": ("Name a river.\n\nName a hill.", TWO),
    "one text": ("Name a river\nthat is long.", ("Name a river\nthat is long.",)),
    "a dash inside": ("Name a river - a long one.", ("Name a river - a long one.",)),
    "nothing": ("", ()),
    "blank": (" \n\n ", ()),
    "empty items": ("1. \n2. Name a hill.", ("Name a hill.",)),
    "a year": ("2024. Name a hill.", ("2024. Name a hill.",)),
    "numbers in JSON": ("[1, 2]", ("[1, 2]",)),
}


@pytest.mark.parametrize("text, wanted", LISTS.values(), ids=LISTS)
def test_lists(text: str, wanted: tuple[str, ...]) -> None:
    assert read_prompts(text) == wanted


ONE = {
    "plain": ("Name a long river.", "Name a long river."),
    "quoted": ('"Name a long river."', "Name a long river."),
    "labelled": ("#Rewritten Prompt#:\nName a long river.", "Name a long river."),
    "labelled without a colon": ("# New Prompt #\nName a long river.", "Name a long river."),
    "a number is no label": ("Message #4 is lost. Why?", "Message #4 is lost. Why?"),
    "bold label": ("**New prompt:** Name a long river.", "Name a long river."),
    "introduced": ("Sure, here it is:\n\nName a long river.", "Name a long river."),
    "fenced": ("```\nName a long river.\n```", "Name a long river."),
    "json": ('{"prompt": "Name a long river."}', "Name a long river."),
    "several paragraphs": ("Read this.\n\n1. a\n2. b", "Read this.\n\n1. a\n2. b"),
    "quotes inside": ('"Yes" or "no"?', '"Yes" or "no"?'),
    "a question about prompts": ("What is a prompt?", "What is a prompt?"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("text, wanted", ONE.values(), ids=ONE)
def test_one(text: str, wanted: str) -> None:
    assert read_prompt(text) == wanted


WORD = st.text("abcdefgh", min_size=2, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(WORD, min_size=2, max_size=6).map(" ".join), min_size=2, max_size=12))
def test_what_is_written_as_a_list_is_read(prompts: list[str]) -> None:
    assert read_prompts("\n".join(f"{i}. {p}" for i, p in enumerate(prompts, 1))) == tuple(prompts)
    assert read_prompts("\n".join(f"- {p}" for p in prompts)) == tuple(prompts)


@settings(max_examples=200, deadline=None)
@given(st.text('1.2-\n "[]{}:,a*#`', max_size=40) | st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    assert all(prompt == prompt.strip() and prompt for prompt in read_prompts(text))
    read_prompt(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Name a river.", ""),
        ("河はどこですか", ""),
        ("?!", "has no words"),
        ("River", "is one word"),
        ("a b c d e f", "more than 5 words"),
        ("Make the given prompt harder", "speaks of the rewriting"),
        ("#Rewritten Prompt# x", "speaks of the rewriting"),
        ("I'm sorry, no.", "is a refusal"),
        ("I can\u2019t help with that", "is a refusal"),
    ],
)
def test_fitness(text: str, problem: str) -> None:
    found = why_not(text, 5)
    assert problem in found if problem else not found
