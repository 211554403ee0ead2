"""A language model's last step, hidden state to logits, taken apart from the model.

The loss projects its tokens itself, a chunk at a time, so that the logits of a batch never exist
together. That needs the head as numbers: weight, bias, scale and soft cap.

Shapes: C tokens of a chunk, V vocabulary, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.parametrize import type_before_parametrizations

from mwalimu.data.loading import causal_lm_of


@dataclass(frozen=True, slots=True)
class Head:
    """logits = cap * tanh(u / cap), u = scale * (hidden @ weight.T + bias); no cap: logits = u.

    `vocabulary`: columns from there on are padding, not tokens: they are cut off, which is a logit
    of minus infinity.
    """

    weight_VH: torch.Tensor
    bias_V: torch.Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None
    vocabulary: int | None = None

    def logits(self, hidden_CH: torch.Tensor) -> torch.Tensor:
        """[C, V] in float32 (float64 where the weights are), accumulated in at least float32."""
        weight_VH = self.weight_VH[: self.vocabulary]
        logits_CV = matmul(hidden_CH.to(weight_VH.dtype), weight_VH.t())
        if self.bias_V is not None:
            logits_CV += self.bias_V[: self.vocabulary]
        if self.scale != 1.0:
            logits_CV *= self.scale
        if self.soft_cap is not None:
            logits_CV.div_(self.soft_cap).tanh_().mul_(self.soft_cap)
        return logits_CV

    def before_cap(self, grad_CV: torch.Tensor, logits_CV: torch.Tensor) -> torch.Tensor:
        """Takes d loss / d logits, in place, to d loss / d (hidden @ weight.T + bias).

        With a soft cap, the logits are used up.
        """
        if self.soft_cap is not None:
            # d tanh(x) = 1 - tanh(x)^2, and the logits are the tanh times the cap.
            grad_CV.addcmul_(grad_CV, logits_CV.div_(self.soft_cap).square_(), value=-1)
        return grad_CV if self.scale == 1.0 else grad_CV.mul_(self.scale)


def matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left @ right with a result in float32, or float64 if they are; a new tensor."""
    if left.dtype in (torch.float32, torch.float64):
        return left @ right
    if left.device.type == "cuda":
        return torch.mm(left, right, out_dtype=torch.float32)
    return (left @ right).float()


def find_head(model: Any) -> Head | None:
    """The head of a causal LM of transformers; None if it is no plain matrix (a LoRA on it, say).

    Scales and caps are read from the config by the names that transformers' models use. A model
    may have others, so whoever uses the result compares it with the model's own logits first.
    """
    causal = causal_lm_of(model)
    get_layer = getattr(causal, "get_output_embeddings", None)
    layer = get_layer() if get_layer else None
    if layer is None or type_before_parametrizations(layer) is not torch.nn.Linear:
        return None
    config = causal.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
    scale *= float(getattr(config, "lm_head_multiplier", None) or 1.0)  # Falcon-H1
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    return Head(layer.weight, layer.bias, scale, float(cap) if cap else None)
