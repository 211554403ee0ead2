"""One thin command per verb. Heavy imports stay inside the commands: --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from mwalimu.config import Config
    from mwalimu.pipeline import Pipeline

app = typer.Typer(
    name="mwalimu",
    help="Distil a large language model into a small one of your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Argument(help="the job's distill.yaml")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", help="run folder [default: runs/<folder of the config>]")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, as in --set finetune.epochs=2")
]

SignalFolder = Annotated[Path, typer.Argument(help="such as runs/mine/signals/sampled/train")]
MinOk = Annotated[
    float | None,
    typer.Option("--min-ok", min=0, max=1, help="accepted share below this fails [default: 1]"),
]


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    os.environ["MWALIMU_DEBUG"] = "1" if debug else os.environ.get("MWALIMU_DEBUG", "")
    _refuse_several(context.invoked_subcommand)


@app.command()
def quickstart(
    folder: Annotated[Path, typer.Option("--dir", help="where the job is made and run")] = Path(
        "quickstart"
    ),
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="make the shipped models again, in --dir/models")
    ] = False,
    set_: Overrides = None,
) -> None:
    """The embedded job: a teacher that ships with mwalimu, distilled and compared."""
    from mwalimu import api

    if train_teacher:
        from mwalimu.progress import live_progress

        with live_progress() as progress:
            scores = api.train_quickstart_models(folder / "models", progress=progress)
        typer.echo("  ".join(f"{task} {score:.1%}" for task, score in scores.items()))
        return
    path = api.write_quickstart(folder)
    _run_all(path, folder / "run", set_)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="a new folder for the job")]) -> None:
    """A starter job: distill.yaml, example prompts, a README."""
    from mwalimu import api

    path = api.init(folder)
    typer.echo(f"made {path}; next: mwalimu estimate {path}, then mwalimu run {path}")


@app.command()
def estimate(
    config: ConfigFile,
    run: RunFolder = None,
    probe: Annotated[
        int, typer.Option("--probe", min=0, help="really ask so many rows, and measure")
    ] = 0,
    memory: Annotated[
        str | None, typer.Option("--memory", help="that training may have, such as 24GB")
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option("--device", help="where training will run, if not here"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    set_: Overrides = None,
) -> None:
    """Requests, tokens, dollars, minutes and memory of a job. Spends nothing without --probe."""
    import json

    from mwalimu import api
    from mwalimu.progress import live_progress

    job = _load(config, set_)
    folder = run or Path("runs") / config.resolve().parent.name
    with live_progress() as progress:
        found = api.estimate(
            job, probe=probe, folder=folder, memory=memory, device=device, progress=progress
        )
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else "\n".join(found.lines()))


@app.command()
def run(
    config: ConfigFile, run: RunFolder = None, min_ok: MinOk = None, set_: Overrides = None
) -> None:
    """All stages: generate, finetune, evaluate, report. Goes on where it stopped."""
    _run_all(config, run, _with_min_ok(set_, min_ok))


@app.command()
def generate(
    config: ConfigFile, run: RunFolder = None, min_ok: MinOk = None, set_: Overrides = None
) -> None:
    """Stage 1: the teacher answers the prompts."""
    overrides = _with_min_ok(set_, min_ok)
    with _pipeline(config, run, overrides) as pipeline:
        _show_terms(pipeline.config)
        summary = pipeline.generate()
    _print_summary(summary)


signals_app = typer.Typer(
    name="signals", help="What the teacher said, token by token.", no_args_is_help=True
)
app.add_typer(signals_app)


@signals_app.command("capture")
def signals_capture(config: ConfigFile, run: RunFolder = None, set_: Overrides = None) -> None:
    """Between the stages: keeps what the objective needs of the teacher's distribution."""
    with _pipeline(config, run, set_) as pipeline:
        summary = pipeline.signals()
    _print_summary(summary)
    if not summary:
        typer.echo("the objective needs no signals")


@signals_app.command("inspect")
def signals_inspect(folder: SignalFolder) -> None:
    """Whose signals a folder holds, and how."""
    from mwalimu.signals.checks import inspect

    typer.echo("\n".join(inspect(folder)))


@signals_app.command("verify")
def signals_verify(folder: SignalFolder) -> None:
    """Reads and decodes everything in a folder; fails at the first damage."""
    from mwalimu.signals.checks import verify

    typer.echo("\n".join(verify(folder)))


@app.command()
def finetune(config: ConfigFile, run: RunFolder = None, set_: Overrides = None) -> None:
    """Stage 2: the student learns the teacher's answers."""
    with _pipeline(config, run, set_) as pipeline:
        summary = pipeline.finetune()
    _print_summary(summary)


@app.command("lr")
def learning_rate(config: ConfigFile, run: RunFolder = None, set_: Overrides = None) -> None:
    """Before stage 2: a range test on the job's own rows suggests finetune.learning_rate."""
    with _pipeline(config, run, set_) as pipeline:
        found = pipeline.find_learning_rate()
    typer.echo(found.in_words)
    typer.echo(f"curve: {pipeline.run.path('finetune', 'lr_finder.json')}")


@app.command()
def evaluate(config: ConfigFile, run: RunFolder = None, set_: Overrides = None) -> None:
    """The student against the teacher and two baselines, on held-out rows."""
    with _pipeline(config, run, set_) as pipeline:
        summary = pipeline.evaluate()
    _print_table(summary)


@app.command()
def report(config: ConfigFile, run: RunFolder = None, set_: Overrides = None) -> None:
    """Writes report.md and report.html again."""
    with _pipeline(config, run, set_) as pipeline:
        paths = pipeline.report()
    typer.echo("\n".join(str(path) for path in paths))


@app.command()
def doctor() -> None:
    """What this machine can do, what is missing, what to install."""
    from mwalimu.doctor import findings

    for line in findings():
        typer.echo(line)


@app.command()
def models(
    words: Annotated[list[str] | None, typer.Argument(help="a name, or words to look for")] = None,
    returns: Annotated[str | None, typer.Option("--returns", help="text or logprobs")] = None,
    trainable: Annotated[
        bool, typer.Option("--trainable", help="only those whose terms let others learn from them")
    ] = False,
    students: Annotated[
        bool, typer.Option("--students", help="the students, with size and needed memory")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
) -> None:
    """The teachers that are known by name: routes, prices, what their terms allow."""
    from rich.console import Console

    from mwalimu.errors import ConfigError
    from mwalimu.registry import display, search

    if students:
        _show_students(words or [], as_json)
        return
    found = search(words or [], returns=returns, trainable=trainable)
    if as_json:
        typer.echo(display.as_json(found))
    elif not found:
        raise ConfigError("no model fits", where="models", fix="list all with 'mwalimu models'")
    elif len(found) == 1:
        typer.echo("\n".join(display.details(found[0])))
    else:
        Console().print(display.table(found))


def _show_students(words: list[str], as_json: bool) -> None:
    from rich.console import Console

    from mwalimu.errors import ConfigError
    from mwalimu.registry import display, search_students

    found = search_students(words)
    if as_json:
        typer.echo(display.students_as_json(found))
    elif not found:
        raise ConfigError(
            "no student fits", where="models", fix="list all with 'mwalimu models --students'"
        )
    elif len(found) == 1:
        typer.echo("\n".join(display.student_details(found[0])))
    else:
        Console().print(display.student_table(found))


def _show_terms(config: Config) -> None:
    """Before the first call: what the teachers' terms say of training on their answers."""
    from mwalimu.registry import terms_notice

    for teacher in config.teachers():
        if notice := terms_notice(teacher):
            typer.echo(f"terms: {notice}", err=True)


def _run_all(config: Path, run: Path | None, overrides: list[str] | None) -> None:
    with _pipeline(config, run, overrides) as pipeline:
        _show_terms(pipeline.config)
        summary = pipeline.execute()
    if "arms" in summary:
        _print_table(summary)
    else:
        _print_summary(summary)
        typer.echo("not evaluated: name a file of held-out rows in data.test")
    typer.echo(f"report: {pipeline.run.path('report.html')}")


def _with_min_ok(overrides: list[str] | None, min_ok: float | None) -> list[str]:
    chosen = [] if min_ok is None else [f"generate.min_ok={min_ok}"]
    return [*(overrides or []), *chosen]


def _load(config: Path, overrides: list[str] | None) -> Config:
    from mwalimu.config import load_config

    return load_config(config, overrides or [])


def _refuse_several(verb: str | None) -> None:
    from mwalimu.errors import ConfigError
    from mwalimu.run import launched

    if launched()[1] > 1 and verb not in (None, "finetune"):
        raise ConfigError(
            f"'{verb}' is for one process",
            where="torchrun",
            fix=f"run 'mwalimu {verb}' without it; 'finetune' is what several processes share",
        )


@contextmanager
def _pipeline(config: Path, run: Path | None, overrides: list[str] | None) -> Iterator[Pipeline]:
    """Of several processes the first one holds the run folder and shows how far they are."""
    from mwalimu.pipeline import Pipeline, silent
    from mwalimu.progress import live_progress
    from mwalimu.run import exclusive, launched

    resolved = _load(config, overrides)
    root = run or Path("runs") / config.resolve().parent.name
    store = Path(".mwalimu") / "answers"
    if launched()[0]:
        yield Pipeline(resolved, root, store=store, progress=silent)
        return
    with exclusive(root, "run folder"), live_progress() as progress:
        yield Pipeline(resolved, root, store=store, progress=progress)


def _print_summary(summary: dict[str, Any]) -> None:
    from mwalimu.run import launched

    if launched()[0]:
        return
    for key, value in summary.items():
        if isinstance(value, str | int | float):
            typer.echo(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")


def _print_table(summary: dict[str, Any]) -> None:
    from rich.console import Console

    from mwalimu.report import render_table

    Console().print(render_table(summary))


def main(command: Callable[[], Any] = app) -> None:
    """The console entry: an error becomes one line on stderr and its exit code."""
    from mwalimu.errors import MwalimuError

    # Waiting OpenMP threads that spin for long take the cores from whatever else runs; those that
    # never spin make small models wait for each other.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        command()
    except MwalimuError as error:
        _fail(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; run the same command again to go on", 130)
    except Exception as error:
        _fail(
            f"error: unexpected {type(error).__name__}: {error}; "
            "this is a bug of mwalimu, run again with --debug and report it",
            70,
        )


def _fail(line: str, code: int) -> None:
    if os.environ.get("MWALIMU_DEBUG"):
        import traceback

        traceback.print_exc()
    from mwalimu.run import launched

    rank, size = launched()
    print(f"process {rank + 1} of {size}: {line}" if rank else line, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
