"""llama.cpp against transformers on the same float32 weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mwalimu.errors import StudentError
from mwalimu.runtimes import llama_decoder, load_decoder
from mwalimu.runtimes.generation import greedy, read
from tests.llama import exported

PROMPTS = [[1, 9, 30, 41], [7], [20, 21, 22, 23, 24, 25, 26], [50, 9], [3, 3, 3]]
ENDS = {10, 11, 12}


@pytest.fixture(scope="module", params=["llama", "phi3", "qwen2"])
def pair(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, Path]:
    return exported(tmp_path_factory.mktemp("gguf"), arch=request.param)


def test_greedy_and_logits_are_those_of_transformers(pair: tuple[Path, Path]) -> None:
    reference = load_decoder(pair[0])
    expected = greedy(reference, PROMPTS, ends=ENDS, max_tokens=24)
    assert {len(answer) for answer in expected} != {24}, "none of them met an end"
    for slots in (1, 3):
        decoder = load_decoder(pair[1], slots=slots, threads=1)
        assert greedy(decoder, PROMPTS, ends=ENDS, max_tokens=24) == expected
        ids = [1, 9, 30, 41, 7, 7, 60, 12]
        np.testing.assert_allclose(read(decoder, ids), read(reference, ids), rtol=1e-4, atol=1e-4)
        decoder.close()


def test_long_prompts_come_in_chunks_and_caches_move(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 16 ids and room for 16 at first: llama.cpp itself rounds that up to 256."""
    monkeypatch.setattr(llama_decoder, "BATCH", 16)
    monkeypatch.setattr(llama_decoder, "FIRST_ROOM", 16)
    long = [(7 * index) % 90 for index in range(300)]
    decoder, reference = load_decoder(pair[1], slots=2, threads=1), load_decoder(pair[0], slots=2)
    for one in (decoder, reference):
        one.prefill(1, [1, 9, 30])
    np.testing.assert_allclose(
        decoder.prefill(0, long), reference.prefill(0, long), rtol=1e-3, atol=1e-3
    )
    after, expected = (one.step({1: 17, 0: 5}) for one in (decoder, reference))
    for slot in (0, 1):
        np.testing.assert_allclose(after[slot], expected[slot], rtol=1e-3, atol=1e-3)
    decoder.close()


def test_a_sequence_that_does_not_fit_is_refused_and_its_slot_is_free(
    pair: tuple[Path, Path],
) -> None:
    decoder = load_decoder(pair[1], threads=1)
    with pytest.raises(StudentError, match="513 ids does not fit its context of 512"):
        decoder.prefill(0, [5] * 513)
    decoder.prefill(0, [5] * 512)
    with pytest.raises(StudentError, match="513 ids does not fit"):
        decoder.step({0: 5})
    decoder.release(0)
    first = decoder.prefill(0, [1, 9, 30])
    decoder.release(0)
    np.testing.assert_array_equal(decoder.prefill(0, [1, 9, 30]), first)
    decoder.close()
    decoder.close()


def test_a_damaged_file_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(pair[1], tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.gguf").write_bytes(b"GGUF, or so it says")
    with pytest.raises(StudentError, match=r"model\.gguf: llama\.cpp cannot load it \(.*gguf"):
        load_decoder(tmp_path)
