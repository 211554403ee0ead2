"""What a trained student is published as: a plain transformers folder, or an adapter's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from mwalimu.config import StudentConfig
from mwalimu.data.loading import BASE_FILE, is_adapted
from mwalimu.data.tokenize import end_of_turn_id
from mwalimu.errors import TrainingError
from mwalimu.files import write_json
from mwalimu.finetune.files import publish_folder, save_tensors
from mwalimu.finetune.student.adapters import ADAPTER, adapter_tensors, merged
from mwalimu.finetune.student.loading import autocast_wanted, base_dtype
from mwalimu.finetune.student.parity import Parity

if TYPE_CHECKING:
    from peft import PeftModel

MAX_SHARD = "5GB"


def save_student(
    model: Any,
    tokenizer: Any,
    folder: Path,
    config: StudentConfig,
    rows: Sequence[Sequence[int]] = (),
) -> dict[str, Any]:
    """Publishes the student in `folder`, which is whole or untouched; uses `model` up.

    An adapter is merged, and on `rows` (token ids) the result is compared with what was trained;
    or it is written beside its base's name, as `student.publish` says.

    Returns:
        merge_error and merge_tolerance, where an adapter was merged and there are rows.

    Raises:
        TrainingError: a weight is not finite, or merging changed what the model says; nothing is
            written.
    """
    if not is_adapted(model):
        _save_plain(model, tokenizer, folder)
        return {}
    if config.publish == "adapter":
        _save_adapter(model, tokenizer, folder, config)
        return {}
    parity = Parity(model, rows, autocast=autocast_wanted(config))
    model = merged(model)
    check_finite(model)
    facts = parity.check(model)
    _save_plain(model, tokenizer, folder)
    return facts


def check_finite(model: Any) -> None:
    bad = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise TrainingError(
            f"{len(bad)} tensors of the student are not finite, the first is {bad[0]}",
            fix="lower finetune.learning_rate",
        )


def _save_plain(model: Any, tokenizer: Any, folder: Path) -> None:
    check_finite(model)
    model.generation_config = _generation_config(model, tokenizer)
    with publish_folder(folder) as temporary:
        model.save_pretrained(temporary, max_shard_size=MAX_SHARD)
        tokenizer.save_pretrained(temporary)


def _save_adapter(model: PeftModel, tokenizer: Any, folder: Path, config: StudentConfig) -> None:
    """As peft writes it, but to the same bytes every time; BASE_FILE names what it belongs on."""
    check_finite(model)
    base = model.get_base_model()
    revision = getattr(base.config, "_commit_hash", None)
    settings = model.peft_config[ADAPTER].to_dict()
    settings |= {"base_model_name_or_path": config.model, "revision": revision}
    settings |= {"inference_mode": True}
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in settings.items()}
    with publish_folder(folder) as temporary:
        save_tensors(temporary / "adapter_model.safetensors", adapter_tensors(model))
        write_json(temporary / "adapter_config.json", plain)
        write_json(
            temporary / BASE_FILE,
            {
                "model": _from(folder, config.model),
                "revision": revision,
                "bits": config.bits,
                "dtype": str(base_dtype(config)).removeprefix("torch."),
            },
        )
        _generation_config(base, tokenizer).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _from(folder: Path, model: str) -> str:
    """A base beside the adapter is named from there, so that both may move together."""
    beside = Path(model).is_relative_to(folder.parent)
    return os.path.relpath(model, folder) if beside else model


def _generation_config(model: Any, tokenizer: Any) -> Any:
    """Greedy, and every token that may end a turn stops it."""
    known = getattr(model.generation_config, "eos_token_id", None)
    ends = set(known if isinstance(known, list) else [] if known is None else [known])
    # A config made for another vocabulary may name an ordinary word here.
    ends &= {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    ends |= {end_of_turn_id(tokenizer), tokenizer.eos_token_id}
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
    )
