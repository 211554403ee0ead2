"""Rows to show: answers and rejects of each task, and where the arms differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice, zip_longest
from typing import Any

from mwalimu.report.wording import DISTILLED, TEACHER, Row

Rows = Callable[[str, str], Iterator[Row]]
"""(stage, file) -> the rows of the file; none when the manifest does not list it."""

EXAMPLES, DIFFERENCES, LOOKED_AT = 5, 8, 500


def examples(rows: Iterator[Row]) -> list[Row]:
    """The first rows of the file, one of each task in turn."""
    by_task: dict[str, list[Row]] = defaultdict(list)
    for row in islice(rows, LOOKED_AT):
        by_task[row["task"]].append(row)
    turns = zip_longest(*by_task.values())
    return list(islice((row for turn in turns for row in turn if row), EXAMPLES))


def differences(rows: Rows, arms: list[str]) -> list[Row]:
    """Rows that the arms answer differently; first those where the student loses or gains."""
    by_id: dict[str, dict[str, Row]] = defaultdict(dict)
    for arm in arms:
        for row in rows("evaluate", f"evaluate/predictions/{arm}.jsonl"):
            by_id[row["id"]][arm] = row
    groups = [group for group in by_id.values() if _differ(group)]
    groups.sort(key=lambda group: _score(group, DISTILLED) == _score(group, TEACHER))
    return [next(iter(group.values())) | {"arms": group} for group in groups[:DIFFERENCES]]


def _differ(group: dict[str, Row]) -> bool:
    return len({row["prediction"].strip() for row in group.values()}) > 1


def _score(group: dict[str, Row], arm: str) -> Any:
    return group.get(arm, {}).get("score")
