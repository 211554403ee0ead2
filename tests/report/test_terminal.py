import io
import re

import pytest
from rich.console import Console

from mwalimu.report import render_table
from tests.report.runs import ARMS, scores

TASKS = ("classification", "conversation", "generic", "math", "nli", "qa", "summarization")


@pytest.mark.parametrize(("tasks", "width"), [(TASKS[:5], 80), (TASKS, 90)])
def test_the_table_fits_a_terminal(tasks: tuple[str, ...], width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render_table(scores(tasks=tasks)))
    text = console.export_text()
    assert "\u2026" not in text, text
    for name in ARMS:
        assert re.search(rf"^{name} +\d+\.\d", text, re.MULTILINE), text
    assert "distilled keeps 98.9 % [97.5, 100.3] of the teacher" in text
    assert "vs student-labels +41.2 points [+39.2, +43.2], exact McNemar p < 0.0001" in text


def test_the_table_of_nothing_says_why() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_table({"skipped": True}))
    assert "no test file" in console.export_text()
