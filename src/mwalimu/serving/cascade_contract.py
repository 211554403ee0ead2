"""What stands behind the student: somebody who answers where it is not sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mwalimu.serving.completion import Completion


@dataclass(frozen=True, slots=True)
class Escalated:
    """An answer that replaces the student's; `usd` is None where the price is not known."""

    text: str
    finish_reason: str
    usd: float | None
    model: str


class Cascade(Protocol):
    """`counts` says what became of each answer it saw, by name."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def spent_usd(self) -> float:
        """Of all lives of the server on its traffic folder."""

    async def second(
        self, messages: Sequence[Mapping[str, Any]], student: Completion, *, max_tokens: int
    ) -> Escalated | None:
        """The answer to give instead of the student's; None keeps that one."""
        ...
