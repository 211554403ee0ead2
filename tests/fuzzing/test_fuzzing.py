"""Whatever bytes come, a reader takes them or says one of its own errors, soon and in little room.

MWALIMU_LONG=1 runs 1,000,000 times instead of 20,000. What once failed is kept in found.jsonl, and
tried again each time.
"""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import time
from pathlib import Path

import pytest

from tests.figures import record
from tests.fuzzing.mutating import mutated
from tests.fuzzing.parsers import PARSERS, Parser

RUNS = 1_000_000 if os.environ.get("MWALIMU_LONG") else 20_000
SEED = 9
LONGEST_S = 1.0
GROWTH_KIB = 500 << 10
FOUND = Path(__file__).with_name("found.jsonl")


def times(name: str) -> int:
    whole = sum(parser.share for parser in PARSERS.values())
    return round(RUNS * PARSERS[name].share / whole) + 1


def complaint(parser: Parser, data: bytes, folder: Path) -> str:
    """What is wrong with how the reader took it; empty if nothing.

    Slow is what is slow twice: the collector of garbage may fall into one reading.
    """
    wrong, took = _tried(parser, data, folder)
    if not wrong and took > LONGEST_S:
        wrong, took = _tried(parser, data, folder)
    return wrong or (f"took {took:.1f} s" if took > LONGEST_S else "")


def _tried(parser: Parser, data: bytes, folder: Path) -> tuple[str, float]:
    """What is wrong but its time, and that, in seconds of this thread."""
    began = time.thread_time()
    try:
        parser.read(data, folder)
    except parser.raises as error:
        if not str(error).splitlines()[:1]:
            return f"{type(error).__name__} without a word", 0.0
    except Exception as error:
        return f"{type(error).__name__}: {error}", 0.0
    return "", time.thread_time() - began


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore")
def test_no_bytes_bring_a_foreign_error(tmp_path: Path, name: str) -> None:
    parser, chance = PARSERS[name], random.Random(f"{SEED} {name}")
    made, folder = tmp_path / "corpus", tmp_path / "read"
    made.mkdir()
    folder.mkdir()
    corpus = parser.corpus(made)
    assert corpus and not [wrong for data in corpus if (wrong := complaint(parser, data, folder))]
    before, count = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, times(name)
    for _ in range(count):
        data = mutated(chance, corpus)
        wrong = complaint(parser, data, folder)
        assert not wrong, f"{wrong}: {json.dumps([name, base64.b64encode(data).decode()])}"
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < GROWTH_KIB
    record("R9", name, tried=count, seed=SEED, note=f"{growth:,} KiB more")


def test_what_once_failed_fails_no_more(tmp_path: Path) -> None:
    for line in FOUND.read_text(encoding="utf-8").splitlines():
        name, data = json.loads(line)
        assert not complaint(PARSERS[name], base64.b64decode(data), tmp_path), name
