"""A student from a folder, the hub or a bare config, with the weights that learn set apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from mwalimu.config import StudentConfig
from mwalimu.data.loading import BASE_FILE, in_one_line
from mwalimu.data.quantised import quantise
from mwalimu.data.tokenize import prepare_tokenizer
from mwalimu.errors import MwalimuError, StudentError
from mwalimu.finetune.student.adapters import with_adapter
from mwalimu.finetune.student.parts import freeze, unfreeze


def load_student(config: StudentConfig, *, seed: int) -> tuple[Any, Any]:
    """The model, on the GPU if there is one, and its tokenizer; what does not learn is frozen.

    Raises:
        StudentError: the folder is broken or the hub id unknown, or a part to be frozen or adapted
            is not there; in one line.
        MissingDependency: the base is to be quantised, and there is nothing to do it with.
    """
    transformers_logging.disable_progress_bar()
    check_folder(config.model)
    tokenizer = _load_tokenizer(config)
    try:
        model = _load_model(config, seed)
    except MwalimuError:
        raise
    except Exception as error:  # a broken folder can raise nearly anything
        raise cannot_load(config.model, "the student", error) from error
    prepare_tokenizer(tokenizer)
    _check_vocabulary(model, tokenizer, config.model)
    quantise(model, config.bits, _device())
    model.to(_device())
    freeze(model, config.freeze)
    if config.adapts:
        try:
            model = with_adapter(model, config, seed)
        except ValueError as error:  # peft's, of a model without layers
            raise cannot_load(config.model, "the student's adapter", error) from error
        unfreeze(model, config.unfreeze, learning_dtype(config))
    return model, tokenizer


def autocast_wanted(config: StudentConfig) -> bool:
    """bfloat16 arithmetic over full-precision weights: the automatic choice on a GPU."""
    return config.dtype == "auto" and _device().type == "cuda"


def learning_dtype(config: StudentConfig) -> torch.dtype:
    """Half precision loses small updates, so weights that learn have it only where it is asked."""
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


def base_dtype(config: StudentConfig) -> torch.dtype:
    """Frozen weights under an adapter are in half precision on a GPU."""
    frozen = config.adapts and autocast_wanted(config)
    return torch.bfloat16 if frozen else learning_dtype(config)


def check_folder(name: str) -> None:
    """What transformers would report as an ill-formed hub id."""
    folder = Path(name)
    if folder.is_absolute() and not folder.is_dir():
        raise StudentError("no such folder", where=name, fix="check student.model in the config")
    if (folder / BASE_FILE).is_file():
        fix = "name the base that its base.json names, or publish it merged"
        raise StudentError("is an adapter, and no model of its own", where=name, fix=fix)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise StudentError("has no config.json", where=name, fix="name a transformers folder")


def has_no_weights(name: str) -> bool:
    """Of a folder with a config, whose weights are drawn from the seed."""
    folder = Path(name)
    if not (folder / "config.json").is_file():
        return False
    return not any(any(folder.glob(p)) for p in ("*.safetensors", "*.bin", "*.index.json"))


def cannot_load(name: str, what: str, error: Exception) -> StudentError:
    fix = "name a folder with config.json, tokenizer and safetensors weights, or a hub id"
    return StudentError(f"{what} cannot be loaded ({in_one_line(error)})", where=name, fix=fix)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _load_tokenizer(config: StudentConfig) -> Any:
    try:
        return AutoTokenizer.from_pretrained(
            config.model, trust_remote_code=config.trust_remote_code
        )
    except Exception as error:
        raise cannot_load(config.model, "the student's tokenizer", error) from error


def _load_model(config: StudentConfig, seed: int) -> Any:
    options = {"trust_remote_code": config.trust_remote_code}
    if has_no_weights(config.model):
        torch.manual_seed(seed)
        architecture = AutoConfig.from_pretrained(config.model, **options)
        return AutoModelForCausalLM.from_config(architecture, dtype=base_dtype(config), **options)
    model, info = AutoModelForCausalLM.from_pretrained(
        config.model,
        dtype=base_dtype(config),
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


def _check_vocabulary(model: Any, tokenizer: Any, where: str) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StudentError(
            f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}",
            where=where,
            fix="use the tokenizer that belongs to this model",
        )
