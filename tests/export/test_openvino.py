"""OpenVINO's export against transformers, family by family, and against openvino-genai."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_causal_lm
from mwalimu.errors import ConfigError, MissingDependency, StudentError
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import greedy, read
from tests.families.families import LIMIT
from tests.families.families import make as make_family
from tests.tiny import make_tiny_model

pytest.importorskip("openvino")

# Longrope beyond its limit, llama's rope with tied embeddings, a norm of queries with padded rows,
# sliding windows in some layers and in all of them.
NAMES = ["phi-4-mini", "llama-3.2", "qwen3", "gemma-3", "mistral-v0.1"]
IDS = np.random.default_rng(0).integers(0, 100, LIMIT + 12).tolist()
PROMPTS = [[1, 9, 30, 41], IDS[: LIMIT - 6], IDS]


FP32 = TargetConfig(to="openvino", precision="fp32")


def forward(folder: Path, ids: list[int]) -> Any:
    model, _ = load_causal_lm(str(folder))
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student"), spread=0.3, hidden=64)


@pytest.fixture(scope="module")
def made(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In full precision; nobody changes it."""
    folder = tmp_path_factory.mktemp("made") / "openvino-fp32"
    make(student, folder, FP32)
    return folder


def test_every_family_is_itself(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        with subtests.test(name):
            source, folder = make_family(tmp_path / name, name), tmp_path / f"{name}-ir"
            make(source, folder, FP32)
            decoder = load_decoder(folder, slots=2)
            model, _ = load_causal_lm(str(source))
            for prompt, answer in zip(
                PROMPTS, greedy(decoder, PROMPTS, ends=(), max_tokens=12), strict=True
            ):
                ids = torch.tensor([prompt])
                whole = model.generate(ids, min_new_tokens=12, max_new_tokens=12, do_sample=False)
                assert answer == whole[0, len(prompt) :].tolist()
            short = IDS[: LIMIT - 4]
            np.testing.assert_allclose(
                read(decoder, short), forward(source, short), rtol=1e-4, atol=1e-4
            )
            np.testing.assert_allclose(
                decoder.prefill(0, IDS), forward(source, IDS)[-1], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize(
    ("precision", "scheme", "smaller", "off"),
    [
        ("fp16", None, 2.0, 0.003),
        ("int8", "int8_sym", 3.3, 0.1),
        ("int4", "int4_asym", 4.5, 0.6),
    ],
)
def test_fewer_bits_are_smaller_and_near(
    student: Path, tmp_path: Path, precision: Any, scheme: str | None, smaller: float, off: float
) -> None:
    """`off` is the mean error of a logit in units of their standard deviation."""
    target = TargetConfig(to="openvino", precision=precision, scheme=scheme)
    export = make(student, tmp_path / "made", target)
    assert export.weights == "openvino_model.xml" and export.name == target.name
    full = sum(one.numel() for one in load_causal_lm(str(student))[0].parameters()) * 4
    assert full / (tmp_path / "made/openvino_model.bin").stat().st_size > smaller * 0.8
    expected = forward(student, IDS)
    error = np.abs(read(load_decoder(tmp_path / "made"), IDS) - expected).mean()
    assert 0 < error / expected.std() < off


def test_calibration_changes_four_bits_and_equal_exports_are_equal_bytes(
    student: Path, tmp_path: Path
) -> None:
    target = TargetConfig(to="openvino", precision="int4")
    blind = make(student, tmp_path / "blind", target)
    seeing, again = (
        make(student, tmp_path / name, target, calibration=[IDS, IDS[::-1]])
        for name in ("seeing", "again")
    )
    assert seeing.files["openvino_model.bin"] != blind.files["openvino_model.bin"]
    assert seeing.files == again.files


def test_unknown_schemes_are_refused(student: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scheme 'q4' in int4; take one of int4_sym"):
        make(student, tmp_path / "x", TargetConfig(to="openvino", precision="int4", scheme="q4"))
    with pytest.raises(ConfigError, match="in fp32; leave out the scheme"):
        make(
            student,
            tmp_path / "x",
            TargetConfig(to="openvino", precision="fp32", scheme="int8_sym"),
        )
    assert not (tmp_path / "x").exists()


def test_frequencies_of_every_length_are_refused(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    source = make_family(tmp_path / "source", "llama-3.2", rope_parameters=rope)
    with pytest.raises(StudentError, match="rotary frequencies that change with every length"):
        make(source, tmp_path / "x", FP32)


def test_a_damaged_model_is_one_line(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "made")
    (tmp_path / "made/openvino_model.xml").write_text("<net>")
    with pytest.raises(StudentError, match="OpenVINO cannot load it") as caught:
        load_decoder(tmp_path / "made")
    assert "\n" not in str(caught.value)


def test_without_openvino(
    student: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[openvino\]'"):
        load_decoder(made)
    with pytest.raises(MissingDependency, match="openvino is not installed"):
        make(student, tmp_path / "other", FP32)


def test_the_cache_of_plain_numbers_is_plain(made: Path) -> None:
    """A CPU's own choice would be 8-bit keys and values, and bfloat16 where it has it."""
    decoder: Any = load_decoder(made)
    compiled = decoder._requests[0].get_compiled_model()
    found = [
        compiled.get_property(name).get_type_name()
        for name in ("KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION", "INFERENCE_PRECISION_HINT")
    ]
    assert found == ["f32", "f32", "f32"]


OFFLINE = """
import sys
def refuse(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto")):
        raise SystemExit(f"the network was touched: {event} {args}")
sys.addaudithook(refuse)
"""


def test_nothing_is_reported(student: Path, tmp_path: Path) -> None:
    """In a process and a home of its own, since both decide whether telemetry is sent."""
    code = (
        OFFLINE
        + f"""
from pathlib import Path
from mwalimu.config import TargetConfig
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder
folder = Path({str(tmp_path / "made")!r})
make(Path({str(student)!r}), folder, TargetConfig(to="openvino", precision="int4"))
load_decoder(folder).prefill(0, [1, 2, 3])
assert not [name for name in sys.modules if "openvino_telemetry" in name and sys.modules[name]]
"""
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*ga_cid*")) == []


def test_the_sample_says_what_the_decoder_says(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    make(
        make_family(tmp_path / "student", "llama-3.2"),
        folder,
        FP32,
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(folder / "sample.py"), "hello"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    _, tokenizer = load_causal_lm(str(tmp_path / "student"))
    chat = [{"role": "user", "content": "hello"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    prompts = [ids["input_ids"]]
    ends = read_export(folder).ends
    (answer,) = greedy(load_decoder(folder), prompts, ends=ends, max_tokens=128)
    assert done.stdout == tokenizer.decode(answer, skip_special_tokens=True) + "\n"


def test_the_config_and_chat_template_lie_beside(made: Path) -> None:
    assert json.loads((made / "config.json").read_text())["model_type"] == "llama"
    assert (made / "chat_template.jinja").exists()
