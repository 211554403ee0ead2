"""Which formats this machine can make and measure, and what to install for the others."""

from __future__ import annotations

from importlib.util import find_spec

from mwalimu.config import ExportFormat

_MODULES: dict[ExportFormat, tuple[str, ...]] = {
    "safetensors": (),
    "onnx": ("onnx", "onnx_ir", "onnxruntime"),
    "web": ("onnx", "onnx_ir", "onnxruntime"),
    "gguf": ("gguf", "llama_cpp"),
    "openvino": ("openvino", "nncf"),
    "executorch": ("executorch", "torchao"),
}
_EXTRAS: dict[ExportFormat, str] = {
    "onnx": "onnx",
    "web": "onnx",
    "gguf": "gguf",
    "openvino": "openvino",
    "executorch": "executorch",
}


def missing_modules(format_: ExportFormat) -> list[str]:
    """Those that the format needs and Python does not find; nothing is imported."""
    return [name for name in _MODULES[format_] if find_spec(name) is None]


def to_install(format_: ExportFormat) -> str:
    """The command that installs what `format_` needs; empty where it needs nothing more."""
    extra = _EXTRAS.get(format_)
    return f"pip install 'mwalimu[{extra}]'" if extra else ""
