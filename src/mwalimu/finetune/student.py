"""The student on disk: loading it from a folder, the hub or a bare config, and publishing it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from mwalimu.config import StudentConfig
from mwalimu.data.tokenize import end_of_turn_id, prepare_tokenizer
from mwalimu.errors import StudentError, TrainingError
from mwalimu.finetune.files import publish_folder

MAX_SHARD = "5GB"
# What transformers raises for a folder or hub id that it cannot use.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    HFValidationError,
)


def load_student(config: StudentConfig, *, seed: int) -> tuple[Any, Any]:
    """The model, with LoRA if asked, on the GPU if there is one, and its tokenizer.

    Raises:
        StudentError: the folder is broken or the hub id unknown, in one line.
    """
    transformers_logging.disable_progress_bar()
    _check_folder(config.model)
    tokenizer = _load_tokenizer(config)
    try:
        model = _load_model(config, seed)
    except StudentError:
        raise
    except _LOAD_ERRORS as error:
        raise _cannot_load(config.model, "the student", error) from error
    prepare_tokenizer(tokenizer)
    _check_vocabulary(model, tokenizer, config.model)
    model.to(_device())
    if config.method == "lora":
        model = _with_lora(model, config, seed)
    return model, tokenizer


def save_student(model: Any, tokenizer: Any, folder: Path) -> None:
    """Publishes a plain transformers folder, with LoRA merged in; `folder` is whole or untouched.

    Raises:
        TrainingError: a weight is not finite; nothing is written.
    """
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    check_finite(model)
    model.generation_config = _generation_config(model, tokenizer)
    with publish_folder(folder) as temporary:
        model.save_pretrained(temporary, max_shard_size=MAX_SHARD)
        tokenizer.save_pretrained(temporary)


def check_finite(model: Any) -> None:
    bad = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise TrainingError(
            f"{len(bad)} tensors of the student are not finite, the first is {bad[0]}",
            fix="lower finetune.learning_rate",
        )


def autocast_wanted(config: StudentConfig) -> bool:
    """bfloat16 arithmetic over full-precision weights: the automatic choice on a GPU."""
    return config.dtype == "auto" and _device().type == "cuda"


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _check_folder(name: str) -> None:
    """What transformers would report as an ill-formed hub id."""
    folder = Path(name)
    if folder.is_absolute() and not folder.is_dir():
        raise StudentError("no such folder", where=name, fix="check student.model in the config")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise StudentError("has no config.json", where=name, fix="name a transformers folder")


def _load_tokenizer(config: StudentConfig) -> Any:
    try:
        return AutoTokenizer.from_pretrained(
            config.model, trust_remote_code=config.trust_remote_code
        )
    except _LOAD_ERRORS as error:
        raise _cannot_load(config.model, "the student's tokenizer", error) from error


def _load_model(config: StudentConfig, seed: int) -> Any:
    options = {"trust_remote_code": config.trust_remote_code}
    if _has_no_weights(Path(config.model)):
        torch.manual_seed(seed)
        architecture = AutoConfig.from_pretrained(config.model, **options)
        return AutoModelForCausalLM.from_config(architecture, dtype=_dtype(config), **options)
    model, info = AutoModelForCausalLM.from_pretrained(
        config.model,
        dtype=_dtype(config),
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are told below, all at once
        **options,
    )
    missing = sorted(info["missing_keys"])
    other = sorted(str(key[0]) for key in info["mismatched_keys"])
    for names, problem in (
        (other, "do not have the shape of config.json"),
        (missing, "are missing"),
    ):
        if names:
            raise StudentError(
                f"{len(names)} weights {problem}, the first is {names[0]}",
                where=config.model,
                fix="download the model again",
            )
    return model


def _has_no_weights(folder: Path) -> bool:
    if not (folder / "config.json").is_file():
        return False
    return not any(any(folder.glob(p)) for p in ("*.safetensors", "*.bin", "*.index.json"))


def _dtype(config: StudentConfig) -> torch.dtype:
    """Frozen weights under LoRA may be half precision; weights that learn may not."""
    if config.dtype == "bfloat16":
        return torch.bfloat16
    frozen = config.method == "lora"
    return torch.bfloat16 if frozen and autocast_wanted(config) else torch.float32


def _with_lora(model: Any, config: StudentConfig, seed: int) -> Any:
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # peft asks transformers by names that transformers is about to drop.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, lora)


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


def _check_vocabulary(model: Any, tokenizer: Any, where: str) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StudentError(
            f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}",
            where=where,
            fix="use the tokenizer that belongs to this model",
        )


def _cannot_load(name: str, what: str, error: Exception) -> StudentError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    fix = "name a folder with config.json, tokenizer and safetensors weights, or a hub id"
    return StudentError(f"{what} cannot be loaded ({lines[0]})", where=name, fix=fix)
