"""What all measurements share: settings, the scratch folder of a run, the check of its output."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import LOG, Client
from server import answer_to
from tools import PROMPTS, Tool

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
Row = dict[str, Any]  # one run, as it stands in the JSON


@dataclass(frozen=True)
class Settings:
    n: int
    latency: float
    jitter: float
    concurrency: int
    rounds: int
    limit: float
    venvs: Path | None
    scratch: Path

    def start(self, tool: Tool, folder: Path, url: str) -> Client:
        return Client(tool.command(self.venvs, url, self.concurrency), folder)

    @contextmanager
    def folder(self, tool: Tool, url: str, *, without_prompt: int = -1) -> Iterator[Path]:
        """A fresh one with the prompts, gone afterwards; one row may lack its prompt."""
        folder = self.scratch / tool.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_prompts(folder / PROMPTS, self.n, without_prompt)
        tool.prepare(folder, url, self.concurrency)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def prompt(number: int) -> str:
    return (
        f"Question {number}: a shop sells {number % 97} lamps and {number % 89} chairs on one day; "
        "how many things is that? Answer in one sentence."
    )


def write_prompts(path: Path, n: int, without_prompt: int) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for number in range(n):
            row = {"id": f"q{number:06d}", "prompt": prompt(number)}
            if number == without_prompt:
                del row["prompt"]
            handle.write(json.dumps(row) + "\n")


def check(tool: Tool, folder: Path, n: int, billed: list[str]) -> dict[str, int]:
    """What is wrong with the output and the bill; all zero for a perfect run."""
    seen: Counter[str | None] = Counter()
    wrong = null = 0
    for question, answer in tool.answers(folder):
        seen[question] += 1
        null += answer is None
        # An answer to a prompt that the row does not have is wrong too.
        wrong += answer is not None and (question is None or answer != answer_to(question))
    return {
        "missing": sum(prompt(number) not in seen for number in range(n)),
        "duplicated": sum(seen.values()) - len(seen),
        "wrong": wrong,
        "null": null,
        "billed_twice": len(billed) - len(set(billed)),
    }


def shown(folder: Path) -> list[str]:
    """The lines that the user saw, without colours, empty ones and the scratch folder's name."""
    text = (folder / LOG).read_text("utf-8", "replace").replace("\r", "\n")
    text = text.replace(f"{folder}/", "")
    lines = (ESCAPES.sub("", line).strip() for line in text.split("\n"))
    return [line for line in lines if line]


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
