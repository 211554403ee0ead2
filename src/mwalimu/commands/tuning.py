"""A search over recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mwalimu.commands.working import (
    JOB,
    ConfigFile,
    Overrides,
    RunFolder,
    named_students,
    opened,
    show_terms,
)

if TYPE_CHECKING:
    from mwalimu.tuning.conclusion import Conclusion

app = typer.Typer()


@app.command()
def tune(
    config: ConfigFile = JOB,
    run: RunFolder = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="2h, 30m, 20usd, 50trials, several by comma")
    ] = None,
    parallel: Annotated[
        int | None, typer.Option("--parallel", min=1, help="trials at the same time [default: 1]")
    ] = None,
    students: Annotated[
        str | None,
        typer.Option("--students", help="models that may learn, of several sizes, with commas"),
    ] = None,
    allow_spend: Annotated[
        bool, typer.Option("--allow-spend", help="let trials ask a teacher that costs")
    ] = False,
    set_: Overrides = None,
) -> None:
    """Searches for the recipe that makes the best student. Goes on where it was."""
    from mwalimu.tuning.study import require_optuna
    from mwalimu.tuning.tune import tune as search

    require_optuna()
    given = {"budget": budget, "parallel": parallel}
    named = [f"tune.{name}={value}" for name, value in given.items() if value is not None]
    named += named_students(students)
    with opened(config, run, [*(set_ or []), *named]) as pipeline:
        show_terms(pipeline.config)
        found = search(pipeline, allow_spend=allow_spend)
    _show(found)
    typer.echo(f"recipe: {pipeline.run.path('tuning', 'best.yaml')}")
    typer.echo(f"report: {pipeline.run.path('tuning', 'report.md')}")


def _show(found: Conclusion) -> None:
    """The measured trials, the chosen one marked, and what the test rows say."""
    from rich.console import Console
    from rich.table import Table

    from mwalimu.tuning.search import shown

    table = Table("", "trial", *found.objectives, "recipe")
    for trial in found.trials:
        if trial.state == "complete":
            mark = "*" if trial.number == found.chosen else "+" * (trial.number in found.front)
            values = [f"{value:.4g}" for value in trial.values]
            table.add_row(mark, str(trial.number), *values, shown(trial.changes))
    Console().print(table)
    if (test := found.on_test) is not None:
        typer.echo(
            f"on {test.rows} test rows: chosen {test.chosen.mean:.4f}, as written "
            f"{test.written.mean:.4f}, difference {test.difference.mean:+.4f} "
            f"({test.difference.low:+.4f} to {test.difference.high:+.4f}), p = {test.p_value:.3g}"
        )
