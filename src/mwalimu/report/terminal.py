"""The arms as a table for a terminal."""

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
    from rich.table import Table

MANY = 4  # tasks: the table becomes narrower


def render_table(summary: Row) -> Table:
    """The arms, one a row, for a terminal of 100 columns; the comparisons are the caption."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    tasks = sorted(summary.get("tasks", {}))
    gap = (0, 1 if len(tasks) < MANY else 0, 0, 0)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=gap)
    table.caption, table.caption_justify = Text(_caption(summary)), "left"
    table.add_column("arm", no_wrap=True)
    table.add_column("accuracy, %\n95 % interval", justify="right", no_wrap=True)
    for task in tasks:
        head = task if len(task) < 8 else f"{task[:6]}."
        table.add_column(Text(head), justify="right", no_wrap=True)
    for head in ("params", "size\nMiB", "ms p50\n/p95", "tok/s", "mem.\nMiB"):
        table.add_column(head, justify="right", no_wrap=True)
    for arm in summary.get("arms", []):
        table.add_row(*map(Text, _terminal_row(arm, tasks)))
    return table


def _terminal_row(arm: Row, tasks: list[str]) -> list[str]:
    """What is unknown is a question mark here: the columns are narrow."""
    p50, p95 = ms(arm["latency_p50_s"]), ms(arm["latency_p95_s"])
    by_task = [percent((arm["by_task"].get(task) or {}).get("mean")) for task in tasks]
    cells = [
        interval(arm["accuracy"]).replace(" % ", " " if len(tasks) < MANY else "\n"),
        *(cell.removesuffix(" %") for cell in by_task),
        si(arm["parameters"]),
        number(arm["size_mib"], 1),
        p50 if p50 == p95 else f"{p50}/{p95}",
        number(arm["tokens_per_s"]),
        number(arm["peak_memory_mib"]),
    ]
    return [arm["name"], *(cell.replace(UNKNOWN, "?") for cell in cells)]


def _caption(summary: Row) -> str:
    if not summary.get("arms"):
        return "not evaluated: no test file was given"
    lines = []
    if kept := summary["retention"]:
        lines.append(f"distilled keeps {interval(kept)} of the teacher")
    for found in summary["comparisons"]:
        arm = "" if found["arm"] == DISTILLED else f"{found['arm']} "
        difference = f"{arm}vs {found['against']} {points(found['difference'])}"
        lines.append(f"{difference}, {found['test']} {p_value(found['p_value'])}")
    return "\n" + "\n".join(lines)
