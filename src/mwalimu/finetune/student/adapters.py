"""Low-rank adapters on a frozen base: put on, merged into it, or written to a folder of their own.

With W the frozen matrix, B [out, r] and A [r, in] what learns, and s the scale, a layer uses

lora    W + s B A, s = alpha / r          Hu et al. 2021, arXiv 2106.09685
rslora  the same with s = alpha / sqrt(r)   Kalajdzievski 2023, arXiv 2312.03732
dora    m (W + s B A) / ||W + s B A||, by row, the norms m learned too
                                          Liu et al. 2024, arXiv 2402.09353, equation 5
qlora   lora on a W in 4 bits             Dettmers et al. 2023, arXiv 2305.14314
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mwalimu.config import StudentConfig
from mwalimu.data.loading import quiet_peft
from mwalimu.data.quantised import dequantise, is_quantised
from mwalimu.errors import StudentError

if TYPE_CHECKING:  # a fifth of a training's start, and full students need none of it
    from peft import PeftModel

ADAPTER = "default"


def with_adapter(model: Any, config: StudentConfig, seed: int) -> Any:
    """`model` frozen under an adapter that changes nothing yet; A is drawn from `seed`.

    Raises StudentError: a matrix to be adapted is not there; the message has those that are.
    """
    from peft import LoraConfig, get_peft_model

    check_targets(model, config.lora_targets)
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(config.lora_targets) or "all-linear",
        use_dora=config.method == "dora",
        use_rslora=config.method == "rslora",
        task_type="CAUSAL_LM",
    )
    with quiet_peft():
        return get_peft_model(model, settings)


def check_targets(model: Any, names: tuple[str, ...]) -> None:
    """Raises StudentError."""
    known = adaptable(model)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise StudentError(
            f"the student has no matrix {unknown[0]}",
            where="student.lora_targets",
            fix=f"it has {', '.join(known)}",
        )


def adaptable(model: Any) -> list[str]:
    """The names of the matrices that an adapter may be put on: all but embeddings and head."""
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    return sorted(linear)


def merged(model: PeftModel) -> Any:
    """The plain model whose weights are those that base and adapter make together; uses `model` up.

    A quantised base is dequantised first. Sums are taken in float32, the adapter's own precision,
    and rounded to the base's once.
    """
    with quiet_peft():
        if is_quantised(model):
            model = _on_plain_base(model)
        return model.merge_and_unload()


def adapter_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    """What learns, by the names that peft reads: the adapter, and what of the base was unfrozen."""
    from peft import get_peft_model_state_dict

    tensors = dict(get_peft_model_state_dict(model, save_embedding_layers=False))
    own = {name for name, p in model.named_parameters() if p.requires_grad and "lora_" not in name}
    return tensors | {name: p for name, p in model.named_parameters() if name in own}


def _on_plain_base(model: PeftModel) -> PeftModel:
    """The same adapter on the base's values as plain numbers."""
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    settings = model.peft_config[ADAPTER]
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    base = model.unload()
    dequantise(base)
    plain = get_peft_model(base, settings)
    set_peft_model_state_dict(plain, tensors)
    return plain
