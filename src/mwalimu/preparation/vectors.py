"""Rows as vectors: TF-IDF of their words. A student's states serve as well, made `unit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mwalimu.errors import MissingDependency
from mwalimu.preparation.words import words

Vectors = NDArray[np.float32]
"""(rows, size), each row of length 1, or 0 where it has no word."""

SIZE = 64  # dimensions that are kept of the words': 256 bytes a row
FEATURES = 20_000
FITTED = 20_000  # rows, evenly spread, of which the words and the directions are learned
CHUNK = 4096
SHOWN = 500  # rows of a group whose words are looked at


class Embedded(NamedTuple):
    """`terms` gives the words that stand out among the rows of each group, by their numbers."""

    vectors: Vectors
    terms: Callable[[Sequence[Sequence[int]]], list[list[str]]]


class Texts(Protocol):
    """Texts that can be gone through more than once: a list, or rows of a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


def embed(texts: Texts, *, seed: int) -> Embedded:
    """TF-IDF, cut down to its SIZE strongest directions (latent semantic analysis, Deerwester et
    al. 1990).

    Raises MissingDependency where the extra `curate` is not installed.
    """
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise MissingDependency(
            "scikit-learn is not installed", where="prepare", fix="pip install 'mwalimu[curate]'"
        ) from None
    fitted = list(_picked(texts, spread(range(len(texts)), FITTED)).values())
    tfidf = TfidfVectorizer(
        analyzer=words,
        max_features=FEATURES,
        sublinear_tf=True,
        dtype=np.float32,
    )
    matrix = tfidf.fit_transform(fitted)
    size = min(SIZE, min(matrix.shape) - 1)
    if size < 1:
        return Embedded(np.ones((len(texts), 1), np.float32), lambda groups: [[] for _ in groups])
    svd = TruncatedSVD(size, random_state=seed).fit(matrix)
    usual = np.asarray(matrix.mean(axis=0)).ravel()
    vectors = np.empty((len(texts), size), np.float32)
    for start, chunk in zip(range(0, len(texts), CHUNK), _chunks(texts), strict=True):
        vectors[start : start + len(chunk)] = unit(svd.transform(tfidf.transform(chunk)))

    def terms(groups: Sequence[Sequence[int]]) -> list[list[str]]:
        shown = [spread(numbers, SHOWN) for numbers in groups]
        here = _picked(texts, [number for numbers in shown for number in numbers])
        return [standing_out([here[number] for number in numbers]) for numbers in shown]

    def standing_out(chosen: list[str]) -> list[str]:
        weights = np.asarray(tfidf.transform(chosen).mean(axis=0)).ravel() - usual
        names = tfidf.get_feature_names_out()
        return [str(names[at]) for at in np.argsort(-weights, kind="stable")[:3] if weights[at] > 0]

    return Embedded(vectors, terms)


def _picked(texts: Texts, numbers: Iterable[int]) -> dict[int, str]:
    """Number -> text, in ascending order, from one pass."""
    wanted = set(numbers)
    return {number: text for number, text in enumerate(texts) if number in wanted}


def _chunks(texts: Texts) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def unit(vectors: NDArray[Any]) -> Vectors:
    """Each row divided by its length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def spread(items: Sequence[Any], count: int) -> Sequence[Any]:
    """`count` of the items at even distances; all where there are no more."""
    if len(items) <= count:
        return items
    return [items[number * len(items) // count] for number in range(count)]
