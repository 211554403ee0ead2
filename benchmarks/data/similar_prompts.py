"""What `prompts.max_similarity` costs, and what it finds, against a comparison with every prompt.

    python benchmarks/data/similar_prompts.py --prompts 5000

Each prompt of a data set is compared with those accepted before it: by the pool, by the same
measure with sets of words in Python, and by ROUGE-L with every one, as
Self-Instruct does (rouge-score, stemmer off; only with --rouge prompts, since it is slow).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from mwalimu.synthesis.prompts.pool import Pool, similarity, words_of

LIMIT = 0.7


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--set", default="banking77")
    options.add_argument("--prompts", type=int, default=5_000)
    options.add_argument("--rouge", type=int, default=1_000)
    chosen = options.parse_args()
    source = chosen.data / chosen.set / "train.jsonl"
    if not source.is_file():
        sys.exit(f"{source} is missing; name the folder of the data sets with --data")
    lines = source.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(user_turn(line) for line in lines))[: chosen.prompts]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    kept = by_pool(texts)
    pool_s = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    began = time.perf_counter()
    everything = by_everything(texts)
    all_s = time.perf_counter() - began
    print(f"{len(texts)} prompts of {chosen.set}, limit {LIMIT}: {len(kept)} accepted")
    print(
        f"pool: {pool_s:.1f} s, {pool_s / len(texts) * 1e3:.2f} ms a prompt, {grown:.0f} MiB more"
    )
    print(f"sets in Python: {all_s:.1f} s; the same decisions: {kept == everything}")
    few = texts[: chosen.rouge]
    began = time.perf_counter()
    by_rouge_l = set(by_rouge(few))
    rouge_s = time.perf_counter() - began
    ours = set(by_pool(few))
    both = len(by_rouge_l & ours)
    print(
        f"ROUGE-L, {len(few)} prompts: {rouge_s:.1f} s, {len(by_rouge_l)} accepted, {both} of them "
        f"by the pool as well, which accepts {len(ours)}"
    )


def user_turn(line: str) -> str:
    messages = json.loads(line)["messages"]
    return next(str(m["content"]) for m in messages if m["role"] == "user")


def by_pool(texts: list[str]) -> list[str]:
    kept = []
    with Pool(LIMIT) as pool:
        for text in texts:
            if pool.too_like(text) is None:
                pool.add(text, text, "")
                kept.append(text)
    return kept


def by_everything(texts: list[str]) -> list[str]:
    kept: list[str] = []
    sets: list[frozenset[str]] = []
    for text in texts:
        words = words_of(text)
        if not any((s := similarity(words, other)) > LIMIT or s == 1 for other in sets):
            kept.append(text)
            sets.append(words)
    return kept


def by_rouge(texts: list[str]) -> list[str]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    kept: list[str] = []
    for text in texts:
        if all(scorer.score(other, text)["rougeL"].fmeasure <= LIMIT for other in kept):
            kept.append(text)
    return kept


if __name__ == "__main__":
    main()
