"""GGUF by llama.cpp's own converter: tokenizers of each kind, file types, what cannot be."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import encode_prompt
from mwalimu.errors import ConfigError, MissingDependency, StudentError
from mwalimu.export import gguf, llama_source
from mwalimu.export.llama_convert import kind_of, merge_scores
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import greedy
from mwalimu.runtimes.llama_library import library
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.llama import exported, require_llama
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of a byte-level tokenizer that llama.cpp's list of hashes does not know."""
    folder = tmp_path_factory.mktemp("gguf")
    return exported(folder, arch="llama", tokenizer=tokenizer_of("byte level"))


def test_the_sample_answers_as_the_decoder_does(pair: tuple[Path, Path]) -> None:
    folder, question = pair[1], "the cat sat"
    tokenizer, export = load_tokenizer(str(folder)), read_export(folder, verify=True)
    prompt = encode_prompt(tokenizer, [{"role": "user", "content": question}])
    decoder = load_decoder(folder, threads=1)
    answer = greedy(decoder, [prompt], ends=export.ends, max_tokens=128)[0]
    decoder.close()
    done = subprocess.run(
        [sys.executable, str(folder / gguf.SAMPLE), question],
        capture_output=True,
        text=True,
        check=True,
    )
    text = tokenizer.decode([token for token in answer if token not in export.ends])
    assert done.stdout.strip("\n").replace("\ufffd", "") == text.strip("\n").replace("\ufffd", "")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_quantised_files_are_smaller_and_answer(
    pair: tuple[Path, Path], tmp_path: Path, precision: str
) -> None:
    notes: list[str] = []
    target = TargetConfig.model_validate({"to": "gguf", "precision": precision})
    make(pair[0], tmp_path / "small", target, note=notes.append)
    sizes = [(folder / gguf.WEIGHTS).stat().st_size for folder in (tmp_path / "small", pair[1])]
    assert sizes[0] < sizes[1]
    assert not (tmp_path / "small" / "whole.gguf").exists()
    assert any("required fallback" in note for note in notes) == (precision == "int4")
    decoder = load_decoder(tmp_path / "small", threads=1)
    assert decoder.prefill(0, [1, 2, 3]).shape == (decoder.vocabulary,)
    decoder.close()


def test_a_tokenizer_that_cannot_be_carried_over_is_told(tmp_path: Path) -> None:
    notes: list[str] = []
    require_llama()
    student, folder = make_tiny_model(tmp_path / "student", spread=0.3), tmp_path / "made"
    make(student, folder, TargetConfig(to="gguf", precision="fp32"), note=notes.append)
    assert not (folder / gguf.SAMPLE).exists()
    assert any("give it ids, not text" in note for note in notes)


def test_unknown_schemes_and_those_that_need_more_are_refused(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"gguf has no scheme Q9.*Q4_K_M"):
        make(pair[0], tmp_path / "x", TargetConfig(to="gguf", scheme="Q9"))
    with pytest.raises(StudentError, match="cannot quantise it to F32"):
        gguf.quantise(library(), tmp_path / "none", tmp_path / "x", "F32", note=print)


def test_what_the_converter_refuses_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    config = json.loads((pair[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["Odd"]}))
    with pytest.raises(StudentError, match=r"cannot be converted to gguf \(llama.cpp has no Odd\)"):
        gguf.convert(tmp_path, pair[1], tmp_path / "x.gguf", outtype="f32", end=1)


@pytest.mark.parametrize(
    ("tokenizer", "kind"),
    [("byte level", "gpt2"), ("llama", "llama"), ("gemma", "llama"), ("unigram", "none")],
)
def test_kinds_of_tokenizers(tokenizer: str, kind: str) -> None:
    assert kind_of(json.loads(tokenizer_of(tokenizer).backend_tokenizer.to_str())) == kind


def test_an_earlier_merge_scores_higher_and_the_first_counts() -> None:
    vocabulary = {"a": 0, "b": 1, "ab": 2, "abb": 3}
    model = {"vocab": vocabulary, "merges": ["a b", "ab b", ["a", "b"]]}
    assert merge_scores(model, 5) == [-3, -3, 0, -1, -3]


def test_the_converter_is_unpacked_from_the_sdist(tmp_path: Path) -> None:
    root = "llama_cpp_python-1/vendor/llama.cpp/"
    wanted = [*llama_source.PARTS, "conversion/phi.py"]
    others = ["src/llama.cpp", "gguf-py/README.md", "tools/x.py"]
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        for name in [*wanted, *others, "../../../outside.py"]:
            archive.addfile(tarfile.TarInfo(root + name), io.BytesIO())
    llama_source.unpack(tmp_path / "s.tar.gz", tmp_path / "kept")
    found = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "kept")) for path in found} == set(wanted)


def test_without_a_connection_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_llama()
    failed = SimpleNamespace(returncode=1, stderr="WARNING: x\nERROR: No matching distribution\n")
    monkeypatch.setattr(llama_source.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    with pytest.raises(MissingDependency, match=r"No matching distribution.*set LLAMA_CPP"):
        llama_source.converter()
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    with pytest.raises(ConfigError, match=r"has no convert_hf_to_gguf\.py"):
        llama_source.converter()
