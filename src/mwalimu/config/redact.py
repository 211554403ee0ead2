"""A config as it may be copied into a run folder: without what is secret in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote

from mwalimu.config.section import Section
from mwalimu.config.settings import Config

HIDDEN = "[hidden]"
_SECRET = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)
_OPEN_QUERY = {"api-version"}


def public_config(config: Config) -> dict[str, Any]:
    """The plain mapping; users, passwords and queries of addresses and named secrets hidden."""
    found: dict[str, Any] = _public(config.model_dump(mode="json"))
    return found


def holds_secrets(section: Section) -> bool:
    """Whether `public_config` would hide something of it."""
    plain = section.model_dump(mode="json")
    return bool(_public(plain) != plain)


def secrets_of(body: Any, *, named: bool = False) -> Iterator[str]:
    """The texts in `extra_body` whose name, or that of what they are in, says that they are."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield from secrets_of(value, named=named or bool(_SECRET.search(str(name))))
    elif isinstance(body, list | tuple):
        for value in body:
            yield from secrets_of(value, named=named)
    elif named and isinstance(body, str) and body:
        yield body


def _public(value: Any) -> Any:
    if isinstance(value, list):
        return [_public(item) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {name: _public(item) for name, item in value.items()}
    if isinstance(shown.get("base_url"), str):
        shown["base_url"] = _address(shown["base_url"])
    if "extra_body" in shown:
        hidden = set(secrets_of(shown["extra_body"]))
        shown["extra_body"] = _without(shown["extra_body"], hidden)
    return shown


def _address(url: str) -> str:
    """Without its user and password; the values of its query hidden."""
    scheme, mark, rest = url.partition("://")
    place, question, query = rest.partition("?")
    shown = "&".join(
        f"{quote(name)}={quote(value) if name in _OPEN_QUERY else HIDDEN}"
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    # A password may hold any character, a slash too: all before the last @ goes.
    return f"{scheme}{mark}{place.rpartition('@')[2]}{question}{shown}"


def _without(value: Any, hidden: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(item, hidden) for name, item in value.items()}
    if isinstance(value, list):
        return [_without(item, hidden) for item in value]
    return HIDDEN if isinstance(value, str) and value in hidden else value
