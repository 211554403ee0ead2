"""An arm's answers against Hugging Face `generate` one row at a time, at equal output.

    python benchmarks/evaluation/generation.py --rows 120 --repeats 3

The teacher that ships with the quickstart answers rows of its world. Both programs encode the same
prompts, run interleaved in one process, and stop at the same ids; texts are compared row by row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from mwalimu.data.dataset import load_records
from mwalimu.data.record import Record
from mwalimu.evaluation.generate import Answerer, load_answerer
from mwalimu.quickstart.job import split_rows


def one_at_a_time(answerer: Answerer, prompts: list[list[int]]) -> list[str]:
    """What a script does: a loop over rows around model.generate."""
    texts = []
    for ids in prompts:
        with torch.inference_mode():
            output = answerer.model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=answerer.max_tokens,
                do_sample=False,
                eos_token_id=sorted(answerer.ends),
                pad_token_id=answerer.tokenizer.pad_token_id,
            )
        texts.append(answerer.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
    return [text.strip() for text in texts]


def batched(answerer: Answerer, prompts: list[list[int]], size: int) -> list[str]:
    answers = answerer.answer_all(prompts, batch_size=size, on_batch=lambda done: None)
    return [answer.text for answer in answers]


def timed(work: Any, *arguments: Any) -> tuple[float, list[str]]:
    started = time.perf_counter()
    texts = work(*arguments)
    return time.perf_counter() - started, texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    folder = Path(str(files("mwalimu.quickstart"))) / "teacher"
    answerer = load_answerer(folder, max_tokens=64, trust_remote_code=False)
    prompts = answerer.encode(rows(options.rows))
    one_at_a_time(answerer, prompts[:3])  # libraries start
    batched(answerer, prompts[:3], 3)
    ratios, slow, fast = [], [], []
    for _ in range(options.repeats):
        seconds, theirs = timed(one_at_a_time, answerer, prompts)
        ours_s, ours = timed(batched, answerer, prompts, options.batch_size)
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        ratios.append(seconds / ours_s)
        slow.append(seconds)
        fast.append(ours_s)
    print(
        f"{options.rows} rows, {torch.get_num_threads()} threads, batches of {options.batch_size}"
    )
    print(f"one at a time {statistics.median(slow):.2f} s, batched {statistics.median(fast):.2f} s")
    print(f"ratio {statistics.median(ratios):.2f}x, each: {', '.join(f'{r:.2f}' for r in ratios)}")
    print(f"equal answers: {same} of {options.rows}")


def rows(count: int) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in split_rows("test", count, 0)))
        return load_records(path, task="generic", split="test")


if __name__ == "__main__":
    main()
