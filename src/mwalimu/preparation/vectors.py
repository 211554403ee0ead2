"""Rows as vectors: TF-IDF of their words. A student's states serve as well, made `unit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


class Embedded(NamedTuple):
    """`terms` gives the words that stand out among the rows at these numbers."""

    vectors: Vectors
    terms: Callable[[Sequence[int]], list[str]]


def embed(texts: Sequence[str], *, seed: int) -> Embedded:
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
    fitted = spread(texts, FITTED)
    tfidf = TfidfVectorizer(
        analyzer=words,
        max_features=FEATURES,
        sublinear_tf=True,
        dtype=np.float32,
    )
    matrix = tfidf.fit_transform(fitted)
    size = min(SIZE, min(matrix.shape) - 1)
    if size < 1:
        return Embedded(np.ones((len(texts), 1), np.float32), lambda _: [])
    svd = TruncatedSVD(size, random_state=seed).fit(matrix)
    usual = np.asarray(matrix.mean(axis=0)).ravel()
    parts = [
        svd.transform(tfidf.transform(texts[start : start + CHUNK]))
        for start in range(0, len(texts), CHUNK)
    ]

    def terms(numbers: Sequence[int]) -> list[str]:
        chosen = [texts[number] for number in spread(numbers, 500)]
        weights = np.asarray(tfidf.transform(chosen).mean(axis=0)).ravel() - usual
        names = tfidf.get_feature_names_out()
        return [str(names[at]) for at in np.argsort(-weights, kind="stable")[:3] if weights[at] > 0]

    return Embedded(unit(np.concatenate(parts)), terms)


def unit(vectors: NDArray[Any]) -> Vectors:
    """Each row divided by its length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def spread(items: Sequence[Any], count: int) -> Sequence[Any]:
    """`count` of the items at even distances; all where there are no more."""
    if len(items) <= count:
        return items
    return [items[number * len(items) // count] for number in range(count)]
