"""GGUF for llama.cpp: converted by llama.cpp's own converter, quantised by its own library."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mwalimu.config import Precision, TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import end_of_turn_id
from mwalimu.errors import ConfigError, StudentError
from mwalimu.export.built import Built, context_of, versions_of
from mwalimu.export.llama_source import converter
from mwalimu.export.llama_vocabulary import agreeing_pre, first_difference
from mwalimu.runtimes.llama_library import Library, library

WEIGHTS = "model.gguf"
SAMPLE = "sample.py"
SCHEMES: dict[Precision, str] = {"fp32": "F32", "fp16": "F16", "int8": "Q8_0", "int4": "Q4_K_M"}


def made_with() -> dict[str, str | None]:
    return versions_of("llama-cpp-python", "transformers")


def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """`model.gguf`, and `sample.py` where llama.cpp can read text as the student does.

    Raises:
        ConfigError: llama.cpp has no such scheme, or no way to it without an importance matrix.
        MissingDependency: llama-cpp-python or its converter is not here.
        StudentError: llama.cpp does not know the architecture, or fails.
    """
    llama, made = library(), folder / WEIGHTS
    scheme = scheme_of(target, llama.api)
    tokenizer = load_tokenizer(str(folder))
    end = end_of_turn_id(tokenizer)
    whole = made if scheme in ("F32", "F16") else folder / "whole.gguf"
    outtype = "f16" if scheme == "F16" else "f32"
    convert(source, folder, whole, outtype=outtype, end=end)
    difference = first_difference(whole, tokenizer, calibration)
    if difference and (pre := agreeing_pre(whole, tokenizer, calibration)):
        convert(source, folder, whole, outtype=outtype, end=end, pre=pre)
        difference = ""
    if whole != made:
        quantise(llama, whole, made, scheme, note=note)
        whole.unlink()
    if difference:
        note(f"llama.cpp's own tokenizer is not the student's: {difference}; give it ids, not text")
    else:
        sample = Path(__file__).with_name("samples") / "gguf.py"
        (folder / SAMPLE).write_bytes(sample.read_bytes())
    return Built(WEIGHTS, context_of(source))


def scheme_of(target: TargetConfig, api: Any) -> str:
    """llama.cpp's name of the file type. Raises ConfigError."""
    scheme = (target.scheme or SCHEMES[target.precision]).upper()
    known = file_types(api)
    if scheme not in known:
        raise ConfigError(
            f"gguf has no scheme {target.scheme}",
            where="export.targets",
            fix=f"take one of {', '.join(sorted(known))}",
        )
    return scheme


def file_types(api: Any) -> dict[str, int]:
    """llama.cpp's ftypes by their names, such as Q4_K_M."""
    prefixes = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")
    return {
        name.removeprefix(prefix): value
        for name, value in vars(api).items()
        for prefix in prefixes
        if name.startswith(prefix)
    }


def convert(
    source: Path, tokenizer: Path, made: Path, *, outtype: str, end: int, pre: str = ""
) -> None:
    """Unquantised GGUF; the vocabulary is that of the folder `tokenizer`. Raises StudentError."""
    files = [str(path.resolve()) for path in (converter(), source, tokenizer, made)]
    driver = [sys.executable, "-P", "-m", "mwalimu.export.llama_convert"]
    done = subprocess.run(
        [*driver, *files, outtype, pre, str(end)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it does not say why"]
        raise StudentError(f"cannot be converted to gguf ({lines[-1][:200]})", where=str(source))


def quantise(
    llama: Library, whole: Path, made: Path, scheme: str, *, note: Callable[[str], None]
) -> None:
    """Raises StudentError; notes how many tensors got another type than the scheme's own."""
    settings = llama.api.llama_model_quantize_default_params()
    settings.ftype = file_types(llama.api)[scheme]
    llama.warnings.clear()
    failed = llama.api.llama_model_quantize(
        os.fsencode(whole), os.fsencode(made), ctypes.byref(settings)
    )
    if failed:
        raise StudentError(
            f"llama.cpp cannot quantise it to {scheme} ({llama.reason()})", where="export.targets"
        )
    for line in "".join(llama.warnings).splitlines():
        if "required fallback quantization" in line:
            note(f"{scheme}: {line.rpartition('WARNING: ')[2]}")
