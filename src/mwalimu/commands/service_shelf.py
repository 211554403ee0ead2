"""`mwalimu jobs models` and `mwalimu jobs datasets`: what the service keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mwalimu.commands.service import AsJson, Url, connected, show_facts, show_json, show_table, when

models = typer.Typer(name="models", help="Models that jobs have registered.")
datasets = typer.Typer(name="datasets", help="Files of rows that jobs can name.")

ModelName = Annotated[str, typer.Argument(help="the model's name")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="[default: the newest]")]
Task = Annotated[str, typer.Option("--task", help="by whose rules the rows are checked")]


@models.command("list")
def list_models(url: Url = None, as_json: AsJson = False) -> None:
    """All models and versions."""
    with connected(url) as client:
        found = client.models()
    if as_json:
        show_json(found)
        return
    rows = [(m.name, m.version, m.job, when(m.created)) for m in found]
    show_table(("NAME", "VERSION", "JOB", "CREATED"), rows)


@models.command("show")
def show_model(
    model: ModelName, version: Version = None, url: Url = None, as_json: AsJson = False
) -> None:
    """One model."""
    with connected(url) as client:
        found = client.model(model, version=version)
    if as_json:
        show_json(found)
        return
    show_facts(
        {"name": found.name, "version": found.version, "job": found.job}
        | {"created": when(found.created)}
        | {key: value for key, value in found.properties.items() if isinstance(value, str | int)}
    )


@models.command("register")
def register_model(
    model: ModelName,
    job: Annotated[str, typer.Argument(help="a finished job")],
    url: Url = None,
) -> None:
    """Gives the student of a finished job a name."""
    with connected(url) as client:
        found = client.register(model, job)
    typer.echo(f"{found.name}@{found.version}")


@models.command("download")
def download_model(
    model: ModelName,
    version: Version = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="a new folder [default: the model's name]")
    ] = None,
    url: Url = None,
) -> None:
    """Its folder: weights, tokenizer, chat template."""
    with connected(url) as client:
        typer.echo(client.download_model(model, to or Path(model), version=version))


@models.command("evaluate")
def evaluate_model(
    model: ModelName,
    test_data: Annotated[str, typer.Argument(help="a JSONL file, or dataset:NAME")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="as accuracy [default: all]")
    ] = None,
    version: Version = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Asks it the rows of a file, and waits for the scores."""
    from mwalimu.azure.model_operations import ModelOperations

    with connected(url) as client:
        operations = ModelOperations(client)
        found = operations.evaluate(model, test_data, metric, version=version)
    if as_json:
        show_json(found)
    else:
        show_facts(found)


@models.command("delete")
def delete_model(
    model: ModelName,
    version: Annotated[int, typer.Argument(min=1)],
    url: Url = None,
) -> None:
    """Deletes one version; for admins."""
    with connected(url) as client:
        client.delete_model(model, version)
    typer.echo(f"{model}@{version} is deleted")


@datasets.command("list")
def list_datasets(url: Url = None, as_json: AsJson = False) -> None:
    """All datasets."""
    with connected(url) as client:
        found = client.datasets()
    if as_json:
        show_json(found)
        return
    rows = [(d.name, d.version, d.task, d.rows, d.size, d.owner, when(d.created)) for d in found]
    show_table(("NAME", "VERSION", "TASK", "ROWS", "BYTES", "OWNER", "CREATED"), rows)


@datasets.command("upload")
def upload_dataset(
    name: Annotated[str, typer.Argument(help="what jobs call it, as dataset:NAME")],
    file: Annotated[Path, typer.Argument(help="JSONL")],
    task: Task = "generic",
    url: Url = None,
) -> None:
    """Rows that are checked first; equal bytes are the same version."""
    with connected(url) as client:
        found = client.upload(name, _there(file), task=task)
    typer.echo(f"dataset:{found.name}@{found.version}  {found.rows} rows")


@datasets.command("validate")
def validate_dataset(
    file: Annotated[Path, typer.Argument(help="JSONL")], task: Task = "generic", url: Url = None
) -> None:
    """The check of an upload; nothing is kept."""
    with connected(url) as client:
        show_json(client.validate(_there(file), task=task))


@datasets.command("delete")
def delete_dataset(
    name: Annotated[str, typer.Argument(help="the dataset's name")], url: Url = None
) -> None:
    """Deletes it, unless a job still needs it."""
    with connected(url) as client:
        client.delete_dataset(name)
    typer.echo(f"{name} is deleted")


def _there(file: Path) -> Path:
    from mwalimu.errors import ConfigError

    if not file.is_file():
        raise ConfigError("no such file", where=str(file))
    return file
