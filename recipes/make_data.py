"""The rows of a recipe, drawn from its `world.py`: the same bytes every time.

    python -m recipes.make_data content-moderation        # writes its files anew

A world is a module with `SYSTEM` (the instruction of every row), `SIZES` (rows of each file) and
`draw(dice) -> (core, question, answer)`, metadata as a fourth where there is any; `LABELS`, where
there are labels, says how often each comes. The *core* is what decides the answer; greetings and
other fillers are no part of it. Each core belongs to one side for good, by its hash, so no test row
is a training row in other words, and what the small teacher learned is not what it is asked.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

RECIPES = Path(__file__).parent
FILES = {
    "train": "prompts.jsonl",
    "validation": "validation.jsonl",
    "test": "test.jsonl",
    "labelled": "labelled.jsonl",
}
# Of twenty parts of all cores. `teacher` is no file: those are the small teacher's own lessons.
SIDES = {
    "teacher": range(0, 9),
    "train": range(9, 16),
    "validation": range(16, 17),
    "test": range(17, 20),
}
TRIES = 200  # draws a row, on average, before a world counts as too small


class Drawn(NamedTuple):
    core: str
    question: str
    answer: str
    metadata: Mapping[str, str] = MappingProxyType({})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", nargs="+", help="name of a folder here with a world.py")
    for name in parser.parse_args().recipe:
        for path, text in files(load_world(RECIPES / name)).items():
            (RECIPES / name / path).write_text(text, encoding="utf-8")
            print(f"{name}/{path}: {text.count(chr(10))} rows, {len(text.encode()) / 1024:.0f} KiB")
    return 0


def load_world(folder: Path) -> ModuleType:
    """The recipe's own module; the names of these folders are no names of packages."""
    name = f"recipes_{folder.name.replace('-', '_')}_world"
    spec = importlib.util.spec_from_file_location(name, folder / "world.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(world: ModuleType) -> dict[str, str]:
    """File name -> its text. The prompts come without answers: those are the teacher's to give."""
    texts = {}
    for side, path in FILES.items():
        rows = draw_rows(world, side, world.SIZES[side])
        if side == "train":
            rows = [{k: v for k, v in row.items() if k != "completion"} for row in rows]
        texts[path] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return texts


def draw_rows(world: ModuleType, side: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` rows of a side with their answers, no question twice.

    Raises ValueError where the world has too few.
    """
    return [
        {"id": f"{side}-{n:04d}", "system": world.SYSTEM, "prompt": one.question}
        | ({"task": world.TASK} if hasattr(world, "TASK") else {})
        | ({"metadata": dict(one.metadata)} if one.metadata else {})
        | {"completion": one.answer}
        for n, one in enumerate(_draws(world, side, count, seed), 1)
    ]


def _draws(world: ModuleType, side: str, count: int, seed: int) -> Iterator[Drawn]:
    dice = random.Random(f"{side} {seed}")
    room = _room(getattr(world, "LABELS", {}), count)
    # The few gold rows that somebody has are of the same kind as the prompts.
    cores = "train" if side == "labelled" else side
    seen: set[str] = set()
    for _ in range(count * TRIES):
        if len(seen) == count:
            return
        one = Drawn(*world.draw(dice))
        fits = one.question not in seen and room.get(one.answer, 1) > 0
        if fits and side_of(one.core) == cores:
            seen.add(one.question)
            if one.answer in room:
                room[one.answer] -= 1
            yield one
    if len(seen) < count:
        raise ValueError(f"this world has too few {side} rows: {len(seen)} of {count}")


def _room(labels: Mapping[str, int], count: int) -> dict[str, int]:
    """How many rows of each label there may be; of a world without labels nothing is said."""
    whole = sum(labels.values())
    return {label: math.ceil(count * part / whole) for label, part in labels.items()}


def side_of(core: str) -> str:
    """Which side a core belongs to, whatever the seed."""
    part = hashlib.sha256(core.encode()).digest()[0] % 20
    return next(side for side, parts in SIDES.items() if part in parts)


if __name__ == "__main__":
    sys.exit(main())
