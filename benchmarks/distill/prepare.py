"""Writes what workload.py reads: random weights and rows, and what the teacher says of the targets.

python benchmarks/distill/prepare.py --size small --dtype float32 --out DIR
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM
from workload import BATCH, FACTS, SIZES, STUDENT, TEACHER, Size, facts, load_model

CHUNK = 64  # tokens whose logits exist together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    size, out = SIZES[arguments.size], arguments.out
    dtype = getattr(torch, arguments.dtype)
    torch.manual_seed(0)
    write_model(size.student.config(size.vocabulary), dtype, out / STUDENT)
    write_model(size.teacher.config(size.vocabulary), dtype, out / TEACHER)
    (out / FACTS).write_text(json.dumps(facts(arguments.size, arguments.dtype)), "utf-8")
    save_file(batch(size, out), out / BATCH)


def write_model(config: Qwen2Config, dtype: torch.dtype, path: Path) -> None:
    model = Qwen2ForCausalLM(config).to(dtype)
    # The head is the embeddings.
    save_file({k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}, path)


@torch.no_grad()
def batch(size: Size, out: Path) -> dict[str, torch.Tensor]:
    ids_BT = torch.randint(size.vocabulary, (size.rows, size.length))
    teacher = load_model(size.teacher.config(size.vocabulary), out / TEACHER, torch.device("cpu"))
    hidden_BTH = teacher.model(ids_BT, use_cache=False).last_hidden_state
    hidden_NH = hidden_BTH.flatten(0, 1)[size.positions_N()]
    found = [
        cached(teacher.lm_head(hidden_CH).float().log_softmax(-1), size)
        for hidden_CH in hidden_NH.split(CHUNK)
    ]
    names = ("sampled_ids_NK", "sampled_weight_NK", "best_ids_NK", "best_logp_NK", "tail_N")
    columns = zip(*found, strict=True)
    return {"ids_BT": ids_BT} | {n: torch.cat(x) for n, x in zip(names, columns, strict=True)}


def cached(logp_CV: torch.Tensor, size: Size) -> tuple[torch.Tensor, ...]:
    """(ids and shares of the draws; ids and log-probabilities of the best; log of the rest)."""
    draws_CK = torch.multinomial(logp_CV.exp(), size.draws, replacement=True)
    best = logp_CV.topk(size.best)
    tail_C = torch.log1p(-best.values.exp().sum(-1))
    return *merged(draws_CK), best.indices, best.values, tail_C


def merged(draws_CK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An id drawn twice becomes one entry of twice the share; the place left over is a pad."""
    ids_CK, weight_CK = torch.zeros_like(draws_CK), torch.zeros(draws_CK.shape)
    for row, draws_K in enumerate(draws_CK):
        ids, counts = draws_K.unique(return_counts=True)
        ids_CK[row, : len(ids)] = ids
        weight_CK[row, : len(ids)] = counts / len(draws_K)
    return ids_CK, weight_CK


if __name__ == "__main__":
    main()
