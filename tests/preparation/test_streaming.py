"""Rows are gone through, not held: the same bytes as ever, and memory of bytes a row."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mwalimu.data import seen
from mwalimu.preparation.columns import Names, hashes_of
from mwalimu.preparation.left_out import LeftOut, Why
from tests.figures import record
from tests.held import traced
from tests.preparation.planted import edited, rewritten, sentences
from tests.preparation.test_prepare import job, prepared, write

Row = dict[str, Any]
WHOLE = {
    "coverage": "b014998ff71e7d9c57c1f86b53aeed34ad856e4ac6aa9fd38d278fdbb22aee6c",
    "scores": "60ed13ad7494ecd23130080bf00868a5e9d14f4811f82f1883c9145abe17050c",
    "random": "b35f9b96790a61a649d22e75fa389c3cbee743c7d2ce96096d49df93f648c081",
}
"""SHA-256 of what the stage published when it held all rows in memory."""


def planted(folder: Path) -> None:
    """Near and far repetitions of one another and of held-out rows, labels, ids and scores."""
    rng = random.Random(0)
    clean, test = sentences(600, seed=1), sentences(80, seed=2)
    texts = [
        *clean,
        *(edited(rng.choice(clean), rng.uniform(0.01, 0.1), rng) for _ in range(60)),
        *(rewritten(rng.choice(test), rng) for _ in range(40)),
        *(f"{one} {' '.join(rng.choice(test).split()[2:15])}" for one in sentences(40, seed=3)),
    ]
    labels = ["a"] * 7 + ["b"] * 2 + ["c"]
    rows = [
        {"id": f"r{n}", "prompt": text, "completion": rng.choice(labels)}
        for n, text in enumerate(texts)
    ]
    write(folder, "train", rows)
    write(folder, "validation", [*sentences(30, seed=4), rewritten(test[0], rng), clean[3]])
    write(folder, "test", test)
    scores = [{"id": row["id"], "score": rng.random()} for row in rows]
    (folder / "scores.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in scores))


def settings_of(by: str) -> Row:
    select = {
        "coverage": {"rows": 200, "by": "coverage"},
        "random": {"rows": 200, "by": "random"},
        "scores": {"rows": 200, "by": "loss", "scores": "scores.jsonl"},
    }[by]
    topics = {"topics": 5} if by == "coverage" else {}
    return {
        "near_duplicates": 0.6,
        "overlap": "drop",
        "balance": {"by": "label", "most": 1.5},
        "select": select,
        **topics,
    }


def published(folder: Path) -> Iterator[bytes]:
    for path in sorted((folder / "run" / "prepare").iterdir()):
        yield path.name.encode() + path.read_bytes().replace(str(folder).encode(), b"FOLDER")


@pytest.mark.parametrize("by", ["scores", "random", "coverage"])
def test_the_bytes_are_those_of_rows_that_were_all_held(tmp_path: Path, by: str) -> None:
    planted(tmp_path)
    prepared(tmp_path, job(tmp_path, settings_of(by), contamination="drop"))
    digest = hashlib.sha256(b"".join(published(tmp_path))).hexdigest()
    assert digest == WHOLE[by]


def test_memory_is_bytes_a_row_whatever_is_said_in_it_and_whatever_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of four hundred characters, half of them copies of test rows, most of the rest not
    selected; of all that, less than 100 bytes a row are held.
    """
    monkeypatch.setattr(seen, "RECENT", 200)
    settings = settings_of("scores") | {"near_duplicates": None}
    peaks = []
    sizes = (50, 500, 2_500)  # the first loads what is loaded once
    for rows in sizes:
        folder = tmp_path / str(rows)
        folder.mkdir()
        words = random.Random(rows)
        texts = [" ".join(f"word{words.randrange(200)}" for _ in range(60)) for _ in range(rows)]
        held_out = texts[0]
        given = [held_out if number % 2 else text for number, text in enumerate(texts)]
        write(folder, "test", [held_out])
        write(
            folder,
            "train",
            [
                {"id": f"a-long-name-of-row-{n}", "prompt": text, "completion": "ab"[n % 3 == 0]}
                for n, text in enumerate(given)
            ],
        )
        scores = [{"id": f"a-long-name-of-row-{n}", "score": n} for n in range(rows)]
        (folder / "scores.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in scores))
        del texts, given, scores
        config = job(folder, settings, contamination="drop")
        if rows == sizes[0]:
            prepared(folder, config)
        else:
            peaks.append(traced(partial(prepared, folder, config))[1])
    a_row = (peaks[1] - peaks[0]) / (sizes[2] - sizes[1])
    assert a_row < 100
    what = "memory of prepare without near duplicates and vectors"
    record("flat memory", what, tried=sum(sizes), note=f"{a_row:.0f} bytes a row")


def test_a_row_is_left_out_for_its_last_reason_and_told_by_its_number() -> None:
    out = LeftOut(4)
    first = out.because(Why("near", "row {} of x".format))
    second = out.because(Why("over", lambda _: "b"))
    first(1, 7)
    first(2, 9)
    second(2)
    assert [out.of(row) for row in range(4)] == [None, ("near", "row 7 of x"), ("over", "b"), None]
    assert out.kept().tolist() == [0, 3] and 1 in out and 3 not in out
    assert out.counts() == {"near": 1, "over": 1}


def test_names_are_those_of_the_rows_and_texts_are_read_no_longer_than_needed() -> None:
    given = ["a", None, "b", "a", "", "b"]
    read: list[str | None] = []

    def again() -> Iterator[str | None]:
        for text in given:
            read.append(text)
            yield text

    names = Names.of(hashes_of(given), again())
    assert list(names) == given and [names[row] for row in range(6)] == given
    assert list(names[1:4]) == given[1:4] and len(names) == 6
    assert list(names.at(np.array([5, 0]))) == ["b", "a"]
    assert len(read) == 6, "the last new name is the fifth row's, and one more shows the end"
