"""What to export: the config's targets, those of the command line, or all that can be made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mwalimu.config import PRECISIONS, Config, TargetConfig
from mwalimu.export.installed import missing_modules
from mwalimu.runtimes import FORMATS


def with_targets(config: Config, more: Sequence[TargetConfig]) -> Config:
    """The config with `more` after its own targets, each once."""
    by_name = {target.name: target for target in (*config.export.targets, *more)}
    export = config.export.model_copy(update={"targets": tuple(by_name.values())})
    return config.model_copy(update={"export": export})


def with_made(config: Config, summary: Mapping[str, Any]) -> Config:
    """The config with the targets that were made: a folder's config asks for what is there."""
    made = {entry["name"] for entry in summary["exports"]}
    targets = tuple(target for target in config.export.targets if target.name in made)
    return config.model_copy(
        update={"export": config.export.model_copy(update={"targets": targets})}
    )


def sweep() -> list[TargetConfig]:
    """Every precision of every format whose packages are installed, formats in their order.

    A format says itself which of them it has not; the stage lists those as not exported.
    """
    return [
        TargetConfig(to=format_, precision=precision)
        for format_ in FORMATS
        if not missing_modules(format_)
        for precision in PRECISIONS
    ]
