"""`mwalimu jobs`: jobs of the service, from another process or another machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mwalimu.commands import service_shelf
from mwalimu.commands.places import require_job
from mwalimu.commands.service import (
    AsJson,
    JobName,
    Url,
    connected,
    lasted,
    show_facts,
    show_json,
    show_table,
    when,
)
from mwalimu.commands.working import JOB, ConfigFile, Overrides
from mwalimu.jobs.paging import LONGEST_PAGE

if TYPE_CHECKING:
    from mwalimu.jobs.client import Client
    from mwalimu.jobs.client.told import JobInfo

app = typer.Typer(
    name="jobs",
    help="Jobs of the service: submit, watch, stop, take up again.",
    no_args_is_help=True,
)
app.add_typer(service_shelf.models)
app.add_typer(service_shelf.datasets)


@app.command()
def submit(
    config: ConfigFile = JOB,
    set_: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", help="of the job [default: drawn]")] = None,
    title: Annotated[str, typer.Option("--title", help="what the job is called in lists")] = "",
    experiment: Annotated[str, typer.Option("--experiment", help="what it belongs to")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="key=value")] = None,
    priority: Annotated[int, typer.Option("--priority", help="the higher the sooner")] = 0,
    resource: Annotated[str, typer.Option("--resource", help="the kind of slot: cpu, gpu")] = "cpu",
    registers: Annotated[
        list[str] | None,
        typer.Option("--registers", help="names for the student's and the baseline's model"),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="an address that is told of its end")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="until it has ended; fails as it does")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Sends the job to the service; its files of rows are uploaded first."""
    submission = {
        "kind": "distillation",
        "name": name,
        "display_name": title,
        "experiment_name": experiment,
        "tags": _tags(tag or []),
        "priority": priority,
        "resource": resource,
        "registers": registers,
        "webhook": webhook,
        "config": _raw_config(config, set_ or []),
    }
    with connected(url) as client:
        job = client.submit_with_files(submission, base=config.resolve().parent)
        if not wait:
            _show_submitted(job, as_json)
            return
        typer.echo(f"{job.name} {job.studio_url}".rstrip(), err=True)
        _wait(client, job.name, as_json)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option("--state", help="as Running, Failed")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="the name of a token")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="distillation, evaluation")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=LONGEST_PAGE)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """The newest first."""
    with connected(url) as client:
        found = client.jobs(state=state, owner=owner, kind=kind, limit=limit).jobs
    if as_json:
        show_json(found)
        return
    columns = ("NAME", "STATE", "KIND", "OWNER", "CREATED", "LASTED", "TITLE")
    rows = [
        (job.name, job.state, job.kind, job.owner, when(job.created), lasted(job), job.display_name)
        for job in found
    ]
    show_table(columns, rows)


@app.command()
def show(job: JobName, url: Url = None, as_json: AsJson = False) -> None:
    """One job: its state, how far it is, what it has cost."""
    with connected(url) as client:
        found = client.job(job)
        if as_json:
            show_json(found)
            return
        show_facts(_facts(found))
        for stage in client.progress(job).get("stages", []):
            counts = f"{stage['done']}/{stage['total']}" if stage["total"] else ""
            show_facts({f"  {stage['stage']}": f"{stage['state']} {counts}".rstrip()})


@app.command()
def logs(
    job: JobName,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="until it has ended")] = False,
    url: Url = None,
) -> None:
    """What it has written."""
    with connected(url) as client:
        pieces = client.follow_log(job) if follow else iter([client.log(job)])
        _show_lines(pieces)


@app.command()
def metrics(job: JobName, url: Url = None) -> None:
    """The lines of metrics.jsonl: loss, learning rate, tokens a second, step by step."""
    import json

    with connected(url) as client:
        for line in client.metrics(job).lines:
            typer.echo(json.dumps(line, ensure_ascii=False))


@app.command()
def events(
    job: JobName,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="until it has ended")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """What has happened to it, a line an event."""
    import dataclasses
    import json

    with connected(url) as client:
        for event in client.follow_events(job=job) if follow else client.events(job=job):
            if as_json:
                typer.echo(json.dumps(dataclasses.asdict(event), ensure_ascii=False))
            else:
                facts = " ".join(f"{k}={v}" for k, v in event.data.items() if v != "")
                show_facts({when(event.time): f"{event.kind} {facts}"})


@app.command()
def wait(job: JobName, url: Url = None, as_json: AsJson = False) -> None:
    """Until it has ended; a job that has failed ends this with its exit code."""
    with connected(url) as client:
        _wait(client, job, as_json)


@app.command()
def cancel(job: JobName, url: Url = None) -> None:
    """Stops it; what it has done is kept for a resume."""
    with connected(url) as client:
        _show_state(client.cancel(job))


@app.command()
def pause(job: JobName, url: Url = None) -> None:
    """Stops it for now and frees its slot."""
    with connected(url) as client:
        _show_state(client.pause(job))


@app.command()
def resume(job: JobName, url: Url = None) -> None:
    """Goes on where it was, from Paused, Failed or Canceled."""
    with connected(url) as client:
        _show_state(client.resume(job))


@app.command()
def delete(job: JobName, url: Url = None) -> None:
    """Deletes it with its files; models that it registered stay."""
    with connected(url) as client:
        client.delete(job)
    typer.echo(f"{job} is deleted")


@app.command()
def download(
    job: JobName,
    paths: Annotated[list[str] | None, typer.Argument(help="as report.html [default: all]")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="[default: a folder of its name]")] = None,
    url: Url = None,
) -> None:
    """The files of its run, checked by their hashes."""
    from mwalimu.jobs.client.streams import inside

    folder = to or Path(job)
    with connected(url) as client:
        for path in paths or [file.path for file in client.artefacts(job)]:
            typer.echo(client.download(job, path, inside(folder, path)))


def _raw_config(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """As it is written: what names mean is the service's to say."""
    import json

    from mwalimu.config import apply_override
    from mwalimu.config.loading import read_mapping
    from mwalimu.errors import ConfigError

    require_job(path)
    raw = read_mapping(path, fix="make one with 'mwalimu init DIR'")
    for override in overrides:
        apply_override(raw, override)
    try:
        found: dict[str, Any] = json.loads(json.dumps(raw, allow_nan=False))
    except (TypeError, ValueError) as error:
        what = f"holds a value that JSON does not know ({error})"
        raise ConfigError(what, where=str(path), fix="quote it") from None
    return found


def _tags(given: Sequence[str]) -> dict[str, str]:
    from mwalimu.errors import ConfigError

    for tag in given:
        if not tag.partition("=")[1]:
            raise ConfigError(f"{tag!r} is not followed by =value", where="--tag")
    return {key: value for key, _, value in (tag.partition("=") for tag in given)}


def _wait(client: Client, name: str, as_json: bool) -> None:
    from mwalimu.jobs.client.problems import StoppedWaiting
    from mwalimu.jobs.client.watching import require_completed, watch
    from mwalimu.progress import live_progress

    try:
        with live_progress() as progress:
            ended = watch(client, name, progress=progress)
    except KeyboardInterrupt:
        raise StoppedWaiting("goes on", where=name, fix=f"see 'mwalimu jobs wait {name}'") from None
    if as_json:
        show_json(ended)
    else:
        show_facts(_facts(ended))
    require_completed(ended)


def _show_submitted(job: JobInfo, as_json: bool) -> None:
    if as_json:
        show_json(job)
    else:
        show_facts({"submitted": job.name, "dashboard": job.studio_url})
        typer.echo(f"next: mwalimu jobs wait {job.name}")


def _show_state(job: JobInfo) -> None:
    show_facts({job.name: job.state})


def _show_lines(pieces: Any) -> None:
    """As they come, without what a terminal would obey."""
    from mwalimu.jobs.client.plans import LogLines
    from mwalimu.jobs.client.watching import plain

    lines = LogLines("")
    for piece in pieces:
        for line in lines.taken(piece):
            typer.echo(plain(line.text))
    for line in lines.rest():
        typer.echo(plain(line.text))


def _facts(job: JobInfo) -> dict[str, object]:
    from mwalimu.jobs.client.problems import of_job

    return {
        "name": job.name,
        "state": job.state,
        "title": job.display_name,
        "experiment": job.experiment_name,
        "owner": job.owner,
        "created": when(job.created),
        "lasted": lasted(job),
        "attempts": job.attempts if job.attempts > 1 else None,
        "spent": None if job.spent_usd is None else f"${job.spent_usd:.4f}",
        "models": ", ".join(job.registers),
        "error": of_job(job.error, "") if job.error else None,
        "dashboard": job.studio_url,
    } | {f"  {key}": value for key, value in job.summary.items() if not isinstance(value, dict)}
