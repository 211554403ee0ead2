"""The pool against a comparison of everything with everything."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.synthesis.prompts.pool import Pool, similarity, words_of

TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8).map(" ".join), max_size=12)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.9, 1.0]))
def test_nobody_is_missed(texts: list[str], most: float) -> None:
    kept: list[str] = []
    with Pool(most) as pool:
        for text in texts:
            near = [similarity(words_of(text), words_of(other)) for other in kept]
            above = [s for s in near if s > most or s == 1.0]
            found = pool.too_like(text)
            assert (found is None) == (not above)
            if found is None:
                pool.add(str(len(kept)), text, "")
                kept.append(text)
            else:
                assert found.similarity == max(above)
                assert found.id == str(near.index(max(above)))


def test_larger_texts() -> None:
    chooser = random.Random(1)
    vocabulary = [f"w{i}" for i in range(60)]
    texts = [" ".join(chooser.sample(vocabulary, 20)) for _ in range(150)]
    texts += [" ".join([*text.split()[:18], "new", "words"]) for text in texts[:50]]
    with Pool(0.7) as pool:
        for number, text in enumerate(texts[:150]):
            pool.add(str(number), text, "")
        for number, text in enumerate(texts[150:]):
            found = pool.too_like(text)
            assert found is not None and found.id == str(number)
            assert found.similarity == pytest.approx(18 / 22)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("Name a river.", "name  A RIVER!", 1.0),
        ("name a river", "name a hill", 2 / 4),
        ("", "...", 1.0),
        ("a", "b", 0.0),
        ("河はどこ", "山はどこ", 3 / 5),
        ("Stra\u00dfe", "STRASSE", 1.0),
    ],
)
def test_similarity(one: str, other: str, wanted: float) -> None:
    assert similarity(words_of(one), words_of(other)) == pytest.approx(wanted)


def test_a_rewriting_may_be_like_its_parent_and_nothing_else() -> None:
    with Pool(0.5) as pool:
        pool.add("a", "name a long river", "")
        pool.add("b", "tell me who sings here tonight", "")
        assert pool.too_like("name a long river now") is not None
        assert pool.too_like("name a long river now", parent=0) is None
        assert pool.too_like("NAME a long river", parent=0) is not None
        assert pool.too_like("tell me who sings here", parent=0) is not None
