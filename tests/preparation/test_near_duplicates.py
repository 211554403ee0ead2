import random
from itertools import pairwise

import numpy as np
import pytest
from datasketch import MinHash

from mwalimu.preparation.near_duplicates import (
    SIZE,
    Signatures,
    first_near,
    signatures,
    similarity,
)
from tests.held import traced
from tests.preparation.planted import edited, sentence, sentences

CLEAN, PLANTED = 10_000, 1000


def signed(texts: list[str]) -> Signatures:
    return np.concatenate(list(signatures(texts)))


def near(texts: list[str], threshold: float = 0.5, protected: int = 0) -> list[int]:
    settings = np.zeros(len(texts), np.uint64)
    return first_near(signed(texts), settings, threshold, protected=protected).tolist()


def jaccard(one: str, other: str) -> float:
    """By brute force."""
    first, second = (set(pairwise(text.split())) for text in (one, other))
    return len(first & second) / len(first | second)


def test_planted_edits_are_found_and_clean_rows_are_left() -> None:
    rng = random.Random(1)
    clean = sentences(CLEAN)
    sources = rng.sample(range(CLEAN), PLANTED)
    planted = [edited(clean[at], rng.uniform(0.01, 0.10), rng) for at in sources]
    found = near(clean + planted)
    false_alarms = sum(one >= 0 for one in found[:CLEAN])
    recall = np.mean([one == at for one, at in zip(found[CLEAN:], sources, strict=True)])
    print(f"recall {recall:.2%} of {PLANTED} edits of 1-10 %, {false_alarms} of {CLEAN} false")
    assert recall >= 0.99 and false_alarms <= CLEAN / 1000


def test_estimates_agree_with_brute_force_and_with_datasketch() -> None:
    rng = random.Random(2)
    ours, theirs = [], []
    for text in sentences(150, seed=3):
        other = edited(text, rng.uniform(0.0, 0.6), rng)
        exact = jaccard(text, " ".join(other.split()))
        one, two = signed([text, other])
        ours.append(similarity(one, two[None])[0] - exact)
        hashes = []
        for words in (text.split(), other.split()):
            sketch = MinHash(num_perm=SIZE)
            sketch.update_batch([" ".join(pair).encode() for pair in pairwise(words)])
            hashes.append(sketch)
        theirs.append(hashes[0].jaccard(hashes[1]) - exact)
    assert abs(np.mean(ours)) < 0.012  # three standard errors of 150 estimates
    assert np.std(ours) < 1.25 * np.std(theirs)
    assert np.std(ours) < 1 / np.sqrt(SIZE) / 2 * 1.25


def test_the_first_is_kept_and_chains_do_not_grow() -> None:
    words = sentence(random.Random(4), 40, 40).split()
    second, third = list(words), list(words)
    for place in range(2, 38, 9):
        second[place] = third[place] = "new"
        third[place + 4] = "newer"
    texts = [" ".join(one) for one in (words, second, third)]
    assert jaccard(texts[0], texts[2]) < 0.45 < 0.65 < jaccard(texts[1], texts[2])
    # The third is near the second alone, and that one is gone.
    assert near(texts, 0.55) == [-1, 0, -1]
    assert near([texts[0]] * 3 + texts[1:2], 0.55) == [-1, 0, 0, 0]


def test_protected_rows_stay_and_are_compared_with() -> None:
    text, other = sentences(2)
    assert near([text, text, other, text, other], protected=2) == [-1, -1, -1, 0, 2]


def test_another_setting_is_another_question() -> None:
    text = sentences(1)[0]
    settings = np.array([1 << 40, 2 << 40, 1 << 40, 1], np.uint64)
    assert first_near(signed([text] * 4), settings, 0.5).tolist() == [-1, -1, 0, -1]
    low_bits = np.array([5, 6], np.uint64)  # which share the half that the bands are sorted by
    assert first_near(signed([text] * 2), low_bits, 0.5).tolist() == [-1, -1]


def test_brute_force_finds_no_pair_above_the_threshold_that_is_kept() -> None:
    rng = random.Random(5)
    texts = [sentence(rng, 30, 50) for _ in range(60)]
    texts += [edited(rng.choice(texts), rng.choice([0.03, 0.4]), rng) for _ in range(140)]
    found = near(texts, 0.6)
    kept = [at for at, one in enumerate(found) if one < 0]
    assert all(jaccard(texts[a], texts[b]) < 0.72 for a in kept for b in kept if a < b)
    assert all(jaccard(texts[at], texts[one]) > 0.48 for at, one in enumerate(found) if one >= 0)


def test_short_and_empty_texts() -> None:
    assert near(["yes", "Yes!", "no", "", " ", "yes please"]) == [-1, 0, -1, -1, 3, -1]


def test_a_crowd_in_one_band_costs_a_bounded_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one frame: in the same bands, and near nobody at a high threshold."""
    frame = " ".join(sentences(1)[0].split()[:20])
    rng = random.Random(6)
    texts = [f"{frame} {sentence(rng, 12, 12)}" for _ in range(600)]
    seen: list[int] = []

    def counting(one: Signatures, others: Signatures) -> np.ndarray:
        seen.append(len(others))
        return similarity(one, others)

    monkeypatch.setattr("mwalimu.preparation.near_duplicates.similarity", counting)
    monkeypatch.setattr("mwalimu.preparation.near_duplicates.LOOK_BACK", 3)
    assert near(texts, 0.95) == [-1] * 600
    assert 0 < max(seen) <= 3 * SIZE // 4


def test_memory_is_264_bytes_a_row_and_what_one_band_takes_to_sort() -> None:
    rows = 60_000
    found = np.random.default_rng(0).integers(0, 256, (rows, SIZE), np.uint8)
    _, peak = traced(lambda: first_near(found, np.zeros(rows, np.uint64), 0.5))
    assert peak < 220 * rows  # beside the 128 of the signatures, which are given
