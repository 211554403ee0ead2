"""What differs between providers: where a request goes, how it is written, what an answer means."""

from __future__ import annotations

import os
from typing import Protocol

import orjson
from multidict import CIMultiDict
from yarl import URL

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json
from mwalimu.errors import ConfigError, TeacherRefusesKey
from mwalimu.teachers.base import Capabilities, Completion, Request
from mwalimu.telemetry.redaction import hide

COUNT_CAP = 1 << 30  # tokens; a server that says more says nothing


class Wire(Protocol):
    """One provider's dialect. It opens no connection; one wire serves one teacher."""

    capabilities: Capabilities
    model_setting: str  # the key of distill.yaml that a 404 is about

    def url(self, config: TeacherConfig) -> URL:
        """Where requests go. Raises ConfigError for an address that is none."""

    def models_url(self, config: TeacherConfig) -> URL | None:
        """A cheap page that needs the same key, None where there is none."""

    def model_names(self, raw: bytes) -> list[str]:
        """What that page lists; empty where it does not tell what may be asked."""

    async def headers(self, config: TeacherConfig) -> CIMultiDict[str]:
        """The same object until something in it changes. Raises TeacherRefusesKey."""

    def body(self, request: Request, config: TeacherConfig) -> Json:
        """Raises RowError for what this provider cannot be asked."""

    def is_answer(self, raw: bytes) -> bool:
        """Whether a 200's body is one, in which case `parse` finds its meaning."""

    def parse(self, raw: bytes, config: TeacherConfig) -> Completion:
        """Raises ValueError, KeyError, TypeError or IndexError."""


def base_url(config: TeacherConfig, default: str = "") -> URL:
    """`teacher.base_url`, checked, without a slash at its end. Raises ConfigError."""
    text = config.base_url or default
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            "is no http or https address", where="teacher.base_url", fix="https://host/v1"
        )
    if url.user or url.password:
        raise ConfigError(
            "holds a user or a password",
            where="teacher.base_url",
            fix="put the key into a variable and name that in teacher.api_key_env",
        )
    return url.with_path(url.path.rstrip("/")).with_query(url.query)


def under(url: URL, *parts: str) -> URL:
    """`url` with a longer path; its query is kept, since some gateways carry a version there."""
    return url.joinpath(*parts).with_query(url.query)


def api_key(config: TeacherConfig) -> str | None:
    """From the environment; None when the config names no variable.

    Raises:
        TeacherRefusesKey: it names one that is not set, or that no header can carry.
    """
    name = config.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        problem = "is not set"
    elif not key.isascii() or not key.isprintable():
        problem = "holds characters that a header cannot carry"
    else:
        hide(key)
        return key
    raise TeacherRefusesKey(
        f"the variable of the key, ${name}, {problem}",
        where="teacher.api_key_env",
        fix=f"export {name}=...",
    )


def json_headers(**named: str) -> CIMultiDict[str]:
    """`x_api_key="..."` -> `X-Api-Key: ...`, beside the content type."""
    headers = CIMultiDict({"Content-Type": "application/json"})
    headers.update({name.replace("_", "-"): value for name, value in named.items()})
    return headers


def with_extra(body: Json, config: TeacherConfig) -> Json:
    """`teacher.extra_body` has the last word; None takes a field out."""
    for name, value in config.extra_body.items():
        if value is None:
            body.pop(name, None)
        else:
            body[name] = value
    return body


def listed_models(raw: bytes) -> list[str]:
    """The names of `{"data": [{"id": ...}]}`, or of the bare list; none in anything else."""
    try:
        body = orjson.loads(raw)
        models = body if isinstance(body, list) else body["data"]
        return [str(model["id"]) for model in models]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []


def tokens(usage: object, *names: str) -> int:
    """The first of these counts that can be one, from a server's usage; 0 if none is."""
    if isinstance(usage, dict):
        for name in names:
            value = usage.get(name)
            if isinstance(value, (int, float)) and 0 < value < COUNT_CAP:
                return int(value)
    return 0
