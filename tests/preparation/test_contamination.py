import random
from pathlib import Path

import orjson
import pytest

from mwalimu.data.dataset import Dataset, open_dataset
from mwalimu.data.record import Message, Record
from mwalimu.preparation.contamination import (
    OVERLAP_WORDS,
    Match,
    distinctive,
    match,
    overlap_grams,
    own_rows,
)
from tests import figures
from tests.preparation.planted import record, rewritten, sentence, sentences

HELD_OUT, CLEAN = 1000, 10_000


def dataset(folder: Path, texts: list[str], name: str = "test", system: str = "") -> Dataset:
    path = folder / f"{name}.jsonl"
    row = {"system": system} if system else {}
    path.write_bytes(b"".join(orjson.dumps(row | {"prompt": one}) + b"\n" for one in texts))
    return open_dataset(path, task="generic", split=name)


def kinds(texts: list[str], held_out: Dataset, system: str = "") -> list[str]:
    rows = [own_rows(held_out)]
    found = [match(record(one, system=system), rows, overlaps=True) for one in texts]
    return [one.kind if one else "" for one in found]


def test_equal_rows_are_found_however_they_are_written(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = sentences(HELD_OUT)
    held_out = dataset(tmp_path, texts)
    found = [
        match(record(rewritten(one, rng)), [own_rows_of], overlaps=True)
        for own_rows_of in [own_rows(held_out)]
        for one in texts
    ]
    assert found == [
        Match("equal", str(held_out.path), f"{held_out.path}:{at + 1}") for at in range(HELD_OUT)
    ]


def test_thirteen_words_of_a_test_row_within_new_ones_are_found(tmp_path: Path) -> None:
    rng = random.Random(2)
    texts = sentences(HELD_OUT)
    planted, less = [], []
    for text in texts:
        words = text.split()
        at = rng.randrange(len(words) - OVERLAP_WORDS + 1)
        inside = " ".join(words[at : at + OVERLAP_WORDS])
        planted.append(f"{sentence(rng)} {rewritten(inside, rng)} {sentence(rng)}")
        less.append(f"{sentence(rng)} {' '.join(words[at : at + OVERLAP_WORDS - 1])} end")
    found = kinds(planted, dataset(tmp_path, texts))
    recall = found.count("overlap") / HELD_OUT
    assert recall >= 0.99
    assert kinds(less, dataset(tmp_path, texts)).count("overlap") == 0
    missed = HELD_OUT - found.count("overlap")
    figures.record("R15", "thirteen words in a row", tried=HELD_OUT, failed=missed, seed=2)


def test_clean_rows_are_left_alone(tmp_path: Path) -> None:
    found = kinds(sentences(CLEAN, seed=3), dataset(tmp_path, sentences(HELD_OUT)))
    wronged = CLEAN - found.count("")
    assert wronged <= CLEAN / 1000
    figures.record("R15", "clean rows", tried=CLEAN, failed=wronged, seed=3)


def test_a_template_and_a_system_prompt_are_no_contamination(tmp_path: Path) -> None:
    template = "Please read the text below with care and say in one word what it is about: "
    system = " ".join(sentences(1, seed=9))
    held_out = dataset(tmp_path, [template + one for one in sentences(100)], system=system)
    others = [template + one for one in sentences(100, seed=4)]
    assert kinds(others, held_out, system) == [""] * 100
    assert kinds([template + sentences(100)[7]], held_out, system) == ["equal"]
    few = dataset(tmp_path, [template + one for one in sentences(2)], "few")
    assert kinds(others[:1], few) == ["overlap"]  # two rows are no template yet


def test_what_is_mostly_a_template_is_dropped_and_equal_rows_count_once() -> None:
    shared, alone = sentences(2)
    once = distinctive([shared] * 50 + [alone])
    assert [own.tolist() for own in once] == [
        overlap_grams(one).tolist() for one in (shared, alone)
    ]
    words = shared.split()[:20]
    tails = [one.split() for one in sentences(50, seed=5)]
    for own, tail in zip(distinctive(" ".join(words + tail) for tail in tails), tails, strict=True):
        # The first gram that counts has six words of the shared ones, which is less than half.
        assert own.tolist() == overlap_grams(" ".join(words[-6:] + tail)).tolist()
    assert distinctive([]) == [] and len(distinctive(["a b"])[0]) == 0


def test_another_system_prompt_is_another_question_but_an_overlap(tmp_path: Path) -> None:
    text = sentences(1)[0]
    held_out = dataset(tmp_path, [text], system="Answer in English.")
    assert kinds([text], held_out, "Answer in English") == ["equal"]
    assert kinds([text], held_out, "Answer in Swahili") == ["overlap"]
    short = dataset(tmp_path, ["hello"], system="Answer in English.")
    assert kinds(["hello"], short, "Answer in Swahili") == [""]


def test_what_the_assistant_said_counts_for_equality_only(tmp_path: Path) -> None:
    held_out = dataset(tmp_path, ["hello"])
    turns = (Message("user", "hello"), Message("assistant", "hi"), Message("user", "more"))
    assert match(Record("1", "generic", turns), [own_rows(held_out)], overlaps=True) is None


@pytest.mark.parametrize("overlaps", [True, False])
def test_overlaps_are_looked_for_only_where_they_are_wanted(tmp_path: Path, overlaps: bool) -> None:
    text = sentences(1)[0]
    rows = [own_rows(dataset(tmp_path, [text]))]
    found = match(record(f"{text} more"), rows, overlaps=overlaps)
    assert (found is not None) == overlaps
