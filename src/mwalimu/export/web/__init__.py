"""A static folder whose page runs the student in the browser, and sends nothing anywhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.errors import StudentError
from mwalimu.export import onnx
from mwalimu.export.built import Built
from mwalimu.export.onnx_graph import GRAPH, SETTINGS, WEIGHTS
from mwalimu.export.web.npm import PINNED, vendor
from mwalimu.export.web.speech import speech
from mwalimu.files import write_json

PAGE = Path(__file__).with_name("page")
LARGEST = 2**31 - 1
"""Bytes of one file that a browser reads into memory at once."""


def made_with() -> dict[str, str | None]:
    """Of the graph, and of the JavaScript beside it."""
    return onnx.made_with() | {package.name: package.version for package in PINNED}


def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """The graph of `onnx` in the same precisions, a page, and the JavaScript that it needs.

    Where node is installed, the page's tokenizer is held against ours before anything is published.

    Raises:
        ConfigError: no such scheme.
        StudentError: the student cannot be expressed, is too large for a browser, or is spelled
            otherwise there.
        MissingDependency: the exporter is not installed, or the npm registry cannot be reached.
    """
    vendor(folder / "vendor")
    graph = onnx.build(source, folder, target, calibration=calibration, note=note)
    for sample in ("sample.py", "sample.js"):  # they run elsewhere; the page has its own
        (folder / sample).unlink(missing_ok=True)
    if (size := (folder / WEIGHTS).stat().st_size) > LARGEST:
        raise StudentError(
            f"has {size} bytes of weights in {target.precision}; a browser reads {LARGEST} at most",
            where=str(source),
            fix="take fewer bits or a smaller student, or another format",
        )
    _compute_in_float(folder / GRAPH)
    note("in a browser the inputs of quantised matrices stay float32")
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    write_json(folder / "speech.json", speech(load_tokenizer(str(folder))))
    write_json(folder / "student.json", _facts(source, folder))
    _hold_against_ours(folder, note)
    return graph


def _compute_in_float(graph: Path) -> None:
    """Quantised weights, unquantised activations: what WebAssembly does whatever it is told.

    Other runtimes would take the graph's permission to quantise the activations too, and what is
    measured there would not be what the browser does.
    """
    import onnx

    model = onnx.load(graph, load_external_data=False)
    levels = (
        attribute
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "accuracy_level"
    )
    for level in levels:
        level.i = 1  # float32
    graph.write_bytes(model.SerializeToString())


def _facts(source: Path, folder: Path) -> dict[str, Any]:
    """What the page shows of the student, and how many bytes each way of running it loads."""
    from safetensors import safe_open
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source)
    parameters = 0
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
        parameters += sum(prod(shape) for shape in shapes)
    read = [GRAPH, WEIGHTS, SETTINGS, "tokenizer.json", "speech.json"]
    size = sum((folder / name).stat().st_size for name in read)
    wasm = {"wasm": "ort-wasm-simd-threaded", "webgpu": "ort-wasm-simd-threaded.asyncify"}
    return {
        "architecture": config.model_type,
        "parameters": parameters,
        "bytes": {
            backend: size + (folder / "vendor" / f"{name}.wasm").stat().st_size
            for backend, name in wasm.items()
        },
    }


def _hold_against_ours(folder: Path, note: Callable[[str], None]) -> None:
    if (node := shutil.which("node")) is None:
        note("node is not installed, so the page alone will check that it spells as training did")
        return
    ran = subprocess.run([node, "check.mjs"], cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        raise StudentError(
            f"the browser's tokenizer does not spell as ours ({ran.stderr.strip()[-200:]})",
            where=str(folder / "tokenizer.json"),
            fix="take another format, such as onnx or gguf",
        )
