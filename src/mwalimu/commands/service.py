"""What the commands of the job service share: where it is, and how what it tells is shown."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mwalimu.jobs.client import Client
    from mwalimu.jobs.client.told import JobInfo

Url = Annotated[
    str | None,
    typer.Option("--url", help="of the service [default: MWALIMU_URL, else the local one]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="everything, for programs")]
JobName = Annotated[str, typer.Argument(help="the job's name")]


@contextmanager
def connected(url: str | None) -> Iterator[Client]:
    """The token is MWALIMU_TOKEN, or the local service's."""
    from mwalimu.jobs.client import Client

    with Client.connect(url) as client:
        yield client


def show_json(told: Any) -> None:
    import json

    typer.echo(json.dumps(_as_json(told), indent=1, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """One line a row, the columns side by side; without colours, so that it can be cut up."""
    from mwalimu.jobs.client.watching import plain

    cells = [[*columns], *([plain(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def show_facts(facts: dict[str, object]) -> None:
    """One a line; what is not known is left out."""
    from mwalimu.jobs.client.watching import plain

    for name, value in facts.items():
        if value not in (None, "", {}, ()):
            typer.echo(f"{name}: {plain(str(value))}")


def when(seconds: float | None) -> str:
    """In this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def lasted(job: JobInfo) -> str:
    """From its start to its end, or to now."""
    if job.started is None:
        return ""
    seconds = int((job.ended or time.time()) - job.started)
    return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


def _as_json(told: Any) -> Any:
    if isinstance(told, list):
        return [_as_json(one) for one in told]
    return dataclasses.asdict(told) if dataclasses.is_dataclass(told) else told  # type: ignore[arg-type]
