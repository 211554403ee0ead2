"""The sample programs in an export's folder answer as the decoder does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.record import Message
from mwalimu.data.tokenize import encode_prompt
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import greedy
from tests.families.onnx import make_for_onnx

pytest.importorskip("onnxruntime_genai")
PROMPT = 'Which "word"\n is it?'
PACKAGES = ("onnxruntime-node", "@huggingface/tokenizers", "@huggingface/jinja")


@pytest.fixture(scope="module", params=["llama-3.1", "phi-4-mini", "qwen3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = make_for_onnx(tmp_path_factory.mktemp("student"), request.param)
    folder = tmp_path_factory.mktemp(request.param) / "onnx-fp32"
    make(student, folder, TargetConfig(to="onnx", precision="fp32"))
    return folder


@pytest.fixture(scope="module")
def answer(folder: Path) -> str:
    tokenizer = load_tokenizer(str(folder))
    ids = encode_prompt(tokenizer, [Message("user", PROMPT)])
    decoder = load_decoder(folder)
    most = min(256, decoder.context - len(ids))
    (answer,) = greedy(decoder, [ids], ends=read_export(folder).ends, max_tokens=most)
    text: str = tokenizer.decode(answer, skip_special_tokens=True)
    assert text.strip()
    return text


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest) -> Path:
    """Installed once, and kept in pytest's cache."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    place: Path = request.config.cache.mkdir("node")  # type: ignore[union-attr]
    modules = place / "node_modules"
    if not all((modules / name).exists() for name in PACKAGES):
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
        if subprocess.run([*command, place, *PACKAGES], capture_output=True).returncode:
            pytest.skip("the packages cannot be had from npm")
    return modules


def printed(*command: str | Path, **environment: str) -> str:
    run = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.decode().removesuffix("\n")


def test_sample_py(folder: Path, answer: str) -> None:
    if folder.parent.name.startswith("phi"):
        pytest.skip("ONNX Runtime GenAI reads anew beyond 4096 ids, whatever the model's limit")
    assert printed(sys.executable, folder / "sample.py", PROMPT) == answer


@pytest.mark.parametrize("folder", ["llama-3.1"], indirect=True)
def test_nothing_is_kept_for_telemetry(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    load = "from pathlib import Path; from mwalimu.runtimes import load_decoder as load;"
    for command in (["-c", f"{load} load(Path({str(folder)!r}))"], [folder / "sample.py", PROMPT]):
        printed(sys.executable, *command, HOME=str(tmp_path), XDG_CACHE_HOME="")
        assert not [path for path in tmp_path.rglob("*") if "icrosoft" in path.name]


def test_sample_js(folder: Path, answer: str, node_modules: Path) -> None:
    sample = folder / "sample.js"
    assert printed("node", sample, PROMPT, NODE_PATH=str(node_modules)) == answer
