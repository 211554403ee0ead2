"""The mass of the tokens that a server does not report beside its best ones."""

from __future__ import annotations

import math

ROUNDING = 1e-6
"""A log-probability in float32 is a difference of numbers around 16, whose last bit this is: a mass
below it cannot be told from none."""


def unreported_mass(reported: float, outside: int, least: float) -> float:
    """What is left of 1 after the `reported` mass, between the bounds that are known of it.

    Where it is lost in the rounding of the numbers, it is still known that none of the `outside`
    tokens is likelier than the last of the best, whose log-probability is `least`.
    """
    return min(max(1 - reported, ROUNDING), most_outside(outside, least))


def most_outside(outside: int, least: float) -> float:
    """The greatest mass that so many tokens can have, none of which is likelier than `least`."""
    return min(1.0, max(0, outside) * math.exp(min(0.0, least)))
