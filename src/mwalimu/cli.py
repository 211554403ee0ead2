"""The commands put together, and what an error becomes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mwalimu.commands import (
    buying,
    completion,
    data,
    export,
    jobs,
    looking,
    serve,
    server,
    service_jobs,
    signals,
    stages,
    tuning,
    upkeep,
    verbs,
)


class Verbs(verbs.Verbs):
    apps = (
        jobs.app,
        stages.app,
        buying.app,
        tuning.app,
        export.app,
        serve.app,
        server.app,
        looking.app,
        signals.app,
        data.app,
        upkeep.app,
        upkeep.top,
        service_jobs.app,
        completion.app,
    )


app = typer.Typer(
    name="mwalimu",
    cls=Verbs,
    help="Distil a large language model into a small one of your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
STOPPED = 130  # by Ctrl-C; typer makes a KeyboardInterrupt an exit with this code


def _say_version(asked: bool) -> None:
    if asked:
        from mwalimu import __version__

        typer.echo(f"mwalimu {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="print it")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="append what happens there, as lines of JSON; or MWALIMU_LOG"),
    ] = None,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="prompts and answers too; or MWALIMU_LOG_TEXT=1")
    ] = False,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", help="a file for Prometheus, written now and then"),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=1, max=65535, help="of loopback, for Prometheus"),
    ] = None,
) -> None:
    os.environ["MWALIMU_DEBUG"] = "1" if debug else os.environ.get("MWALIMU_DEBUG", "")
    if log is not None:
        os.environ["MWALIMU_LOG"] = str(log)
    if log_text:
        os.environ["MWALIMU_LOG_TEXT"] = "1"
    _refuse_several(context.invoked_subcommand)
    _begin_telemetry(context.invoked_subcommand, metrics, metrics_port)


def _begin_telemetry(verb: str | None, metrics: Path | None, port: int | None) -> None:
    from mwalimu.run import launched
    from mwalimu.telemetry import context, setting_up

    if launched()[0]:  # one file and one port, of the first of several processes
        metrics = port = None
    setting_up.begin(metrics_file=metrics, metrics_port=port)
    if setting_up.is_on():
        context.bind_process(command=verb)


def _refuse_several(verb: str | None) -> None:
    from mwalimu.errors import ConfigError
    from mwalimu.run import launched

    if launched()[1] > 1 and verb not in (None, "finetune"):
        raise ConfigError(
            f"'{verb}' is for one process",
            where="torchrun",
            fix=f"run 'mwalimu {verb}' without it; 'finetune' is what several processes share",
        )


def main(command: Callable[[], Any] = app) -> None:
    """An error becomes one line on stderr and its exit code."""
    # Waiting OpenMP threads that spin for long take the cores from whatever else runs; those that
    # never spin make small models wait for each other.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from mwalimu.telemetry import setting_up

    try:
        _run(command)
    except SystemExit as exit_:
        setting_up.say_end(exit_.code)
        raise
    finally:
        setting_up.end()


def _run(command: Callable[[], Any]) -> None:
    from mwalimu.errors import BUG, explained

    try:
        command()
    except SystemExit as exit_:
        if exit_.code == STOPPED:
            _fail("stopped; run the same command again to go on", STOPPED)
        raise
    except Exception as error:
        if known := explained(error):
            _fail(f"error: {known}", known.exit_code)
        _fail(
            f"error: unexpected {type(error).__name__}: {error}; "
            "this is a bug of mwalimu, run again with --debug and report it",
            BUG,
        )


def _fail(line: str, code: int) -> None:
    """Without keys, which what a library raises may hold."""
    from mwalimu.run import launched
    from mwalimu.telemetry.redaction import redact

    if os.environ.get("MWALIMU_DEBUG"):
        import traceback

        print(redact(traceback.format_exc()), end="", file=sys.stderr)
    rank, size = launched()
    line = redact(line)
    print(f"process {rank + 1} of {size}: {line}" if rank else line, file=sys.stderr)
    sys.exit(code)
