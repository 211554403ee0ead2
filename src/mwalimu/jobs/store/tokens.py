"""Tokens of the service: shown once when made, kept as SHA-256 digests only.

A token is 32 random bytes, so that a plain digest is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mwalimu.errors import ConfigError, MachineError, RunError
from mwalimu.jobs.records import Owner, Role
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.workspace import checked_name

PREFIX = "mw_"  # what scanners for leaked secrets look for
USED_EVERY = 60.0  # seconds; how coarse `last_used` is, so that a request is not a write


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of one; times are seconds since 1970."""

    name: str
    role: Role
    created: float
    expires: float | None
    last_used: float | None


class TokenStore:
    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    def make(self, name: str, role: Role, *, expires: float | None = None) -> str:
        """The token itself, which nothing can tell again.

        Raises:
            ConfigError: `name` is no name, or `expires` has passed.
            WrongState: there is a token of that name.
        """
        checked_name(name)
        now = self.clock()
        if expires is not None and expires <= now:
            raise ConfigError("has passed already", where="expires")
        token = PREFIX + secrets.token_urlsafe(32)
        try:
            with self.database.change() as db:
                db.execute(
                    "INSERT INTO tokens (name, role, digest, created, expires)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (name, role, _digest(token), now, expires),
                )
        except sqlite3.IntegrityError:
            raise WrongState(
                "there is a token of that name", where=name, fix="revoke it first"
            ) from None
        return token

    def find(self, token: str) -> Owner | None:
        """Whose it is; None if it is nobody's, was revoked or has expired."""
        digest, now = _digest(token), self.clock()
        with self.database.read() as db:
            row = db.execute("SELECT * FROM tokens WHERE digest = ?", (digest,)).fetchone()
        # The look-up is by a digest that no caller can steer; the comparison takes equal time.
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        if row["expires"] is not None and row["expires"] <= now:
            return None
        if row["last_used"] is None or row["last_used"] + USED_EVERY <= now:
            self._note_use(digest, now)
        return Owner(row["name"], Role(row["role"]))

    def _note_use(self, digest: bytes, now: float) -> None:
        """As far as it can be written: a full disk locks nobody out."""
        with suppress(MachineError, RunError), self.database.change() as db:
            db.execute("UPDATE tokens SET last_used = ? WHERE digest = ?", (now, digest))

    def all(self) -> list[Token]:
        """By name, the expired ones too."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT name, role, created, expires, last_used FROM tokens ORDER BY name"
            ).fetchall()
        return [Token(**{**row, "role": Role(row["role"])}) for row in rows]

    def revoke(self, name: str) -> None:
        """Works from the next request on. Raises NotFound."""
        with self.database.change() as db:
            if not db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
                raise NotFound("there is no token of that name", where=name)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
