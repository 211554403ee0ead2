"""`mwalimu export`: a run's student in the formats of the edge, measured, packed, verified."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwalimu.commands.places import require_run, run_folders

if TYPE_CHECKING:
    from rich.table import Table

    from mwalimu.config import TargetConfig


app = typer.Typer()


@app.command()
def export(
    run: Annotated[
        Path | None,
        typer.Argument(help="a run folder with a trained student", autocompletion=run_folders),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="safetensors, onnx, gguf, openvino, executorch, web")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="fp32, fp16, int8, int4; the format's own if left out"),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="the runtime's own name, such as Q4_K_M of gguf")
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="every precision of every format that is installed")
    ] = False,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="of the export that is picked, such as 2GB")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", help="of an answer, 95th percentile: 500ms or 2s")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="an export's folder: checks all its files")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as in --set export.threads=2")
    ] = None,
) -> None:
    """The student in the formats of the edge, each answering the test rows on its own runtime."""
    from mwalimu.errors import ConfigError

    if verify is not None:
        _verify(verify)
        return
    if run is None:
        raise ConfigError("names no run folder", where="export", fix="mwalimu export RUN --to onnx")
    limits = _limits(max_size, max_latency)
    summary = _exported(run, _targets(to, precision, scheme, sweep), [*limits, *(set_ or [])])
    show_exports(summary)
    from mwalimu.shipping.gate import require_made, require_passed

    if not (sweep and summary["exports"]):
        require_made(summary)
    require_passed(summary)


def _exported(
    run: Path, targets: Sequence[TargetConfig], overrides: Sequence[str]
) -> Mapping[str, Any]:
    """One process at a time in the run folder. The report, if there is one, tells of it at once."""
    from mwalimu import api
    from mwalimu.files import exclusive
    from mwalimu.progress import live_progress

    require_run(run)
    with exclusive(run, "run folder"), live_progress() as progress:
        summary = api.export(run, targets, overrides=overrides, progress=progress)
        api.report_of(run)
    return summary


def _verify(folder: Path) -> None:
    from mwalimu.runtimes import read_export

    export = read_export(folder, verify=True)
    typer.echo(f"{export.name}: {len(export.files)} files are as they were made")


def _targets(
    to: str | None, precision: str | None, scheme: str | None, sweep: bool
) -> Sequence[TargetConfig]:
    from pydantic import ValidationError

    from mwalimu.config import TargetConfig
    from mwalimu.errors import ConfigError
    from mwalimu.shipping import targets

    chosen = targets.sweep() if sweep else []
    if to is None:
        return chosen
    try:
        named = {"precision": precision, "scheme": scheme}
        raw = {"to": to} | {option: value for option, value in named.items() if value is not None}
        return [*chosen, TargetConfig.model_validate(raw)]
    except ValidationError as error:
        problem = error.errors()[0]
        option = problem["loc"][0] if problem["loc"] else "scheme"
        said = problem["msg"].removeprefix("Value error, ")
        said = said.replace("Input should be", f"{problem['input']!r} should be")
        raise ConfigError(said, where=f"--{option}") from None


def _limits(max_size: str | None, max_latency: str | None) -> list[str]:
    from mwalimu.finetune.footprint import parse_memory

    found = []
    if max_size is not None:
        found.append(f"export.max_size_mib={parse_memory(max_size) / 2**20}")
    if max_latency is not None:
        found.append(f"export.max_latency_s={_seconds(max_latency)}")
    return found


def _seconds(text: str) -> float:
    """Of 500ms or 2s. Raises ConfigError."""
    from mwalimu.errors import ConfigError

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"{text!r} is no time", where="--max-latency", fix="write 500ms or 2s")
    return float(found[1]) / (1000 if found[2].lower() == "ms" else 1)


def show_exports(summary: Mapping[str, Any]) -> None:
    """Every export in a line, what could not be made, and the pick."""
    from rich.console import Console

    if summary["exports"]:
        Console().print(_table(summary))
    for failure in summary["failed"]:
        typer.echo(f"not exported: {failure['name']}: {failure['why']}")
    typer.echo(f"pick: {summary['pick']['why']}")


def _table(summary: Mapping[str, Any]) -> Table:
    from rich.table import Table

    from mwalimu.report.wording import ms, number, p_value, percent

    table = Table(box=None, pad_edge=False)
    table.add_column("export", no_wrap=True)
    for title in ("MiB", "accuracy", "p", "same", "p95, ms", "tokens/s", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    for entry in (summary["student"], *summary["exports"]):
        performance, agreement = entry["performance"], entry.get("agreement")
        table.add_row(
            entry["name"],
            number(performance["size_mib"], 2),
            percent((entry["accuracy"] or {}).get("mean")),
            p_value(entry["p_adjusted"]) if agreement else "",
            percent(agreement["answers"]) if agreement else "",
            ms(performance["latency_p95_s"]),
            number(performance["tokens_per_s"], 1),
            number(performance["peak_memory_mib"] or entry["loaded_mib"], 0),
        )
    return table
