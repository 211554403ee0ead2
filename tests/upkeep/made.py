"""A run folder with two finished stages and an answer store, made without running anything."""

from pathlib import Path

from mwalimu.files import atomic_writer
from mwalimu.run import Run
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore, Stored

CONFIG = {"data": {"test": "test.jsonl"}, "finetune": {"epochs": 3}, "export": {"targets": []}}


def publish(run: Run, stage: str, *names: str, text: bytes = b"one\n") -> None:
    paths = [run.path(stage, name) for name in names]
    for path in paths:
        with atomic_writer(path) as handle:
            handle.write(text)
    run.finish(stage, f"fp-{stage}", paths, {"rows": 3})


def run_folder(root: Path) -> Run:
    run = Run(root)
    run.describe(config=CONFIG)
    publish(run, "generate", "train.jsonl", "ledger.json")
    publish(run, "curate", "train.jsonl")
    return run


def store(folder: Path, count: int, run: str = "") -> list[Stored]:
    answers = [Stored(f"{n:064x}", Cost(10, 2, 3_000_000), b"answer %d" % n) for n in range(count)]
    with AnswerStore(folder, run) as opened:
        opened.mark_sent((one.key, one.cost) for one in answers)
        opened.put(answers)
    return answers
