"""The keys that clients may use, from a file or the environment; only their digests are kept."""

from __future__ import annotations

import os
from pathlib import Path

from mwalimu.errors import ConfigError
from mwalimu.serving.guard import digest

VARIABLE = "MWALIMU_SERVE_KEYS"
_SHORTEST = 16


def read_keys(file: Path | None) -> frozenset[bytes]:
    """SHA-256 digests of the keys: one a line of `file`, and those of VARIABLE, with commas.

    Raises:
        ConfigError: the file cannot be read or has none, or a key is too short to be a secret.
    """
    keys = [key.strip() for key in os.environ.get(VARIABLE, "").split(",")]
    where = VARIABLE
    if file is not None:
        where = str(file)
        try:
            keys += [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be read ({type(error).__name__})", where=where) from None
    found = [key for key in keys if key and not key.startswith("#")]
    if file is not None and not found:
        raise ConfigError("holds no key", where=where, fix="write one a line")
    if any(len(key) < _SHORTEST for key in found):
        raise ConfigError(
            f"a key has fewer than {_SHORTEST} characters",
            where=where,
            fix="make one with: openssl rand -hex 24",
        )
    return frozenset(digest(key) for key in found)
