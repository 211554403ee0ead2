"""The arms as tables for a terminal: how well, how dear, how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mwalimu.report.wording import (
    DISTILLED,
    UNKNOWN,
    Row,
    interval,
    ms,
    number,
    p_value,
    percent,
    points,
    si,
)

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

HEAD = 6  # characters of a task's name
COSTS = ("params", "size MiB", "ms p50", "ms p95", "tokens/s", "memory MiB")


def render_table(summary: Row) -> Group:
    """One arm a row, accuracies above, costs below; five tasks fit 80 columns."""
    from rich.console import Group
    from rich.text import Text

    arms, tasks = summary.get("arms", []), sorted(summary.get("tasks", {}))
    if not arms:
        return Group(Text("not evaluated: no test file was given"))
    heads = [task if len(task) <= HEAD else f"{task[: HEAD - 1]}." for task in tasks]
    quality = _table(["accuracy, % [95 %]", *heads], [_quality(arm, tasks) for arm in arms])
    costs = _table(COSTS, [_costs(arm) for arm in arms])
    return Group(quality, "", costs, "", Text(_conclusions(summary)))


def _table(heads: list[str] | tuple[str, ...], rows: list[list[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", no_wrap=True)
    for head in heads:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell.replace(UNKNOWN, "?")) for cell in row))
    return table


def _quality(arm: Row, tasks: list[str]) -> list[str]:
    """What is unknown is a question mark here: the columns are narrow."""
    by_task = [percent((arm["by_task"].get(task) or {}).get("mean")) for task in tasks]
    overall = interval(arm["accuracy"]).replace(" % ", " ")
    return [arm["name"], overall, *(cell.removesuffix(" %") for cell in by_task)]


def _costs(arm: Row) -> list[str]:
    return [
        arm["name"],
        si(arm["parameters"]),
        number(arm["size_mib"], 1),
        ms(arm["latency_p50_s"]),
        ms(arm["latency_p95_s"]),
        number(arm["tokens_per_s"]),
        number(arm["peak_memory_mib"]),
    ]


def _conclusions(summary: Row) -> str:
    lines = []
    if kept := summary["retention"]:
        lines.append(f"distilled keeps {interval(kept)} of the teacher")
    for found in summary["comparisons"]:
        arm = "" if found["arm"] == DISTILLED else f"{found['arm']} "
        difference = f"{arm}vs {found['against']} {points(found['difference'])}"
        lines.append(f"{difference}, {found['test']} {p_value(found['p_value'])}")
    return "\n".join(lines)
