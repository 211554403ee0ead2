"""The space where the config names none: around the recipe, and only what the job has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mwalimu.config import Config, MixConfig, MixtureRangeConfig, RangeConfig
from mwalimu.curation.plan import chosen
from mwalimu.data.examples import examples_of
from mwalimu.tuning.axes import MIXTURE, OBJECTIVE, Mix

QUANTILES = (75, 90)
"""Percentiles of the answers' words at which a filter of long answers is tried."""
MOST_GROUPS = 8
"""Tasks above which weights of each would be too many to search."""
FEWEST_ROWS = 8  # of a task, below which its weight says nothing
AGREEMENTS = (0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class Known:
    """Of the rows that stage 1 gave: words of answers by percentile, rows by task."""

    words: Mapping[int, int] = field(default_factory=dict)
    longest: int = 0
    tasks: Mapping[str, int] = field(default_factory=dict)


NOTHING_KNOWN = Known()


def known_of(path: Path) -> Known:
    """From a file of accepted rows, read one at a time."""
    with open(path, "rb") as handle:
        return _known(map(orjson.loads, handle))


def _known(rows: Iterable[Mapping[str, Any]]) -> Known:
    lengths: list[int] = []
    tasks: Counter[str] = Counter()
    for row in rows:
        tasks[str(row["task"])] += 1
        lengths += [len((e.chat[-1]["content"] or "").split()) for e in examples_of(row)]
    if not lengths:
        return NOTHING_KNOWN
    found = np.percentile(lengths, QUANTILES).astype(int).tolist()
    return Known(dict(zip(QUANTILES, found, strict=True)), max(lengths), dict(tasks))


def usual(config: Config, known: Known = NOTHING_KNOWN) -> dict[str, Any]:
    """Of training, of the objective where there is a distribution, of filters and of the mixture.

    Nothing in it asks a teacher for an answer that it has not given.
    """
    finetune, student = config.finetune, config.student
    rate, epochs = finetune.learning_rate, finetune.epochs
    space: dict[str, Any] = {
        "finetune.learning_rate": RangeConfig(low=rate / 8, high=rate * 8, log=True),
        "finetune.batch_size": _around(finetune.batch_size),
        "finetune.epochs": RangeConfig(low=max(1, epochs // 2), high=2 * epochs),
    }
    if student.adapts:
        space["student.lora_rank"] = _around(student.lora_rank)
    if config.teacher.resolved_kind == "local" and hears_distribution(config):
        mix = MixConfig(temperatures=(1.0, 2.0), schedules=("constant", "linear", "cosine"))
        if Mix(mix).params(config) is not None:
            space[OBJECTIVE] = mix
    return space | _filters(config, known) | _mixture(config, known)


def _filters(config: Config, known: Known) -> dict[str, Any]:
    """Thresholds of the checks that are at work; each keeps the one that is written."""
    curate = config.curate
    at_work = chosen(config)
    space: dict[str, Any] = {}
    limits = {None, *(words for words in known.words.values() if 0 < words < known.longest)}
    if curate.checks == "auto" and curate.length.max_words is None and len(limits) > 1:
        space["curate.length.max_words"] = tuple(sorted(limits, key=lambda one: one or 0))
    if "consistency" in at_work and (own := curate.consistency.min_agreement) is not None:
        space["curate.consistency.min_agreement"] = tuple(sorted({own, *AGREEMENTS}))
    if "judge" in at_work:
        own_score = curate.judge.min_score
        scores = range(max(1, own_score - 1), min(10, own_score + 2) + 1)
        space["curate.judge.min_score"] = tuple(scores)
    return space


def _mixture(config: Config, known: Known) -> dict[str, Any]:
    groups = tuple(sorted(known.tasks))
    few = any(rows < FEWEST_ROWS for rows in known.tasks.values())
    if not 2 <= len(groups) <= MOST_GROUPS or few or config.finetune.mixture is not None:
        return {}
    return {MIXTURE: MixtureRangeConfig(groups=groups)}


def _around(number: int) -> tuple[int, ...]:
    return tuple(sorted({max(1, number // 2), number, 2 * number}))


def hears_distribution(config: Config) -> bool:
    """Whether this student could learn from this teacher's distribution, token by token."""
    from mwalimu.choosing import choose

    open_ = config.finetune.model_copy(update={"objective": (), "teacher": "auto"})
    parts = choose(config.model_copy(update={"finetune": open_})).config.finetune.objective
    return any(part.kind == "forward_kl" for part in parts)
