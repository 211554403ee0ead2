"""The table of faults, and what a client has to make of each kind.

A kind is a small function of the exchange, registered under its name by `fault`, `body` or
`status`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.synthesis.faulty_server import Exchange

Play = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True)
class Effect:
    """What comes of a fault that a client handles rightly.

    Exactly one of: nothing at all; `retried`; a row's `status`; `longer`, a truncated answer that
    is asked once more; `stops`, the error that ends the run. `unsure`: the work may have been done
    though no answer came. `stored`: what came is kept, and so never asked again.
    """

    retried: bool = False
    unsure: bool = False
    busy: bool = False  # waited out as long as `outage_s`, not counted by `max_retries`
    exact: bool = True  # the number of retries is known
    status: str = ""
    stored: bool = False
    longer: bool = False
    stops: str = ""
    billed: bool = False
    says: str = ""  # a part of the reason of the retry, where it tells which guard held


NOTHING = Effect(stored=True, billed=True)
RETRY = Effect(retried=True)
UNSURE = Effect(retried=True, unsure=True, billed=True)
BUSY = Effect(retried=True, busy=True)
LONGER = Effect(longer=True, stored=True, billed=True)


def row(status: str, *, stored: bool, billed: bool | None = None) -> Effect:
    return Effect(status=status, stored=stored, billed=stored if billed is None else billed)


def stop(error: str = "TeacherError") -> Effect:
    return Effect(stops=error)


@dataclass(frozen=True)
class Fault:
    """`slow`: it takes a second or more each time. `settings` of the teacher that it needs."""

    name: str
    play: Play
    effect: Effect
    slow: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def billed(self) -> bool:
        return self.effect.billed

    async def __call__(self, exchange: Exchange) -> None:
        await self.play(exchange)


TABLE: dict[str, Fault] = {}


def fault(effect: Effect, *, slow: bool = False, **settings: Any) -> Callable[[Play], Play]:
    """Registers a function that talks to the connection itself."""

    def register(play: Play) -> Play:
        name = play.__name__
        assert name not in TABLE
        TABLE[name] = Fault(name, play, effect, slow, settings)
        return play

    return register


def body(effect: Effect, **settings: Any) -> Callable[[Callable[[Exchange], Any]], Any]:
    """Registers a function that gives the body of a 200: bytes, or what becomes JSON."""

    def register(make: Callable[[Exchange], Any]) -> Any:
        async def play(x: Exchange) -> None:
            value = make(x)
            await x.reply(value if isinstance(value, bytes) else json.dumps(value).encode())

        play.__name__ = make.__name__
        fault(effect, **settings)(play)
        return make

    return register


def status(
    name: str,
    code: int,
    effect: Effect,
    answer: Any = None,
    headers: Callable[[Exchange], Mapping[str, str]] | Mapping[str, str] | None = None,
    *,
    slow: bool = False,
) -> None:
    """Registers a response of one status."""
    said = {"error": {"message": "no\n\twith\x1b[31m colour", "code": code}}
    raw = json.dumps(said if answer is None else answer).encode()

    async def play(x: Exchange) -> None:
        told = headers(x) if callable(headers) else headers or {}
        await x.reply(raw, status=code, headers=told)

    play.__name__ = name
    fault(effect, slow=slow)(play)
