"""One life of a job with batches, then its online pass; also as a process to be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwalimu.config import Config, build_config
from mwalimu.data.record import Message, Record
from mwalimu.synthesis import limiter
from mwalimu.synthesis.batches import remote
from mwalimu.synthesis.batches.prefetch import run_batches
from mwalimu.synthesis.budget import Budget
from mwalimu.synthesis.engine import Item
from mwalimu.synthesis.index import Spend
from mwalimu.synthesis.opening import open_job
from mwalimu.synthesis.verdict import Outcome

RUN = "ab" * 16
PRICES = {
    "usd_per_million_input": 2.0,
    "usd_per_million_output": 10.0,
    "batch_factor": 0.5,
}


@dataclass
class Life:
    notes: list[str]
    outcomes: list[Outcome]
    spend: Spend
    sent: int
    repeated: int
    ambiguous: int
    texts: list[str] = field(default_factory=list)


def hurry() -> None:
    remote.FIRST_POLL_S = remote.LAST_POLL_S = 0.01
    limiter.BACKOFF_S = 0.01
    from mwalimu.teachers.batch import openai_files

    openai_files.FILE_POLL_S = 0.01


def rows(*texts: str) -> list[Record]:
    return [Record(f"r{i}", "generic", (Message("user", text),)) for i, text in enumerate(texts)]


def config_for(folder: Path, kind: str, home: str, **changes: Any) -> Config:
    """`kind`: openai, azure, azure-v1, anthropic; `changes` are of teacher, generate, budget."""
    places: dict[str, dict[str, Any]] = {
        "openai": {"base_url": f"{home}/v1"},
        "azure": {"kind": "azure", "base_url": home, "deployment": "tiny"},
        "azure-v1": {"kind": "azure", "base_url": f"{home}/openai/v1", "deployment": "tiny"},
        "anthropic": {"kind": "anthropic", "base_url": home},
    }
    sections = {name: changes.pop(name) for name in ("generate", "budget") if name in changes}
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "tiny", "mode": "batch", "max_tokens": 20, "outage_s": 5}
        | places[kind]
        | PRICES
        | changes,
        "student": {"model": "none"},
    }
    return build_config(raw | sections, base=folder)


async def live(config: Config, store: Path, records: list[Record], run: str = RUN) -> Life:
    async with open_job(config, store, run) as job:
        notes: list[str] = []
        try:
            await run_batches(job, lambda: map(Item, records), notes.append)
            outcomes = [outcome async for outcome in job.engine().run(map(Item, records))]
        finally:
            # Whatever happened, the budget knows what the next life will count as spent.
            held = [a + b for a, b in zip(job.budget.spent, job.budget._held, strict=True)]
            assert held == Budget(config.budget, job.store.spend()).spent
        calls = job.members[0].asker.calls
        return Life(
            notes,
            outcomes,
            job.store.spend(),
            calls.sent,
            calls.repeated,
            calls.ambiguous,
            [outcome.text for outcome in outcomes],
        )


def run(config: Config, store: Path, records: list[Record], run: str = RUN) -> Life:
    return asyncio.run(live(config, store, records, run))


if __name__ == "__main__":  # folder, kind, home, texts as JSON
    hurry()
    place = Path(sys.argv[1])
    run(
        config_for(place, sys.argv[2], sys.argv[3]),
        place / "answers",
        rows(*json.loads(sys.argv[4])),
    )
