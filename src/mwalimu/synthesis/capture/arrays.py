"""Arrays that a reduction kept (`data/reduction.py`) as signals of one row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mwalimu.data.kept import Arrays
from mwalimu.errors import TeacherError
from mwalimu.signals import Dense, Realised, Sampled, Signal, TopK


def signals_of(arrays: Arrays, byte_lengths: Sequence[int] | None) -> dict[str, Signal]:
    """By encoding. Without `byte_lengths` of its n tokens nothing is said of `realised`.

    Raises:
        TeacherError: draws were made of logits that are not finite.
    """
    found: dict[str, Signal] = {}
    if "draws" in arrays:
        found["sampled"] = _sampled(arrays)
    if "ids" in arrays:
        found["topk"] = _topk(arrays)
    if "dense" in arrays:
        found["dense"] = Dense(arrays["dense"])
    if "realised" in arrays and byte_lengths is not None:
        found["realised"] = Realised(arrays["realised"], np.asarray(byte_lengths, np.uint16))
    return found


def _sampled(arrays: Arrays) -> Sampled:
    draws_nD = arrays["draws"]
    if draws_nD.min(initial=0) < 0:
        raise TeacherError(
            "the teacher gave logits that are not finite", fix="load the teacher in float32"
        )
    return Sampled.from_draws(draws_nD)


def _topk(arrays: Arrays) -> TopK:
    ids_nK, sizes_n = arrays["ids"], arrays["sizes"]
    kept_nK = np.arange(ids_nK.shape[1]) < sizes_n[:, None]
    return TopK(ids_nK[kept_nK], arrays["logprobs"][kept_nK], sizes_n, arrays["tail"])
