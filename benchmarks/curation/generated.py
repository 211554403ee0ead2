"""A JSONL file of generated prompts: most are new, known shares repeat others or the test file."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

SHARES = {"exact": 0.02, "near": 0.05, "held out": 0.005}
RECENT = 2000  # rows back from which a repetition is drawn
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
VOCABULARY = [
    f"{a}{b}{c}{d}" for a in CONSONANTS for b in VOWELS for c in CONSONANTS for d in VOWELS
]


def sentence(rng: random.Random) -> list[str]:
    """20 to 60 words; the frequent ones are as frequent as in a text (Zipf's law, roughly)."""
    size = len(VOCABULARY)
    return [VOCABULARY[int(size ** rng.random()) - 1] for _ in range(rng.randint(20, 60))]


def edited(words: list[str], rng: random.Random) -> list[str]:
    """With 1 to 10 % of the words replaced."""
    found = list(words)
    count = max(1, int(rng.uniform(0.01, 0.10) * len(words)))
    for place in rng.sample(range(len(words)), count):
        found[place] = rng.choice(VOCABULARY)
    return found


def write(folder: Path, rows: int, test_rows: int) -> dict[str, int]:
    """train.jsonl and test.jsonl; returns how many rows of each sort were planted."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    test = [sentence(rng) for _ in range(test_rows)]
    planted = dict.fromkeys(SHARES, 0)
    recent: list[list[str]] = []
    with open(folder / "train.jsonl", "w", encoding="utf-8") as handle:
        for number in range(rows):
            words = sentence(rng)
            sort = next(
                iter(rng.choices([*SHARES, "new"], [*SHARES.values(), 1 - sum(SHARES.values())]))
            )
            if sort == "held out":
                words = rng.choice(test)
            elif sort != "new" and recent:
                words = rng.choice(recent) if sort == "exact" else edited(rng.choice(recent), rng)
            if sort != "new" and (recent or sort == "held out"):
                planted[sort] += 1
            else:
                recent = [*recent[-RECENT:], words]
            handle.write(json.dumps({"id": number, "prompt": " ".join(words)}) + "\n")
    with open(folder / "test.jsonl", "w", encoding="utf-8") as handle:
        for words in test:
            handle.write(json.dumps({"prompt": " ".join(words)}) + "\n")
    (folder / "planted.json").write_text(json.dumps(planted))
    return planted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--test-rows", type=int, default=1000)
    given = parser.parse_args()
    print(write(given.out, given.rows, given.test_rows))
