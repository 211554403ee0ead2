import random

import numpy as np
import pytest
from scipy.stats import entropy

from mwalimu.data.record import Message, Record
from mwalimu.preparation.diversity import label, over_represented, spread_of, topics
from mwalimu.preparation.vectors import embed, spread, unit
from tests.preparation.planted import record

SUBJECTS = {
    "cooking": ["pan", "onion", "garlic", "boil", "fry", "oven", "salt", "recipe", "dough"],
    "travel": ["train", "ticket", "hotel", "airport", "luggage", "visa", "flight", "beach"],
    "money": ["bank", "loan", "interest", "savings", "account", "credit", "budget", "tax"],
}


def on_subjects(counts: dict[str, int], seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    pairs = [
        (" ".join(rng.choices(SUBJECTS[name], k=12)), name)
        for name, count in counts.items()
        for _ in range(count)
    ]
    rng.shuffle(pairs)
    return [text for text, _ in pairs], [name for _, name in pairs]


def test_the_spread_of_labels_against_scipy() -> None:
    names = ["a"] * 80 + ["b"] * 15 + ["c"] * 5 + [None] * 7
    found = spread_of(names, "label")
    assert [(g.name, g.rows) for g in found.groups] == [("a", 80), ("b", 15), ("c", 5)]
    assert found.rows == 100
    assert found.evenness == pytest.approx(entropy([80, 15, 5]) / np.log(3))
    assert found.short == ["c"]  # 5 % where a quarter of an even share is 8.3 %
    assert sum(group.rows * group.weight for group in found.groups) == pytest.approx(100)
    assert len({round(group.rows * group.weight, 9) for group in found.groups}) == 1
    assert "under-represented: c" in found.in_words()


def test_the_spread_of_one_group_and_of_none() -> None:
    assert spread_of(["a", "a"], "label").evenness == 1
    assert spread_of([None], "label").in_words() == "no row has a label"


def test_a_label_is_the_users_own_or_a_short_gold_answer() -> None:
    assert label(record("q", answer="card_arrival")) == "card_arrival"
    assert label(record("q", answer="word " * 30)) is None and label(record("q")) is None
    row = Record("1", "generic", (Message("user", "q"),), "x", {"label": 7})
    assert label(row) == "7"


def test_topics_are_the_planted_subjects() -> None:
    texts, names = on_subjects({"cooking": 70, "travel": 60, "money": 40})
    found = topics(embed(texts, seed=0), 3, seed=0)
    pairs = set(zip(found, names, strict=True))
    assert len(pairs) == 3  # each topic is one subject
    for topic, subject in pairs:
        assert set(topic.split(": ")[1].split()) <= set(SUBJECTS[subject])
    assert [group.rows for group in spread_of(found, "topic").groups] == [70, 60, 40]
    assert found == topics(embed(texts, seed=0), 3, seed=0)


def test_fewer_rows_than_topics_and_rows_without_words() -> None:
    assert len(topics(embed(["a b", "c d"], seed=0), 20, seed=0)) == 2
    assert len(topics(embed(["same", "same", "same"], seed=0), 2, seed=0)) == 3
    assert np.isfinite(embed(["a b c", "d e f", "g h", ""], seed=0).vectors).all()


def test_vectors_have_length_one_and_the_mean_of_nothing_is_nothing() -> None:
    found = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_what_a_group_has_beyond_the_cap_is_named() -> None:
    names = ["a"] * 50 + ["b"] * 10 + ["c"] * 4 + [None] * 9
    out = over_represented(names, 2.0, seed=0)
    assert len(out) == 30 and {names[at] for at in out} == {"a"}  # the median is 10
    assert out == over_represented(names, 2.0, seed=0) != over_represented(names, 2.0, seed=1)
    assert over_represented(names, 5.0, seed=0) == over_represented([None], 1.0, seed=0) == []


def test_items_at_even_distances() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert list(spread(range(2), 3)) == [0, 1]
