"""What training is shown of a target's rounding is what the target's file holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError
from mwalimu.export.gguf import quantise
from mwalimu.export.make import make
from mwalimu.export.rounding import require_reproduced, roundings
from mwalimu.export.rounding_onnx import nearest
from mwalimu.runtimes.llama_library import library
from tests.tiny import make_tiny_model


def rounded(target: TargetConfig, folder: Path, student: Path) -> dict[str, np.ndarray[Any, Any]]:
    """By module: what training sees."""
    model = AutoModelForCausalLM.from_pretrained(student)
    found = roundings(target, folder, model)
    with torch.no_grad():
        return {n: r(model.get_submodule(n).weight).numpy() for n, r in found.items()}


def in_graph(path: Path) -> list[np.ndarray[Any, Any]]:
    """Every matrix of an ONNX graph as its file dequantises it, [rows, inputs]."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = [t.astype(np.float32) for t in tensors.values() if t.dtype == np.float16]
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        assert len(node.input) == 3  # symmetric: no zero points
        packed, scales = tensors[node.input[1]], tensors[node.input[2]]
        about = {a.name: a.i for a in node.attribute}
        if about["bits"] == 4:
            packed = np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:2], -1)
        whole = packed.astype(np.float32) - 2 ** (about["bits"] - 1)
        scales = scales.reshape(about["N"], -1, 1)
        found.append((whole * scales).reshape(about["N"], -1)[:, : about["K"]])
    return found


def tied(student: Path) -> Path:
    """The same student with one matrix for embedding and head."""
    model = AutoModelForCausalLM.from_pretrained(student)
    model.lm_head.weight = model.model.embed_tokens.weight
    model.config.tie_word_embeddings = True
    model.save_pretrained(student)
    return student


@pytest.mark.parametrize("one_matrix", [False, True])
@pytest.mark.parametrize(
    ("precision", "scheme"), [("int4", None), ("int8", None), ("int4", "rtn_last")]
)
def test_onnx_to_the_bit(
    tmp_path: Path, one_matrix: bool, precision: Any, scheme: str | None
) -> None:
    pytest.importorskip("onnxruntime_genai")
    student = make_tiny_model(tmp_path / "student", hidden=64, spread=0.3, seed=3)
    student = tied(student) if one_matrix else student
    target = TargetConfig(to="onnx", precision=precision, scheme=scheme)
    folder = tmp_path / "export"
    make(student, folder, target)
    seen = rounded(target, folder, student)
    assert len(seen) == 2 + 2 * 7
    held = {row.tobytes() for matrix in in_graph(folder / "model.onnx") for row in matrix}
    for name, matrix in seen.items():  # q, k and v may be one matrix in the graph
        assert all(row.tobytes() in held for row in matrix), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A student and its GGUF in float32; rows of 256 have a block of every type."""
    pytest.importorskip("llama_cpp")
    root = tmp_path_factory.mktemp("gguf")
    student = make_tiny_model(root / "student", hidden=256, layers=1, spread=0.3, seed=3)
    make(student, root / "whole", TargetConfig(to="gguf", precision="fp32"))
    return student, root / "whole" / "model.gguf"


@pytest.mark.parametrize("scheme", ["F16", "Q4_0", "Q8_0", "Q5_0", "Q4_K_M", "Q2_K"])
def test_gguf_to_the_bit(tmp_path: Path, whole: tuple[Path, Path], scheme: str) -> None:
    """Of a Llama, whose queries and keys the converter puts in another order."""
    gguf = pytest.importorskip("gguf")
    student, path = whole
    quantise(library(), path, tmp_path / "model.gguf", scheme, note=lambda text: None)
    # The file says how it was rounded, whatever the target's scheme.
    seen = rounded(TargetConfig(to="gguf", precision="int4"), tmp_path, student)
    tensors = gguf.GGUFReader(tmp_path / "model.gguf").tensors
    held = {
        row.tobytes()
        for tensor in tensors
        if len(tensor.shape) == 2
        for row in gguf.dequantize(tensor.data, tensor.tensor_type)
    }
    assert len(seen) == 2 + 7
    for name, matrix in seen.items():
        assert all(row.tobytes() in held for row in matrix), name


def test_a_last_block_that_is_not_full_and_a_block_of_zeros() -> None:
    """By hand: the scale of 7.5 is 1, so halves go to even; zeros stay zeros."""
    weight = torch.tensor([[7.5, 0.5, 1.5, -0.5] + [0.0] * 30 + [15.0, 3.0]])
    expected = [7.0, 0.0, 2.0, 0.0] + [0.0] * 30 + [14.0, 4.0]
    assert nearest(4)(weight).tolist() == [expected]
    assert nearest(4)(torch.zeros(2, 5)).tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (TargetConfig(to="openvino", precision="int4"), "how openvino rounds is not reproduced"),
        (TargetConfig(to="executorch", precision="int8"), "how executorch rounds"),
        (
            TargetConfig(to="onnx", precision="int4", scheme="k_quant"),
            "k_quant searches its scales",
        ),
        (TargetConfig(to="gguf", precision="fp16"), "fp16 rounds too little"),
    ],
)
def test_what_is_not_reproduced_is_refused(target: TargetConfig, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        require_reproduced(target)
