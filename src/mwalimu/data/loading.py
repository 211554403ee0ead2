"""Loads a causal language model to be asked, from a transformers folder or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class CannotLoad(Exception):
    """Why, in one line; what it means to the user is the caller's to say."""


def load_causal_lm(name: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """(model, tokenizer): the model ready to generate, the tokenizer as it was saved.

    Raises:
        CannotLoad: also when weights are missing, which transformers would fill with chance.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, trust_remote_code=trust_remote_code)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            name,
            dtype="auto",
            use_safetensors=True,
            output_loading_info=True,
            **_options(name, trust_remote_code),
        )
    except Exception as error:  # a broken folder can raise nearly anything
        raise CannotLoad(_first_line(error)) from error
    if missing := sorted(info["missing_keys"]):
        raise CannotLoad(f"{len(missing)} weights are missing, first {missing[0]}")
    return on_device(model).eval(), tokenizer


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> Any:
    """Raises CannotLoad."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoTokenizer.from_pretrained(name, **_options(name, trust_remote_code))
    except Exception as error:
        raise CannotLoad(_first_line(error)) from error


def on_device(model: Any) -> Any:
    """CUDA in the checkpoint's own precision; float32 on the CPU, where half precision is slow."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model.float()


def _options(name: str, trust_remote_code: bool) -> dict[str, Any]:
    return {"local_files_only": Path(name).is_dir(), "trust_remote_code": trust_remote_code}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
