"""What a decoder answered to one prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completion:
    """`ids` are all that were generated, the ending one and those of a stop string included.

    `finish_reason` is "stop" or "length". `token_log_probs` are natural logarithms, one for each
    of `ids`, under the plain softmax at temperature 1, whatever the sampling; none at all where
    nobody asked for them.
    """

    ids: list[int]
    text: str
    finish_reason: str
    token_log_probs: list[float]
