"""A causal language model answers one batch: the same way as a teacher and under evaluation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """`tokens` counts the ending one; `stopped`: the model itself ended, before the limit."""

    text: str
    tokens: int
    stopped: bool


def generate_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    ends: Collection[int],
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Answer]:
    """The answers to `prompts` (ids, each fitting the context), in order; greedy at temperature 0.

    `ends` are the ids any of which ends an answer. What the model's own generation config sets
    beside sampling, a repetition penalty say, holds. Sampling depends on `seed` alone.
    """
    import torch

    ids_BT, mask_BT = _left_padded(prompts, tokenizer.pad_token_id, model.device)
    sampled = temperature > 0
    torch.manual_seed(seed)
    with torch.inference_mode():
        output_BT = model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=max_tokens,
            do_sample=sampled,
            temperature=temperature if sampled else None,
            top_p=top_p if sampled else None,
            top_k=0 if sampled else None,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
        )
    return [_read(tokenizer, row, ends) for row in output_BT[:, ids_BT.shape[1] :].tolist()]


def on_device(model: Any) -> Any:
    """CUDA in the checkpoint's own precision; float32 on the CPU, where half precision is slow."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model.float()


def _left_padded(prompts: Sequence[list[int]], pad: int, device: Any) -> tuple[Any, Any]:
    import torch

    width = max(map(len, prompts))
    ids = [[pad] * (width - len(row)) + row for row in prompts]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _read(tokenizer: Any, row: list[int], ends: Collection[int]) -> Answer:
    length = next((i for i, token in enumerate(row) if token in ends), len(row))
    stopped = length < len(row)
    text = tokenizer.decode(row[:length], skip_special_tokens=True).strip()
    return Answer(text, length + stopped, stopped)
