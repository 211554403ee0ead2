"""What one forward pass over all slots gains over one pass a slot, on a model folder.

    python benchmarks/serving/slots.py FOLDER --slots 8 --tokens 64 --rounds 3

Both decoders continue the same prompts; they take turns, and each round gives one ratio.
"""

import argparse
import statistics
import time
from pathlib import Path

from mwalimu.data.loading import load_causal_lm
from mwalimu.runtimes import Decoder
from mwalimu.runtimes.batched_decoder import BatchedDecoder
from mwalimu.runtimes.generation import greedy
from mwalimu.runtimes.transformers_decoder import TransformersDecoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model, _ = load_causal_lm(str(given.folder))
    prompts = [[1 + i, *range(3, 20 + i)] for i in range(given.slots)]

    def speed(decoder: Decoder) -> tuple[float, list[list[int]]]:
        start = time.perf_counter()
        answers = greedy(decoder, prompts, ends=(), max_tokens=given.tokens)
        return given.tokens * len(prompts) / (time.perf_counter() - start), answers

    ratios = []
    for _ in range(given.rounds):
        alone, expected = speed(TransformersDecoder(model, slots=given.slots))
        batched, found = speed(BatchedDecoder(model, slots=given.slots))
        ratios.append(batched / alone)
        same = sum(a == b for a, b in zip(expected, found, strict=True))
        print(f"alone {alone:.0f} tokens/s, batched {batched:.0f}, {same}/{len(prompts)} equal")
    print(f"batched / alone: {statistics.median(ratios):.2f}x (median of {given.rounds})")


if __name__ == "__main__":
    main()
