"""An ExecuTorch program against transformers; of one layer, since lowering takes its time."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_causal_lm, load_tokenizer
from mwalimu.errors import ConfigError, MissingDependency, StudentError
from mwalimu.export.executorch_weights import quantise, scheme_of
from mwalimu.export.make import make
from mwalimu.export.traceable import load_traceable
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import greedy, read
from tests.tiny import make_tiny_model

pytest.importorskip("executorch")
pytestmark = pytest.mark.slow

IDS = np.random.default_rng(0).integers(8, 100, 24).tolist()


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student"), spread=0.3, layers=1)


@pytest.fixture(scope="module")
def made(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "executorch-fp32"
    make(student, folder, TargetConfig(to="executorch", precision="fp32"))
    return folder


def forward(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def test_a_program_is_the_student_itself(student: Path, made: Path) -> None:
    assert read_export(made, verify=True).weights == "model.pte"
    decoder = load_decoder(made, slots=2)
    assert (decoder.slots, decoder.context, decoder.vocabulary) == (2, 512, 107)
    model, _ = load_causal_lm(str(student))
    expected = forward(model, IDS)
    np.testing.assert_allclose(read(decoder, IDS), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(decoder.prefill(1, IDS), expected[-1], rtol=1e-4, atol=1e-4)
    decoder.release(1)
    prompts = [IDS[:3], IDS, IDS[5:6]]
    answers = greedy(decoder, prompts, ends=(), max_tokens=12)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        whole = model.generate(ids, min_new_tokens=12, max_new_tokens=12, do_sample=False)
        assert answer == whole[0, len(prompt) :].tolist()


def test_the_sample_says_what_the_decoder_says(made: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(made / "sample.py"), "hello"]
    done = subprocess.run(command, capture_output=True)  # bytes: an answer may have a \r
    assert done.returncode == 0, done.stderr
    tokenizer = load_tokenizer(str(made))
    chat = [{"role": "user", "content": "hello"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    prompts, ends = [ids["input_ids"]], read_export(made).ends
    (answer,) = greedy(load_decoder(made), prompts, ends=ends, max_tokens=128)
    expected = tokenizer.decode(answer, skip_special_tokens=True)  # after the library's own lines
    assert expected and done.stdout.decode().endswith(f"{expected}\n")


@pytest.mark.parametrize(("precision", "scheme"), [("fp32", "fp32"), ("int4", "8da4w")])
def test_schemes(precision: Any, scheme: str) -> None:
    assert scheme_of(TargetConfig(to="executorch", precision=precision)) == scheme


@pytest.mark.parametrize(
    ("precision", "scheme", "said"), [("fp16", None, "fp16"), ("int4", "q4", "q4")]
)
def test_what_there_is_not(
    student: Path, tmp_path: Path, precision: Any, scheme: str | None, said: str
) -> None:
    target = TargetConfig(to="executorch", precision=precision, scheme=scheme)
    with pytest.raises(ConfigError, match=f"executorch has no {said}; take fp32, int8"):
        make(student, tmp_path / "x", target)


@pytest.mark.filterwarnings("ignore")  # torchao's own, at import
@pytest.mark.parametrize(("scheme", "levels"), [("8da8w", 256), ("8da4w", 16)])
def test_weights_have_so_many_levels(student: Path, scheme: str, levels: int) -> None:
    model = load_traceable(student)
    before = model.model.embed_tokens.weight.clone()
    quantise(model, scheme)
    weight = model.model.layers[0].mlp.up_proj.weight
    group = weight.dequantize()[0, :32]
    assert 2 < len(group.unique()) <= levels
    assert torch.equal(model.model.embed_tokens.weight, before)


def test_a_damaged_program_is_one_line(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "made")
    (tmp_path / "made/model.pte").write_bytes(b"none")
    with pytest.raises(StudentError, match="ExecuTorch cannot load it") as caught:
        load_decoder(tmp_path / "made")
    assert "\n" not in str(caught.value)


def test_without_executorch(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[executorch\]'"):
        load_decoder(made)
