"""What the ONNX exporter makes of a student, and what it refuses."""

import json
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from mwalimu.config import PRECISIONS, Precision, TargetConfig
from mwalimu.data.loading import load_causal_lm
from mwalimu.errors import ConfigError, MissingDependency, StudentError
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder
from mwalimu.runtimes.generation import read
from tests.families.onnx import make_for_onnx
from tests.tiny import make_tiny_model, make_tokenizer

pytest.importorskip("onnxruntime_genai")
IDS = [1, 9, 30, 41, 7, 7, 60, 12]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_for_onnx(tmp_path_factory.mktemp("student"), "llama-3.2", intermediate_size=96)


Export = Callable[..., Path]


@pytest.fixture(scope="module")
def export(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The student's export in a precision and a scheme, made once; not to be changed."""

    @cache
    def made(precision: Precision, scheme: str | None = None) -> Path:
        return exported(student, tmp_path_factory.mktemp("made") / "x", precision, scheme)

    return made


def exported(student: Path, folder: Path, precision: Precision, scheme: str | None = None) -> Path:
    make(student, folder, TargetConfig(to="onnx", precision=precision, scheme=scheme))
    return folder


def distance(student: Path, folder: Path) -> float:
    """The mean distance of logits from the student's, by their standard deviation."""
    model, _ = load_causal_lm(str(student))
    with torch.inference_mode():
        whole = model(torch.tensor([IDS])).logits[0].numpy()
    return float(np.abs(read(load_decoder(folder), IDS) - whole).mean() / whole.std())


@pytest.mark.parametrize(
    ("precision", "scheme", "most"),
    [
        ("fp32", None, 1e-5),
        ("fp16", None, 2e-3),
        ("int8", None, 0.05),
        ("int8", "k_quant", 0.05),
        ("int4", None, 0.5),
        ("int4", "rtn_last", 0.5),
    ],
)
def test_fewer_bits_stay_near_the_student(
    student: Path, export: Export, precision: Precision, scheme: str | None, most: float
) -> None:
    assert distance(student, export(precision, scheme)) < most


def test_fewer_bits_are_fewer_bytes(export: Export) -> None:
    sizes = [(export(one) / "model.onnx.data").stat().st_size for one in PRECISIONS]
    # A tied fp32 head is one matrix; cos and sin of every position stay float32 in all of them.
    assert sizes == sorted(sizes, reverse=True)
    turning = 2 * 512 * 8 * 4
    assert sizes[1] - turning < 0.52 * (sizes[0] - turning)
    assert sizes[3] - turning < 0.25 * (sizes[0] - turning)


def test_untied_embeddings_are_halved(tmp_path: Path) -> None:
    import onnx

    student = make_for_onnx(tmp_path / "student", "llama-3.1")
    folder = exported(student, tmp_path / "int8", "int8")
    tensors = {one.name: one for one in onnx.load(folder / "model.onnx").graph.initializer}
    assert tensors["model.embed_tokens.weight"].data_type == onnx.TensorProto.FLOAT16
    assert distance(student, folder) < 0.1


def test_what_lies_in_the_folder(export: Export) -> None:
    folder = export("int4")
    names = {path.name for path in folder.iterdir()}
    assert {"model.onnx", "model.onnx.data", "genai_config.json", "config.json"} <= names
    assert {"tokenizer.json", "chat_template.jinja", "sample.py", "sample.js"} <= names
    assert not [name for name in names if name.startswith(".")]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())
    ends = json.loads((folder / "export.json").read_text())["ends"]
    settings = json.loads((folder / "genai_config.json").read_text())
    assert settings["model"]["eos_token_id"] == ends


def test_the_builder_keeps_quiet_and_the_precision_is_told(
    student: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, notes = logging.getLogger(), list[str]()
    before = root.handlers[:], root.level
    target = TargetConfig(to="onnx", precision="int8", scheme="k_quant")
    make(student, tmp_path / "x", target, note=notes.append)
    assert (root.handlers, root.level) == before
    assert capfd.readouterr() == ("", "")
    assert notes == [
        "onnx int8: matrices int8 in blocks of 32 with a scale each, their inputs int8 too; "
        "embedding float16"
    ]


def test_an_unknown_family_is_one_line(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, GPT2Config

    config = GPT2Config(vocab_size=120, n_embd=32, n_layer=1, n_head=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "gpt2")
    make_tokenizer().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(StudentError, match=r"cannot be expressed in ONNX.*not currently supported"):
        exported(tmp_path / "gpt2", tmp_path / "x", "fp32")
    assert [path.name for path in tmp_path.iterdir()] == ["gpt2"]


def test_heads_that_attention_refuses_are_refused_here(tmp_path: Path) -> None:
    student = make_tiny_model(tmp_path / "student", hidden=32)
    with pytest.raises(StudentError, match="8 of a head's 8 numbers turn, not multiples of 16"):
        exported(student, tmp_path / "x", "fp32")


@pytest.mark.parametrize(("precision", "scheme"), [("fp32", "rtn"), ("int4", "Q4_K_M")])
def test_a_scheme_that_is_none(
    student: Path, tmp_path: Path, precision: Precision, scheme: str
) -> None:
    with pytest.raises(ConfigError, match=f"onnx has no scheme {scheme} of {precision}"):
        exported(student, tmp_path / "x", precision, scheme)


def test_k_quant_needs_whole_bytes_of_zero_points(student: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whose intermediate_size divide by 64; take scheme rtn"):
        exported(student, tmp_path / "x", "int4", "k_quant")
    even = make_for_onnx(tmp_path / "even", "llama-3.2", intermediate_size=128)
    assert distance(even, exported(even, tmp_path / "y", "int4", "k_quant_mixed")) < 0.5


def test_a_weight_beyond_float16(tmp_path: Path) -> None:
    student = make_for_onnx(tmp_path / "student", "llama-3.1")
    model, _ = load_causal_lm(str(student))
    with torch.no_grad():
        model.lm_head.weight[3, 4] = 1e5
    model.save_pretrained(student)
    with pytest.raises(StudentError, match=r"lm_head\.MatMul\.weight has a weight beyond 65504"):
        exported(student, tmp_path / "x", "fp16")


def test_without_the_builder_it_says_what_to_install(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_genai.models.builder", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[onnx\]'"):
        exported(student, tmp_path / "x", "fp32")
