"""Signals of anything else are refused, by one line that says what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.errors import RunError, SignalMismatch
from mwalimu.signals import SignalReader
from mwalimu.signals.manifest import read_manifest
from tests.signals.cases import ENCODINGS, IDENTITY, rows_for, write

OTHERS = {
    "files of the teacher": {"files": {"model.safetensors": "bb"}},
    "revision of the teacher": {"revision": "0123"},
    "kind of teacher": {"kind": "vllm"},
    "tokenizer": {"tokenizer": "tok-2"},
    "chat template": {"template": "tmpl-2"},
    "vocabulary": {"vocabulary": 301},
    "temperature": {"temperature": 2.0},
    "mask": {"mask": "everything"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, ENCODINGS["topk"], rows_for(ENCODINGS["topk"], (3, 4, 5, 6, 7)))
    return tmp_path


@pytest.mark.parametrize("name", OTHERS)
def test_each_difference_is_refused_with_its_line(name: str, folder: Path) -> None:
    with pytest.raises(SignalMismatch) as caught:
        SignalReader.open(folder, replace(IDENTITY, **OTHERS[name]))
    (field, value), line = next(iter(OTHERS[name].items())), str(caught.value)
    assert line.startswith(f"{folder}: these signals are of another {name} (")
    assert "\n" not in line and line.count("another") == 1
    mine = getattr(IDENTITY, field)
    for shown in (mine, value):
        text = json.dumps(shown) if isinstance(shown, dict) else str(shown)
        assert text in line
    assert line.endswith("capture them again for this job, or name the folder that fits it")
    assert caught.value.exit_code == 8


def test_all_differences_are_named_and_long_values_cut() -> None:
    other = replace(IDENTITY, tokenizer="x" * 500, temperature=2.0)
    with pytest.raises(SignalMismatch) as caught:
        IDENTITY.require(other)
    assert "another tokenizer" in str(caught.value) and "another temperature" in str(caught.value)
    assert "x" * 41 not in str(caught.value)


def test_a_teacher_is_its_files_and_only_without_them_its_name() -> None:
    moved = replace(IDENTITY, teacher="elsewhere/teacher", source={"made by": "another"})
    IDENTITY.require(moved)
    nameless = replace(IDENTITY, files={})
    with pytest.raises(SignalMismatch, match="another teacher"):
        nameless.require(replace(moved, files={}))
    with pytest.raises(SignalMismatch, match="another files of the teacher"):
        IDENTITY.require(nameless)


def changed(folder: Path, change: Any) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw))


CHANGES = {
    "format": lambda m: m.update(format="mwalimu signals 2"),
    "no encoding": lambda m: m.pop("encoding"),
    "encoding unknown": lambda m: m["encoding"].update(kind="exact"),
    "kind a list": lambda m: m["encoding"].update(kind=[]),
    "k too large": lambda m: m["encoding"].update(k=1000),
    "k a text": lambda m: m["encoding"].update(k="8"),
    "k a fraction": lambda m: m["encoding"].update(k=7.5),
    "vocabulary a fraction": lambda m: m["encoding"].update(vocabulary=300.0),
    "another step": lambda m: m["encoding"].update(step_nats=1.0),
    "a parameter more": lambda m: m["encoding"].update(more=1),
    "range not a number": lambda m: m["encoding"].update(range_nats=float("nan")),
    "identity more": lambda m: m["identity"].update(more=1),
    "identity less": lambda m: m["identity"].pop("tokenizer"),
    "identity of types": lambda m: m["identity"].update(tokenizer=5),
    "files a list": lambda m: m["identity"].update(files=[]),
    "tokens": lambda m: m.update(tokens=1),
    "bytes": lambda m: m.update(bytes=1),
    "shards a number": lambda m: m.update(shards=5),
    "shard with a path": lambda m: m["shards"][0].update(file="../shard-00000.safetensors"),
    "shards out of order": lambda m: m["shards"].reverse(),
    "a shard less": lambda m: m["shards"].pop(),
    "rows below zero": lambda m: m["shards"][0].update(rows=-1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_contradicts_itself_is_refused(name: str, folder: Path) -> None:
    changed(folder, CHANGES[name])
    with pytest.raises(RunError, match=r"manifest\.json: is damaged") as caught:
        SignalReader.open(folder)
    assert "\n" not in str(caught.value)


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b"[1]", b"null", b"9" * 9_999]))
def test_any_bytes_are_refused(tmp_path_factory: Any, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(RunError):
        read_manifest(folder)


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    write(tmp_path, ENCODINGS[name], rows_for(ENCODINGS[name], (2, 3)))
    manifest = read_manifest(tmp_path)
    assert manifest.encoding == ENCODINGS[name] and manifest.identity == IDENTITY
    assert (manifest.rows, manifest.tokens) == (2, 5)
