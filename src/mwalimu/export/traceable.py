"""A student as a graph can hold it: its mask drawn by tensors alone, its cache as plain tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mwalimu.errors import StudentError
from mwalimu.export.source import load_student


def load_traceable(source: Path) -> Any:
    """The model in float32 on the CPU.

    Raises StudentError: it cannot be loaded, or its rotary frequencies change at every length.
    """
    model, _ = load_student(source)
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = [one for one in rope.values() if isinstance(one, dict)] or [rope]
    if any(one.get("rope_type") == "dynamic" for one in kinds):
        raise StudentError(
            "a graph cannot hold rotary frequencies that change with every length (rope_type"
            " 'dynamic')",
            where=str(source),
            fix="export it as safetensors or gguf",
        )
    return model.float().cpu()


def additive_masks(config: Any, seen_BQK: Any, queries_Q: Any, keys_K: Any) -> Any:
    """What transformers takes for `attention_mask`: 0 where a query sees a key, else -3.4e38.

    [batch, 1, queries, keys], one of it or one by kind of layer. `seen_BQK` says what is seen but
    for a sliding window, which is cut out here; `queries_Q` and `keys_K` are positions.
    """
    import torch

    def additive(seen_BQK: Any) -> Any:
        lowest = torch.tensor(torch.finfo(torch.float32).min)
        return torch.where(seen_BQK, torch.tensor(0.0), lowest)[:, None]

    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    within = seen_BQK
    if window is not None:
        within = seen_BQK & (queries_Q[:, None] - keys_K[None, :] < window)
    if kinds == {"full_attention", "sliding_attention"}:
        return {"full_attention": additive(seen_BQK), "sliding_attention": additive(within)}
    slides = window is not None and kinds != {"full_attention"}
    return additive(within if slides else seen_BQK)


def traced(model: Any) -> Any:
    """A module of (input_ids, attention_mask, position_ids, past) to (logits, present).

    `past` and `present` are (keys, values) a layer, each [batch, heads, ids, head]. `example` has
    tensors to trace it with: batches and lengths of 2 or more, since 1 is traced as a constant.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    config = model.config.get_text_config()

    class Traced(torch.nn.Module):
        layers: int = config.num_hidden_layers
        heads: int = config.num_key_value_heads
        width: int = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, past: Any) -> Any:
            cache = DynamicCache()
            cache.layers = [_filled(DynamicLayer(), *pair) for pair in past]
            keys_K = torch.arange(attention_mask.shape[1])
            queries_Q = keys_K[-input_ids.shape[1] :]
            seen_BQK = (keys_K[None, :] <= queries_Q[:, None]) & attention_mask[:, None, :].bool()
            output = self.model(
                input_ids=input_ids,
                attention_mask=additive_masks(config, seen_BQK, queries_Q, keys_K),
                position_ids=position_ids,
                cache=cache,
                use_cache=True,
            )
            return output.logits, tuple((layer.keys, layer.values) for layer in cache.layers)

        @property
        def example(self) -> dict[str, Any]:
            empty = torch.zeros(2, self.heads, 3, self.width)
            return {
                "input_ids": torch.ones(2, 2, dtype=torch.long),
                "attention_mask": torch.ones(2, 5, dtype=torch.long),
                "position_ids": torch.tensor([[3, 4], [3, 4]]),
                "past": tuple((empty, empty.clone()) for _ in range(self.layers)),
            }

    return Traced().eval()


def _filled(layer: Any, keys: Any, values: Any) -> Any:
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer
