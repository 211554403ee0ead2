"""Tokens a second of the trainer on random rows and random weights of a Qwen2 shape.

    python benchmarks/train_speed.py --size 0.5b --batch-size 8 --length 512 --steps 20

On CUDA the arithmetic is bfloat16 under autocast, as `mwalimu finetune` chooses; on the CPU it is
float32. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.exact import deterministic
from mwalimu.finetune.student import autocast_wanted
from mwalimu.finetune.trainer import Job, Trainer

# hidden, intermediate, layers, heads, key-value heads, vocabulary
SIZES = {"0.5b": (896, 4864, 24, 14, 2, 151_936), "tiny": (64, 160, 4, 4, 4, 1024)}
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    hidden, intermediate, layers, heads, kv_heads, vocabulary = SIZES[arguments.size]
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=True,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(device)
    count = arguments.batch_size * (arguments.steps + WARM_UP)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder, deterministic():
        job = Job(
            settings=FinetuneConfig(
                batch_size=arguments.batch_size, epochs=1, save_every=10**9, learning_rate=1e-4
            ),
            train=random_rows(count, arguments.length, vocabulary),
            validation=(),
            pad_id=0,
            seed=0,
            fingerprint="speed",
            autocast=autocast_wanted(StudentConfig(model="random", method="full")),
        )
        Trainer(model, job, Path(folder), lambda *_: times.append(time.perf_counter())).fit()
    seconds = times[WARM_UP + arguments.steps - 1] - times[WARM_UP - 1]
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    tokens = arguments.steps * arguments.batch_size * arguments.length
    facts = {
        "size": arguments.size,
        "parameters": model.num_parameters(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "tokens_per_s": round(tokens / seconds),
        "peak_mib": peak,
    }
    print(json.dumps(facts))


def random_rows(count: int, length: int, vocabulary: int) -> list[Encoded]:
    """Half prompt, half answer."""
    rng = random.Random(0)
    mask = [False] * (length // 2) + [True] * (length - length // 2)
    rows = ([rng.randrange(1, vocabulary) for _ in range(length)] for _ in range(count))
    return [Encoded(ids, mask) for ids in rows]


if __name__ == "__main__":
    main()
