"""Killed after a random write, again and again: the same files, and no answer bought twice."""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.synthesis.lives import Lives
from tests.synthesis.prompts.writer_server import WriterServer

CONCURRENCY = 4
JOBS = 20 if os.environ.get("MWALIMU_LONG") else 3
METHODS: dict[str, dict[str, Any]] = {
    "self_instruct": {"seeds": "seeds.jsonl", "rows": 40},
    "evolve": {"seeds": "seeds.jsonl", "rows": 12},
    "conversations": {"seeds": "seeds.jsonl", "rows": 6},
}


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    server = Lives("tests.synthesis.prompts.fork_server")
    yield server
    server.close()


def contents(folder: Path) -> list[bytes]:
    names = ("train.jsonl", "rejects.jsonl")
    return [(folder / "run" / "prompts" / name).read_bytes() for name in names]


@pytest.mark.parametrize("method", METHODS)
def test_kills_change_nothing_and_buy_nothing_twice(
    lives: Lives, tmp_path: Path, method: str
) -> None:
    seeds = [{"id": f"s{i}", "prompt": f"Where is the {n}?"} for i, n in enumerate(("cat", "dog"))]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in seeds))
    chooser = random.Random(method)
    with WriterServer() as server:
        config = {
            "task": "generic",
            "teacher": {"model": "tiny", "base_url": server.url, "concurrency": CONCURRENCY},
            "student": {"model": "none"},
            "generate": {"turns": 2},
            "prompts": {"method": method} | METHODS[method],
        }
        life = {"base": tmp_path, "config": config}
        assert lives.live(folder=tmp_path / "whole", die_at=0, **life) == 0
        calls = int((tmp_path / "whole" / "calls").read_text())
        wanted, needed = contents(tmp_path / "whole"), set(server.asked)
        for job in range(JOBS):
            folder = tmp_path / f"job{job}"
            server.asked = Counter()
            kills = 0
            while status := lives.live(folder=folder, die_at=chooser.randrange(1, calls), **life):
                assert status == -signal.SIGKILL
                kills += 1
            assert contents(folder) == wanted
            assert set(server.asked) == needed
            repeated = server.asked.total() - len(needed)
            assert kills and repeated <= kills * CONCURRENCY  # only what was on its way
