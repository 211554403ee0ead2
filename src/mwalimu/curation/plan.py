"""The config's checks as passes, in their order; what a check lacks is told before any row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

from mwalimu.config import CHECKS, CheckName, Config
from mwalimu.curation.checks.copied import copied
from mwalimu.curation.checks.label import Labels, Seen, closed, count_labels, label, listed_labels
from mwalimu.curation.checks.language import identifier, language, require_known
from mwalimu.curation.checks.leaked import leaked
from mwalimu.curation.checks.length import length
from mwalimu.curation.checks.number import number
from mwalimu.curation.checks.reference import reference
from mwalimu.curation.checks.refusal import refusal
from mwalimu.curation.checks.schema import schema
from mwalimu.curation.checks.special_tokens import special_tokens
from mwalimu.curation.checks.truncation import truncation
from mwalimu.curation.consistency import consistency
from mwalimu.curation.judging import Ask, judge
from mwalimu.curation.passes import Check, Pass, each
from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict
from mwalimu.data.schema import compile_schema, read_schema
from mwalimu.errors import ConfigError

ALWAYS: frozenset[CheckName] = frozenset(
    {"special_tokens", "leaked", "refusal", "truncation", "copied", "label", "number", "reference"}
)
ANSWER_ALONE: frozenset[CheckName] = frozenset({"leaked", "copied", "label", "reference"})
"""They do not fit targets that begin with the reasoning, which `generate.rationale: mix` makes."""

HALF = 0.5


def chosen(config: Config) -> tuple[CheckName, ...]:
    """The checks by name, in order: those listed, or what `auto` stands for."""
    curate = config.curate
    if curate.checks != "auto":
        return curate.checks
    said = {
        "length": curate.length.is_set,
        "schema": curate.json_schema is not None,
        "language": bool(curate.language.expected),
        "consistency": curate.consistency.min_agreement is not None,
        "judge": curate.judge.teacher is not None,
    }
    reasoned = config.generate.rationale == "mix"
    left_out = ANSWER_ALONE if reasoned else frozenset()
    return tuple(name for name in CHECKS if said.get(name, name in ALWAYS) and name not in left_out)


def build_passes(config: Config, seen: Iterable[Seen], ask: Ask | None) -> list[tuple[str, Pass]]:
    """Each check with its pass. `seen` is gone through once, if labels are looked for there.

    Raises:
        ConfigError: a check is named and what it needs is not set, as in `curate.json_schema`.
        MissingDependency: a check needs a package that is not installed.
    """
    curate = config.curate
    alone: dict[str, Callable[[], Check]] = {
        "special_tokens": lambda: partial(special_tokens, extra=curate.special_tokens.extra),
        "leaked": lambda: leaked,
        "refusal": lambda: _refusal(config),
        "truncation": lambda: partial(truncation, min_sentences=curate.truncation.min_sentences),
        "copied": lambda: _copied(config),
        "length": lambda: _length(config),
        "label": lambda: partial(label, labels=_labels(config, seen)),
        "number": lambda: number,
        "reference": lambda: _reference(config),
        "schema": lambda: _schema(config),
        "language": lambda: _language(config),
    }
    together: dict[str, Callable[[], Pass]] = {
        "consistency": lambda: _consistency(config),
        "judge": lambda: _judge(config, ask),
    }
    return [
        (name, each(alone[name]()) if name in alone else together[name]())
        for name in chosen(config)
    ]


def _refusal(config: Config) -> Check:
    extra = [re.compile(pattern, re.IGNORECASE) for pattern in config.curate.refusal.extra]
    return partial(refusal, extra=extra)


def _copied(config: Config) -> Check:
    """Task generic may be to proofread: there the prompt again is the right answer."""
    return _sparing(config, "generic", partial(copied, limits=config.curate.copied))


def _reference(config: Config) -> Check:
    """A right answer of task qa may share no word with the gold one: UK, the United Kingdom."""
    return _sparing(config, "qa", partial(reference, min_f1=config.curate.reference.min_f1))


def _sparing(config: Config, task: str, check: Check) -> Check:
    """`auto` does not put rows of `task` to the check; who names it does."""
    if config.curate.checks != "auto":
        return check

    def spared(answer: Answered) -> Verdict:
        return KEPT if answer.task == task else check(answer)

    return spared


def _length(config: Config) -> Check:
    if not config.curate.length.is_set:
        raise ConfigError(
            "no limit is set", where="curate.length", fix="set one, such as curate.length.max_words"
        )
    return partial(length, limits=config.curate.length)


def _labels(config: Config, seen: Iterable[Seen]) -> Labels:
    known = listed_labels(config.curate.label.known)
    if known["classification"]:
        return known
    gold, answers = count_labels(seen, "classification")
    asked_for = config.curate.checks != "auto"
    if asked_for and config.task == "classification" and not gold:
        raise ConfigError(
            "no label is known",
            where="curate.label.known",
            fix="list them there, or name gold rows in data.labelled",
        )
    return {**known, "classification": set(gold) if asked_for or closed(gold, answers) else ()}


def _schema(config: Config) -> Check:
    path = config.curate.json_schema or config.generate.json_schema
    if path is None:
        raise ConfigError(
            "check schema has no schema", where="curate.json_schema", fix="name its file"
        )
    return partial(schema, problem=compile_schema(read_schema(path), where=str(path)))


def _language(config: Config) -> Check:
    limits = config.curate.language
    require_known(limits.expected)
    return partial(language, limits=limits, identify=identifier())


def _consistency(config: Config) -> Pass:
    if config.generate.samples == 1:
        raise ConfigError(
            "one sample agrees with itself",
            where="curate.consistency",
            fix="set generate.samples, say to 5",
        )
    agreement = config.curate.consistency.min_agreement
    return partial(consistency, min_agreement=HALF if agreement is None else agreement)


def _judge(config: Config, ask: Ask | None) -> Pass:
    if ask is None:
        raise ConfigError(
            "check judge has no judge",
            where="curate.judge.teacher",
            fix="name a model there, or in ensemble.judge",
        )
    return partial(judge, min_score=config.curate.judge.min_score, ask=ask)
