"""A job's config as it was asked for: names of datasets and models where places of theirs stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mwalimu.config import build_config, public_config
from mwalimu.data.record import Json
from mwalimu.jobs.records import RegisteredModel, Spec
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.store.datasets import DatasetStore
from mwalimu.jobs.store.models import ModelStore
from mwalimu.jobs.workspace import Workspace


def told_config(
    spec: Spec, workspace: Workspace, datasets: DatasetStore, models: ModelStore
) -> Json:
    """Without keys, and without any place on the server's disk."""
    root = str(workspace.root.absolute())
    names = {}
    for use in spec.uses:
        kind, _, name = use.partition(":")
        place = _file_of(datasets) if kind == "dataset" else _folder_of(models)
        try:
            names[f"{root}/{place(name)}"] = use
        except NotFound:
            continue  # deleted since
    config = spec.config
    if spec.kind == "distillation":
        config = public_config(build_config(config, base=workspace.nowhere))
    told: Json = _named(config, names, workspace)
    return told


def told_properties(
    model: RegisteredModel, workspace: Workspace, others: Iterable[RegisteredModel]
) -> Json:
    """What a model was registered with: by name what it was made of, if that is one of `others`."""
    root = str(workspace.root.absolute())
    names = {f"{root}/{one.folder}": f"model:{one.name}@{one.version}" for one in others}
    told: Json = _named(model.properties, names, workspace)
    return told


def _file_of(datasets: DatasetStore) -> Callable[[str], str]:
    return lambda name: datasets.get(*_version(name)).file


def _folder_of(models: ModelStore) -> Callable[[str], str]:
    return lambda name: models.get(*_version(name)).folder


def _version(name: str) -> tuple[str, int]:
    plain, _, version = name.rpartition("@")
    return plain, int(version)


def _named(value: Any, names: Mapping[str, str], workspace: Workspace) -> Any:
    if isinstance(value, str):
        return names.get(value, workspace.told(value))
    if isinstance(value, dict):
        return {key: _named(item, names, workspace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_named(item, names, workspace) for item in value]
    return value
