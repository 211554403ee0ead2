"""llama.cpp's own rounding of every tensor type, asked of its library."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mwalimu.errors import MissingDependency, StudentError
from mwalimu.export.gguf import WEIGHTS
from mwalimu.export.matrices import Rounding, as_type
from mwalimu.runtimes.llama_library import library

_PLAIN = {"F16": torch.float16, "BF16": torch.bfloat16}


def gguf_roundings(folder: Path, model: Any) -> Mapping[str, Rounding]:
    """As each tensor of the export's own file was rounded, fallbacks and mixtures included.

    Raises StudentError, MissingDependency; see `roundings`.
    """
    gguf = _gguf()
    types = _types(gguf, folder / WEIGHTS)
    name_of = _names(gguf, folder / WEIGHTS, model)
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    embedding = next(name_of(n) for n, module in model.named_modules() if module is embeddings)
    found: dict[str, Rounding] = {}
    met: set[str] = set()
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            continue
        tensor = name_of(name)
        if module is head and tensor not in types:  # it is the embedding
            tensor = embedding
        if tensor in types:
            met.add(tensor)
            found[name] = _rounding(gguf, types[tensor])
    if unmet := sorted(types.keys() - met):
        raise StudentError(
            f"cannot be finished: {unmet[0]} of the export is no matrix of the student",
            where=str(folder),
            fix="leave export.finish out",
        )
    return found


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingDependency(
            f"gguf is not installed ({error})", fix="pip install 'mwalimu[gguf]'"
        ) from None
    return gguf


def _types(gguf: Any, path: Path) -> dict[str, str]:
    """Of the tensors that are rounded, by their names without `.weight`."""
    tensors = gguf.GGUFReader(path).tensors
    kinds = {tensor.name.removesuffix(".weight"): tensor.tensor_type.name for tensor in tensors}
    return {name: kind for name, kind in kinds.items() if kind != "F32"}


def _names(gguf: Any, path: Path, model: Any) -> Any:
    """From a module's name to its tensor's."""
    architecture = gguf.GGUFReader(path).fields["general.architecture"].contents()
    known = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    layers = model.config.get_text_config().num_hidden_layers
    return gguf.get_tensor_name_map(known, layers).get_name


def _rounding(gguf: Any, kind: str) -> Rounding:
    """Rows may be in another order in the file: they are rounded each for itself."""
    if kind in _PLAIN:
        return as_type(_PLAIN[kind])
    number = gguf.GGMLQuantizationType[kind]
    quantise = library().api.llama_cpp._lib.ggml_quantize_chunk
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3]
    quantise.argtypes += [ctypes.c_void_p]

    def rounded(weight_OI: torch.Tensor) -> torch.Tensor:
        rows = np.ascontiguousarray(weight_OI.float().cpu().numpy())
        packed = np.empty(gguf.quant_shape_to_byte_shape(rows.shape, number), np.uint8)
        quantise(number, rows.ctypes.data, packed.ctypes.data, 0, *rows.shape, None)
        return torch.from_numpy(gguf.dequantize(packed, number)).to(weight_OI)

    return rounded
