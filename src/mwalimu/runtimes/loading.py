"""Finds the decoder for an export's folder, or for a transformers folder as training left it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mwalimu.config import ExportFormat
from mwalimu.runtimes.base import Decoder
from mwalimu.runtimes.manifest import MANIFEST, read_export

# Each module has `load(folder, *, slots, threads) -> Decoder`.
_MODULES: dict[ExportFormat, str] = {
    "safetensors": "mwalimu.runtimes.transformers_decoder",
    "onnx": "mwalimu.runtimes.onnx_decoder",
    "web": "mwalimu.runtimes.onnx_decoder",
    "gguf": "mwalimu.runtimes.llama_decoder",
    "openvino": "mwalimu.runtimes.openvino_decoder",
    "executorch": "mwalimu.runtimes.executorch_decoder",
}

_OF_TORCH = ("safetensors", "executorch")


def needs_torch(folder: Path) -> bool:
    """Whether the decoder of an export, or of any other folder, runs on torch. Raises RunError."""
    return not (folder / MANIFEST).exists() or read_export(folder).format in _OF_TORCH


def load_decoder(folder: Path, *, slots: int = 1, threads: int | None = None) -> Decoder:
    """A decoder for `slots` sequences at once, on `threads` threads (the runtime's choice if None).

    Raises:
        RunError: the export is damaged.
        StudentError: the runtime cannot load it.
        MissingDependency: the runtime is not installed.
    """
    is_export = (folder / MANIFEST).exists()
    kind: ExportFormat = read_export(folder).format if is_export else "safetensors"
    decoder: Decoder = import_module(_MODULES[kind]).load(folder, slots=slots, threads=threads)
    return decoder
