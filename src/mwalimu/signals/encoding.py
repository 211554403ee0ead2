"""What an encoding is: its parameters, its arrays in a shard, and the way there and back.

Shapes: n tokens of a row, N tokens of all rows given, E their entries, K entries of the fullest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from mwalimu.errors import TeacherError
from mwalimu.signals.signal import (
    Array,
    Batch,
    Dense,
    Hidden,
    Realised,
    Sampled,
    Signal,
    TopK,
)

MAX_VOCABULARY = 1 << 24

Kind = TypeVar("Kind", Sampled, TopK, Dense, Hidden, Realised)
Stored = Mapping[str, Array]
"""Arrays by field name, of some rows' tokens and entries, row by row."""


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a shard: (tokens or entries, *width). `gathered` is its type once read."""

    name: str
    dtype: str
    per: Literal["token", "entry"] = "token"
    width: tuple[int, ...] = ()
    gathered: str = ""

    @property
    def out(self) -> str:
        return self.gathered or self.dtype

    def empty(self) -> Array:
        return np.empty((0, *self.width), self.dtype)


class Encoding(ABC):
    """A frozen dataclass of parameters; a field named "sizes" tells the entries of each token."""

    kind: ClassVar[str]

    def parameters(self) -> dict[str, Any]:
        """For the manifest; with them alone a shard can be decoded."""
        # Every encoding is a dataclass, which the type of this base cannot say.
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @abstractmethod
    def fields(self) -> tuple[Field, ...]: ...

    @abstractmethod
    def pack(self, signals: Sequence[Signal]) -> dict[str, Array]:
        """The arrays of a shard.

        Raises:
            ValueError: the signals are not of this encoding, or it cannot hold them.
            TypeError: an array's type is wider than the one it is stored in.
            TeacherError: a number is not finite.
        """

    @abstractmethod
    def batch(self, stored: Stored, row_sizes: Array) -> Batch:
        """Decoded and padded.

        Raises:
            ValueError: what is stored cannot have been written by `pack`.
        """

    @abstractmethod
    def unpack(self, stored: Stored) -> Signal:
        """One row, as it was given up to the quantisation. Raises ValueError as `batch`."""


def only(kind: type[Kind], signals: Sequence[Signal]) -> list[Kind]:
    """`signals`, all of which have to be of this kind."""
    found = [signal for signal in signals if isinstance(signal, kind)]
    if len(found) != len(signals):
        raise ValueError(f"a signal is not {kind.__name__}")
    return found


def joined(parts: Sequence[Array], dtype: str) -> Array:
    """End to end; a type that would lose what a part holds is refused."""
    if not parts:
        return np.empty(0, dtype)
    return np.concatenate(parts, dtype=dtype, casting="same_kind")


def check_sizes(sizes_N: Array, entries: int) -> None:
    if int(sizes_N.sum(dtype=np.int64)) != entries:
        raise ValueError("the sizes of the tokens do not sum to the number of entries")


def check_ids(ids: Array, vocabulary: int) -> None:
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        raise ValueError(f"an id is outside of the vocabulary of {vocabulary}")


def check_vocabulary(vocabulary: int) -> None:
    if not 1 <= vocabulary <= MAX_VOCABULARY:
        raise ValueError(f"a vocabulary of {vocabulary}: 1 to {MAX_VOCABULARY} can be stored")


def check_finite(values: Array, what: str, fix: str = "load the teacher in float32") -> None:
    if not np.isfinite(values).all():
        raise TeacherError(f"the teacher gave {what} that are not finite", fix=fix)


def check_logprobs(values: Array) -> None:
    """Natural log-probabilities, up to rounding: -inf may be, NaN and what is above 0 may not."""
    if np.isnan(values).any():
        raise TeacherError(
            "the teacher gave log-probabilities that are not a number",
            fix="load the teacher in float32",
        )
    if values.size and values.max() > 0.01:
        raise ValueError("a log-probability is above 0")


def padded_places(sizes_N: Array) -> tuple[tuple[int, int], Array]:
    """(N, K) and where in it, flattened, the E entries go: the first of its row for each token."""
    width = int(sizes_N.max(initial=0))
    places_E = np.flatnonzero(np.arange(width) < sizes_N[:, None])
    return (len(sizes_N), width), places_E


def padded(values_E: Array, shape: tuple[int, int], places_E: Array, fill: float) -> Array:
    """(N, K) with the entries in their places."""
    out_NK = np.full(shape, fill, values_E.dtype)
    out_NK.ravel()[places_E] = values_E
    return out_NK
