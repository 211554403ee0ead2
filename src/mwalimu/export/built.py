"""What an exporter hands back of the model that it put into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mwalimu.data import context


@dataclass(frozen=True, slots=True)
class Built:
    """`weights` is the file or folder (relative) that the runtime loads; `context` counts ids."""

    weights: str
    context: int


def context_of(source: Path) -> int:
    """Ids that the student reads at most."""
    from transformers import AutoConfig

    return context.context_of(AutoConfig.from_pretrained(source))


def versions_of(*packages: str) -> dict[str, str | None]:
    """The installed ones; None where a package is missing."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
