"""`mwalimu data`: look at sets of rows, check them, convert them, take paid answers in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from mwalimu.data.inspecting import Inspection

app = typer.Typer(
    name="data", help="Files of rows: inspect, validate, convert, import.", no_args_is_help=True
)

RowFile = Annotated[Path, typer.Argument(help="JSONL, CSV, Parquet, Arrow; a folder or pattern")]
FormatName = Annotated[
    str | None, typer.Option("--format", help="its format [default: found by its first row]")
]
TaskName = Annotated[str, typer.Option("--task", help="of rows that name none")]
Requests = Annotated[
    Path | None, typer.Option("--requests", help="of results of a batch: its input file")
]


@app.command("inspect")
def inspect_file(
    file: RowFile,
    format_: FormatName = None,
    task: TaskName = "generic",
    requests: Requests = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """What a file holds: format, rows, tasks, turns, lengths, labels, repetitions, problems."""
    import json

    from rich.console import Console

    from mwalimu import api

    found = api.inspect_data(file, format=format_, task=task, requests=requests)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    Console().print(_table(found))
    for problem in found.problems:
        typer.echo(problem)


@app.command()
def validate(
    file: RowFile,
    format_: FormatName = None,
    task: TaskName = "generic",
    requests: Requests = None,
) -> None:
    """Every problem of a file, by the rules of its format; exit code 3 if there is one."""
    from mwalimu import api
    from mwalimu.errors import DataError

    found = api.validate_data(file, format=format_, task=task, requests=requests)
    for problem in found.problems:
        typer.echo(found.shards.told(problem))
    if more := found.found - len(found.problems):
        typer.echo(f"... and {more} more")
    if found.found:
        raise DataError(f"{found.found} problems in {found.rows} rows", where=str(file))
    typer.echo(f"{file}: {found.rows} rows, no problem")


@app.command()
def convert(
    file: RowFile,
    out: Annotated[Path, typer.Argument(help="JSONL, or .jsonl.gz")],
    to: Annotated[str, typer.Option("--to", help="the format to write")],
    format_: FormatName = None,
    task: TaskName = "generic",
    requests: Requests = None,
) -> None:
    """Writes the rows in another format, and says what it cannot hold."""
    from mwalimu import api

    done = api.convert_data(file, out, to=to, format=format_, task=task, requests=requests)
    typer.echo(f"{out}: {done.in_words()}")
    if refused := api.validate_data(out, format=to, task=task).found:
        again = f"mwalimu data validate {out} --format {to} --task {task}"
        typer.echo(f"{refused} problems by the rules of {to}: {again}")


@app.command("import-answers")
def import_answers(
    file: RowFile,
    config: Annotated[Path, typer.Option("--config", help="the job that would ask for them")],
    format_: FormatName = None,
    requests: Requests = None,
    model: Annotated[
        str | None, typer.Option("--model", help="what the file calls the job's teacher")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value")] = None,
) -> None:
    """Answers that were paid for elsewhere: a run of this job does not buy them again."""
    from mwalimu import api

    job = api.load_config(config, set_ or [])
    done = api.import_answers(job, file, format=format_, requests=requests, model=model)
    typer.echo(f"{done.rows} rows: {done.kept} answers kept, {done.known} known before")
    for reason, count in done.left_out.most_common():
        typer.echo(f"{count} left out: {reason}")
    for problem in done.problems[:20]:
        typer.echo(done.shards.told(problem), err=True)


def _table(found: Inspection) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("format", found.format)
    table.add_row("rows", f"{found.rows:,}")
    for name, counts in (("tasks", found.tasks), ("turns", found.turns)):
        table.add_row(name, ", ".join(f"{key}: {count:,}" for key, count in counts.items()))
    table.add_row("with a system turn", f"{found.with_system:,}")
    table.add_row("with tools", f"{found.with_tools:,}")
    table.add_row("with an answer", f"{found.with_answer:,}")
    for what, length in found.lengths.items():
        spread = f"{length.least:,} to {length.most:,}"
        table.add_row(what, f"{spread}, median {length.median:,}, 95 % up to {length.p95:,}")
    table.add_row("prompts said before", f"{found.repeated_prompts:,}")
    if found.labels:
        shown = list(found.labels.items())[:10]
        more = f" and {len(found.labels) - len(shown)} more" if len(found.labels) > 10 else ""
        table.add_row("labels", ", ".join(f"{k}: {n:,}" for k, n in shown) + more)
    if found.languages:
        table.add_row("languages", ", ".join(f"{k}: {n:,}" for k, n in found.languages.items()))
    table.add_row("unreadable rows", f"{found.problems_found:,}")
    return table
