"""Loads a causal language model to be asked: a transformers folder, a hub id, or an adapter.

An adapter's folder has what it adds to a base; BASE_FILE names that one.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwalimu.errors import explained

BASE_FILE = "base.json"
"""The base's model, revision, bits and dtype; revision is null for a folder,
which is named from here where it lies beside the adapter."""


class CannotLoad(Exception):
    """Why, in one line; what it means to the user is the caller's to say."""


def load_causal_lm(
    name: str, *, trust_remote_code: bool = False, place: Callable[[Any], Any] | None = None
) -> tuple[Any, Any]:
    """(model, tokenizer): the model ready to generate, the tokenizer as it was saved.

    `place` puts a model that is in the machine's memory where it is to be; on_device if None.

    Raises:
        CannotLoad: also when weights are missing, which transformers would fill with chance.
    """
    tokenizer = load_tokenizer(name, trust_remote_code=trust_remote_code)
    if base_of(Path(name)):
        model = _load_with_adapter(Path(name), trust_remote_code)
    else:
        model = (place or on_device)(_load(name, trust_remote_code))
    return model.eval(), tokenizer


def load_skeleton(name: str) -> Any:
    """The model of plain numbers without its weights, as `on_device` would type it.

    None for an adapter or a quantised model. Raises CannotLoad.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if base_of(Path(name)):
        return None
    try:
        config = AutoConfig.from_pretrained(name, **_options(name, False))
        if getattr(config, "quantization_config", None):
            return None
        dtype = config.dtype if torch.cuda.is_available() else torch.float32
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, dtype=dtype)
    except Exception as error:
        raise explained(error) or CannotLoad(in_one_line(error)) from error


def base_of(folder: Path) -> dict[str, Any]:
    """Of an adapter's folder: its base, as BASE_FILE has it; empty for another one.

    Raises CannotLoad.
    """
    try:
        found = json.loads((folder / BASE_FILE).read_bytes())
        base = {name: found[name] for name in ("model", "revision", "bits", "dtype")}
        beside = folder / base["model"]
        return base | {"model": str(beside.resolve()) if beside.is_dir() else base["model"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        damaged = CannotLoad(f"{BASE_FILE} is damaged ({error})")
        raise explained(error, str(folder / BASE_FILE)) or damaged from None


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> Any:
    """Raises CannotLoad."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoTokenizer.from_pretrained(name, **_options(name, trust_remote_code))
    except Exception as error:
        raise explained(error) or CannotLoad(in_one_line(error)) from error


def on_device(model: Any) -> Any:
    """CUDA in the checkpoint's own precision; float32 on the CPU, where half precision is slow."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model.float()


def is_adapted(model: Any) -> bool:
    """Asked so that peft, slow to import, is not imported for a model without adapters."""
    return hasattr(model, "get_base_model")


def causal_lm_of(model: Any) -> Any:
    """The transformers model inside peft's adapters, which stay in its layers; or `model`."""
    return model.get_base_model() if is_adapted(model) else model


@contextmanager
def quiet_peft() -> Iterator[None]:
    """peft asks transformers by names that transformers is about to drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _load(
    name: str, trust_remote_code: bool, *, dtype: Any = "auto", revision: str = "main"
) -> Any:
    """Raises CannotLoad."""
    from transformers import AutoModelForCausalLM

    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            revision=revision,
            use_safetensors=True,
            output_loading_info=True,
            **_options(name, trust_remote_code),
        )
    except Exception as error:  # a broken folder can raise nearly anything
        raise explained(error) or CannotLoad(in_one_line(error)) from error
    if missing := sorted(info["missing_keys"]):
        raise CannotLoad(f"{len(missing)} weights are missing, first {missing[0]}")
    return model


def _load_with_adapter(folder: Path, trust_remote_code: bool) -> Any:
    """The base just as it was trained on, under the adapter. Raises CannotLoad."""
    import torch
    from peft import PeftModel

    from mwalimu.data.quantised import quantise

    base, device = base_of(folder), "cuda" if torch.cuda.is_available() else "cpu"
    model = _load(
        base["model"],
        trust_remote_code,
        dtype=getattr(torch, base["dtype"]),
        revision=base["revision"] or "main",
    )
    quantise(model, base["bits"], torch.device(device))
    try:
        with quiet_peft():
            return PeftModel.from_pretrained(model.to(device), folder)
    except Exception as error:
        raise explained(error) or CannotLoad(in_one_line(error)) from error


def _options(name: str, trust_remote_code: bool) -> dict[str, Any]:
    return {"local_files_only": os.path.isdir(name), "trust_remote_code": trust_remote_code}


def in_one_line(error: BaseException) -> str:
    """Some libraries tell what is wrong in their second line only."""
    return " ".join(str(error).split())[:200] or type(error).__name__
