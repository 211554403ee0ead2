"""What every client script is told, reads and writes; runs in the peers' own environments.

Working folder: a scratch folder of this run. A rerun after a kill finds it as it was left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MODEL = "mock"
MAX_TOKENS = 512


class Job(NamedTuple):
    prompts: Path
    url: str
    concurrency: int
    out: Path

    @classmethod
    def from_command_line(cls) -> Job:
        parser = argparse.ArgumentParser()
        parser.add_argument("--prompts", type=Path, required=True)
        parser.add_argument("--url", required=True)
        parser.add_argument("--concurrency", type=int, required=True)
        parser.add_argument("--out", type=Path, required=True)
        return cls(**vars(parser.parse_args()))

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.prompts.read_text("utf-8").splitlines()]

    def write(self, answers: Iterable[tuple[str, str | None]]) -> None:
        with self.out.open("w", encoding="utf-8") as handle:
            for prompt, answer in answers:
                handle.write(json.dumps({"prompt": prompt, "answer": answer}) + "\n")
