"""What a log and a terminal show of a job."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from mwalimu.progress import _Bars, _columns, live_progress


def test_a_note_that_matters_is_never_left_out_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps come too fast to be all shown; a warning among them is."""
    with live_progress() as progress:
        for step in range(1, 50):
            progress("finetune", step, 100, f"step {step}")
            if step == 20:
                progress("finetune", 0, 0, "the loss jumped [to] 20")
        progress("finetune", 100, 100, "done")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "finetune: the loss jumped [to] 20"
    assert len(lines) == 3 and lines[2] == "finetune: 100/100 done"


def test_a_note_that_matters_stays_above_the_bars() -> None:
    shown = io.StringIO()
    with Progress(console=Console(file=shown, force_terminal=True, width=80)) as bars:
        draw = _Bars(bars)
        draw("finetune", 1, 2, "a step")
        draw("finetune", 0, 0, "the loss jumped [to] 20")
        draw("finetune", 2, 2, "a step")
    assert shown.getvalue().count("finetune: the loss jumped [to] 20") == 1
    assert len(bars.tasks) == 1


def test_on_a_narrow_terminal_the_note_is_cut_and_no_number() -> None:
    shown = io.StringIO()
    narrow = Console(file=shown, force_terminal=True, width=80)
    with Progress(*_columns(), console=narrow, expand=True) as bars:
        draw = _Bars(bars)
        draw("evaluate student-distilled", 1, 13_500, "")
        draw("finetune", 13_499, 13_500, f"a note that is {'long ' * 40}")
    last = [line for line in shown.getvalue().splitlines() if "finetune" in line][-1]
    assert "13499/13500" in last and "left" in last and "…" in last


def test_a_stage_that_was_done_before_is_a_line_and_no_bar() -> None:
    shown = io.StringIO()
    with Progress(console=Console(file=shown, force_terminal=True, width=80)) as bars:
        _Bars(bars)("generate", 1, 1, "already done")
    assert "generate: already done" in shown.getvalue() and not bars.tasks
