"""The stage prepare on a generated file: read, validate, contamination, duplicates, publish."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from mwalimu.config import build_config
from mwalimu.data.dataset import open_dataset
from mwalimu.preparation.prepare import prepare
from mwalimu.preparation.screening import Sources
from mwalimu.run import Run


def main(folder: Path) -> None:
    config = build_config(
        {
            "task": "generic",
            "data": {"train": "train.jsonl", "test": "test.jsonl", "contamination": "drop"},
            "teacher": {"model": "fake"},
            "student": {"model": "unused"},
            "prepare": {"near_duplicates": 0.5, "overlap": "drop"},
        },
        base=folder,
    )
    train, test = (
        open_dataset(folder / f"{split}.jsonl", task="generic", split=split)
        for split in ("train", "test")
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Path(scratch))
        sources = Sources(train, None, test)
        prepare(config, run, sources, stage_fingerprint="", on_progress=lambda *_: None)
        funnel = json.loads(run.path("prepare", "funnel.json").read_bytes())
    print(json.dumps(funnel["splits"]["train"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
