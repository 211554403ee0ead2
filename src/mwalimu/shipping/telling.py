"""An error that goes through a file, from another process or to a later life."""

from __future__ import annotations

from collections.abc import Mapping

from mwalimu import errors
from mwalimu.errors import MwalimuError


def told(error: MwalimuError) -> dict[str, str]:
    kind = type(error).__name__
    return {"kind": kind, "what": error.what, "where": error.where, "fix": error.fix}


def rebuilt(raw: Mapping[str, str]) -> MwalimuError:
    """The error that `told` told; one of no kind known here is of the plain kind."""
    kind: type[MwalimuError] = getattr(errors, raw["kind"], MwalimuError)
    return kind(raw["what"], where=raw["where"], fix=raw["fix"])
