"""Entra tokens for Azure: fetched once for all workers, renewed before they end."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from typing import Any

from mwalimu.errors import MissingDependency, TeacherRefusesKey
from mwalimu.teachers.base import TransientError
from mwalimu.teachers.status import clean
from mwalimu.telemetry.redaction import hide

TOKEN_ENV = "AZURE_OPENAI_AD_TOKEN"
RENEW_S = 300.0  # before the end
AGAIN_S = 30.0  # after a renewal that failed while the old token holds


class EntraToken:
    """The environment's token where there is one, else `azure.identity`'s default credential.

    A token of the environment ends after an hour or so, and nobody renews it.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self._credential: Any = None
        self._token = ""
        self._ends_at = 0.0
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Raises MissingDependency, TeacherRefusesKey, or TransientError when Entra is away."""
        if time.time() < self._renew_at:
            return self._token
        async with self._lock:
            if time.time() >= self._renew_at:
                await self._renew()
        return self._token

    async def _renew(self) -> None:
        try:
            # In a thread: some of its sources start a process, others ask a server.
            token, ends_at = await asyncio.to_thread(self._fetch)
        except (TransientError, TeacherRefusesKey):
            if time.time() >= self._ends_at:
                raise
            self._renew_at = min(self._ends_at, time.time() + AGAIN_S)
            return
        hide(token)
        self._token, self._ends_at = token, ends_at
        self._renew_at = max(ends_at - RENEW_S, time.time() + AGAIN_S)

    def _fetch(self) -> tuple[str, float]:
        if token := os.environ.get(TOKEN_ENV, "").strip():
            return token, float("inf")
        identity = _azure_identity()
        if self._credential is None:
            self._credential = identity.DefaultAzureCredential()
        refused = importlib.import_module("azure.core.exceptions").ClientAuthenticationError
        try:
            token = self._credential.get_token(self.scope)
        except refused as error:
            raise TeacherRefusesKey(
                f"Entra gave no token ({clean(str(error))})",
                where="teacher.auth",
                fix="log in with 'az login', or use a key: teacher.auth: key",
            ) from None
        except Exception as error:
            raise TransientError(f"Entra is away ({type(error).__name__})") from None
        return str(token.token), float(token.expires_on)


def _azure_identity() -> Any:
    try:
        return importlib.import_module("azure.identity")
    except ImportError:
        raise MissingDependency(
            f"an Entra token needs the package azure-identity, or a token in ${TOKEN_ENV}",
            where="teacher.auth",
            fix="pip install 'mwalimu[azure]'",
        ) from None
