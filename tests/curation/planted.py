"""Clean rows of several domains and languages, and the same with one fault each, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mwalimu.curation.row import Row
from mwalimu.data.grading import NLI_LABELS
from tests.curation import texts

LABELS = ("refund", "repair", "delivery", "complaint")


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt and an answer; `language` is what both are in."""

    task: str
    language: str
    prompt: str
    answer: str
    reference: str | None = None

    def row(self, row_id: str) -> Row:
        roles = zip(("user", "assistant"), (self.prompt, self.answer), strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        content = {"id": row_id, "task": self.task, "messages": messages}
        if self.reference is not None:
            content["reference"] = self.reference
        return Row.of(json.dumps(content).encode() + b"\n")


def clean_cases(count: int, seed: int) -> Iterator[Case]:
    """The domains in turn."""
    rng = random.Random(f"clean {seed}")
    makers = (_nli, _label, _sum, _span, _summary, _talk, _code, _listing)
    for index in range(count):
        yield makers[index % len(makers)](rng)


def _say(rng: random.Random, language: str, count: int) -> str:
    some = rng.sample(texts.SENTENCES[language], count)
    return " ".join(_fill(rng, sentence) for sentence in some)


def _fill(rng: random.Random, text: str) -> str:
    return text.format(
        name=rng.choice(texts.NAMES),
        thing=rng.choice(texts.THINGS),
        place=rng.choice(texts.PLACES),
        number=rng.randint(2, 90),
    )


def _as_written(rng: random.Random, label: str) -> str:
    return rng.choice((label, label.capitalize(), f"{label}.", label.upper()))


def _nli(rng: random.Random) -> Case:
    prompt = f"Premise: {_say(rng, 'en', 1)}\nHypothesis: {_say(rng, 'en', 1)}\nWhich label?"
    gold = rng.choice(NLI_LABELS)
    return Case("nli", "en", prompt, _as_written(rng, gold), gold)


def _label(rng: random.Random) -> Case:
    language = rng.choice(tuple(texts.SENTENCES))
    gold = rng.choice(LABELS)
    return Case("classification", language, _say(rng, language, 1), _as_written(rng, gold), gold)


def _sum(rng: random.Random) -> Case:
    a, b = rng.randint(2, 40), rng.randint(2, 40)
    name, thing = rng.choice(texts.NAMES), rng.choice(texts.THINGS)
    prompt = f"{name} has {a} boxes with {b} parts of a {thing} in each. How many parts are there?"
    work = f"There are {a} boxes of {b} parts.\n{a} x {b} = {a * b}."
    end = rng.choice((f"\n#### {a * b}", f"\nAnswer: {a * b}", f" The answer is {a * b:,}."))
    return Case("math", "en", prompt, work + end, str(a * b))


def _span(rng: random.Random) -> Case:
    place = rng.choice(texts.PLACES)
    context = f"{_say(rng, 'en', 2)} The office of the shop is in {place}."
    return Case("qa", "en", f"Context: {context}\nQuestion: Where is the office?", place, place)


def _summary(rng: random.Random) -> Case:
    first, *others = (_say(rng, "en", 1) for _ in range(4))
    dialogue = "\n".join(f"#Person{1 + i % 2}#: {line}" for i, line in enumerate([first, *others]))
    return Case("summarization", "en", dialogue, f"Two people talk of an order. {first}")


def _talk(rng: random.Random) -> Case:
    language = rng.choice(tuple(texts.SENTENCES))
    prompt = _fill(rng, texts.QUESTIONS[language])
    return Case("conversation", language, prompt, _say(rng, language, rng.randint(2, 4)))


def _code(rng: random.Random) -> Case:
    name, number = rng.choice(texts.THINGS), rng.randint(2, 90)
    body = f"```python\ndef {name}s(x):\n    return [x, x + {number}]\n```"
    prompt = f"Write a function that gives x and x + {number}, and say what it returns for zero."
    return Case(
        "generic", "en", prompt, f"Here it is:\n\n{body}\n\nFor 0 it returns [0, {number}]."
    )


def _listing(rng: random.Random) -> Case:
    lines = "\n".join(f"- {thing}, {rng.randint(2, 90)}" for thing in rng.sample(texts.THINGS, 4))
    question = _fill(rng, "List four things that {name} may need in {place}, with their prices.")
    return Case("generic", "en", question, f"Four things with a price each.\n\n{lines}")


Fault = Callable[[random.Random, Case], Case]


def _truncated(rng: random.Random, case: Case) -> Case:
    """Between two words or in one, after at least 30 characters."""
    return replace(case, answer=case.answer[: rng.randint(30, len(case.answer) - 4)])


def _open_fence(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=case.answer[: case.answer.rindex("```")].rstrip())


def _refused(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=rng.choice(texts.REFUSALS))


def _wrong_label(rng: random.Random, case: Case) -> Case:
    wrong = rng.choice(("other", "yes", "neutral refund", "contradictory", "It is a refund"))
    return replace(case, answer=wrong)


def _other_label(rng: random.Random, case: Case) -> Case:
    labels = NLI_LABELS if case.task == "nli" else LABELS
    return replace(case, answer=rng.choice([one for one in labels if one != case.reference]))


def _wrong_number(rng: random.Random, case: Case) -> Case:
    gold = int(case.reference or 0)
    wrong = gold + rng.choice((-10, -1, 1, 7, 100))
    return replace(case, answer=f"That makes {wrong} in all.\n#### {wrong}")


def _no_number(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=rng.choice(("A lot of them.", "They are many, as the boxes are.")))


def _copied(rng: random.Random, case: Case) -> Case:
    half = " ".join(case.prompt.split()[: int(0.8 * len(case.prompt.split()))])
    shapes = (case.prompt, case.prompt.upper(), f"You asked: {case.prompt} Yes.", half)
    return replace(case, answer=rng.choice(shapes))


def _special(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=f"{case.answer}{rng.choice(('', ' ', chr(10)))}"
                   f"{rng.choice(texts.SPECIAL)}")  # fmt: skip


def _thought(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=rng.choice(texts.THOUGHTS).format(answer=case.answer))


def _stepped(rng: random.Random, case: Case) -> Case:
    return replace(case, answer=rng.choice(texts.STEPS).format(answer=case.answer))


def _foreign(rng: random.Random, case: Case) -> Case:
    other = rng.choice([one for one in texts.SENTENCES if one != case.language])
    return replace(case, answer=_say(rng, other, 3))


SHORT = {"nli", "classification"}
FREE = {"summarization", "conversation"}
FAULTS: dict[str, tuple[Fault, Callable[[Case], bool], str]] = {
    "open fence": (_open_fence, lambda c: "```" in c.answer, "truncation"),
    "cut text": (_truncated, lambda c: c.task in FREE, "truncation"),
    "refusal": (_refused, lambda c: c.task in FREE, "refusal"),
    "no label": (_wrong_label, lambda c: c.task in SHORT, "label"),
    "another label": (_other_label, lambda c: c.task in SHORT, "reference"),
    "wrong number": (_wrong_number, lambda c: c.task == "math", "reference"),
    "no number": (_no_number, lambda c: c.task == "math", "number"),
    "copied prompt": (_copied, lambda c: c.task in FREE, "copied"),
    "special token": (_special, lambda c: True, "special_tokens"),
    "leaked thought": (_thought, lambda c: True, "leaked"),
    "leaked steps": (_stepped, lambda c: c.task in SHORT, "leaked"),
    "another language": (_foreign, lambda c: c.task == "conversation", "language"),
}
"""By kind: what spoils a case, which cases it fits, and the check that has to name it."""


def planted_cases(count: int, seed: int) -> Iterator[tuple[str, Case]]:
    """(kind, spoilt case), the kinds in turn."""
    rng = random.Random(f"planted {seed}")
    clean = clean_cases(10**9, seed + 1)
    kinds = list(FAULTS)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        spoil, fits, _ = FAULTS[kind]
        yield kind, spoil(rng, next(case for case in clean if fits(case)))
