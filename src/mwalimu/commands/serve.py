"""`mwalimu serve`: an OpenAI-compatible server over a student."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from mwalimu.commands.places import require_run, run_folders

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    target: Annotated[
        Path,
        typer.Argument(
            help="a run folder, an export, or a model folder", autocompletion=run_folders
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", help="another than loopback needs keys")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", help="of the model to clients [default: the folder's]")
    ] = None,
    slots: Annotated[int, typer.Option("--slots", min=1, help="answers written at once")] = 8,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="of the runtime [default: its own]")
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="answers that may wait; more get 429")
    ] = 64,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="of one answer at most")
    ] = 1024,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="seconds a request may take")
    ] = 120.0,
    keys_file: Annotated[
        Path | None,
        typer.Option("--keys-file", help="one a line; also MWALIMU_SERVE_KEYS, with commas"),
    ] = None,
    runtime: Annotated[
        Literal["own", "vllm"], typer.Option("--runtime", help="own, or vLLM's server")
    ] = "own",
    fallback: Annotated[
        str | None,
        typer.Option("--fallback", help="who answers what the student doubts: teacher, or a model"),
    ] = None,
    below: Annotated[
        str, typer.Option("--below", help="the confidence, 0 to 1, under which it doubts")
    ] = "auto",
    margin: Annotated[
        float, typer.Option("--margin", help="of --below auto: points under the teacher, 0 to 1")
    ] = 0.01,
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", help="a hard cap on what the fallback costs")
    ] = None,
    fallback_timeout: Annotated[
        float, typer.Option("--fallback-timeout", help="seconds until the student's answer stays")
    ] = 20.0,
    traffic: Annotated[
        Path | None,
        typer.Option("--traffic", help="keep what was asked, for 'mwalimu run --from-traffic'"),
    ] = None,
    keep: Annotated[
        float, typer.Option("--keep", help="share of the questions without doubt to keep too")
    ] = 0.0,
) -> None:
    """An OpenAI-compatible server over a student, on any runtime it was exported to."""
    from mwalimu import api
    from mwalimu.errors import ConfigError

    if not target.is_dir():
        require_run(target)
    if fallback is None and (max_usd is not None or traffic is not None or keep):
        raise ConfigError(
            "belong to a teacher that is asked",
            where="--max-usd, --traffic and --keep",
            fix="add --fallback teacher, or leave them out",
        )
    if runtime == "vllm":
        if fallback is not None:
            raise ConfigError("has no --fallback", where="--runtime vllm", fix="leave one out")
        api.serve_by_vllm(target, host=host, port=port, name=name)
        return
    if fallback is None:
        _leave_out_what_is_not_needed(target)
    with ExitStack() as stack:
        cascade = None
        if fallback is not None:
            from mwalimu.serving.beside import cascade_beside
            from mwalimu.serving.cascade import CascadeOptions

            options = CascadeOptions(0.0, fallback, max_usd, fallback_timeout, traffic, keep)
            beside = cascade_beside(target, options, _note, below=below, margin=margin)
            cascade = stack.enter_context(beside)
        api.serve(
            target,
            host=host,
            port=port,
            name=name,
            slots=slots,
            threads=threads,
            queue=queue,
            max_tokens=max_tokens,
            timeout=timeout,
            keys_file=keys_file,
            cascade=cascade,
            on_started=lambda url, model: typer.echo(f"serving {model} at {url}"),
        )


def _leave_out_what_is_not_needed(target: Path) -> None:
    """An export is served in a third of the memory, and sooner, where its runtime is not torch."""
    from mwalimu.data.without_torch import leave_torch_out
    from mwalimu.runtimes import needs_torch

    if not needs_torch(target):
        leave_torch_out()


def _note(line: str) -> None:
    typer.echo(line, err=True)
