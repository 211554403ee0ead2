"""ONNX Runtime against transformers: every family, alone and among others of other lengths."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_causal_lm
from mwalimu.errors import MissingDependency, StudentError
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, onnx_decoder
from mwalimu.runtimes.generation import greedy, read
from mwalimu.runtimes.onnx_decoder import FIRST
from tests.families.families import LIMIT
from tests.families.onnx import NAMES, make_for_onnx

pytest.importorskip("onnxruntime_genai")
NEW = 16
TOLERANCE = {"rtol": 1e-4, "atol": 2e-4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    return {}


@pytest.fixture
def family(
    request: pytest.FixtureRequest,
    folders: dict[str, tuple[Path, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """The student and its export in fp32, made once."""
    name = request.param
    if name not in folders:
        student = make_for_onnx(tmp_path_factory.mktemp("student"), name)
        folder = tmp_path_factory.mktemp("export") / "onnx-fp32"
        make(student, folder, TargetConfig(to="onnx", precision="fp32"))
        folders[name] = student, folder
    return folders[name]


def prompts_of(vocabulary: int) -> list[list[int]]:
    """Of one id, beyond every window, up to the limit of longrope, and across it."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, vocabulary, size).tolist() for size in (1, 40, LIMIT - 8, LIMIT + 9)]


def generated(model: object, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    whole = model.generate(  # type: ignore[attr-defined]
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    answer: list[int] = whole[0, len(prompt) :].tolist()
    return answer


@pytest.mark.parametrize("family", NAMES, indirect=True)
def test_greedy_is_what_transformers_generates(family: tuple[Path, Path]) -> None:
    student, folder = family
    model, _ = load_causal_lm(str(student))
    prompts = prompts_of(model.config.vocab_size)
    expected = [generated(model, prompt) for prompt in prompts]
    decoder = load_decoder(folder, slots=3, threads=1)
    assert decoder.vocabulary == model.config.vocab_size
    assert greedy(decoder, prompts, ends=(), max_tokens=NEW) == expected
    assert len({token for answer in expected for token in answer}) > 3, "it has no opinions"


@pytest.mark.parametrize("family", NAMES, indirect=True)
def test_reading_step_by_step_is_one_forward_pass(family: tuple[Path, Path]) -> None:
    student, folder = family
    model, _ = load_causal_lm(str(student))
    ids = prompts_of(model.config.vocab_size)[1]
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    logits = read(load_decoder(folder, threads=1), ids)
    np.testing.assert_allclose(logits, expected, **TOLERANCE)


@pytest.mark.parametrize("family", NAMES, indirect=True)
def test_a_prompt_in_pieces_is_the_whole_prompt(
    family: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = load_decoder(family[1], slots=2, threads=1)
    decoder.prefill(0, [5])  # so that the other is in the second row
    for prompt in prompts_of(decoder.vocabulary):
        found = []
        for piece in (LIMIT + 9, 7):
            monkeypatch.setattr(onnx_decoder, "PIECE", piece)
            first = decoder.prefill(1, prompt)
            after = decoder.step({1: 3})[1]
            decoder.release(1)
            found.append(np.stack([first, after]))
        np.testing.assert_allclose(found[1], found[0], **TOLERANCE)


@pytest.mark.parametrize("family", ["llama-3.1", "phi-3.5-mini"], indirect=True)
def test_a_slot_answers_as_if_it_were_alone(family: tuple[Path, Path]) -> None:
    """Random lives: slots begin, are stepped in any company, and end, across longrope's limit."""
    _, folder = family
    many, alone = (load_decoder(folder, slots=slots, threads=1) for slots in (4, 1))
    rng = np.random.default_rng(3)
    texts: dict[int, list[int]] = {}

    def check(slot: int, logits: object) -> None:
        np.testing.assert_allclose(logits, alone.prefill(0, texts[slot]), **TOLERANCE)
        alone.release(0)

    for _ in range(60):
        slot = int(rng.integers(4))
        if slot not in texts:
            texts[slot] = rng.integers(0, 90, rng.integers(1, LIMIT + 4)).tolist()
            check(slot, many.prefill(slot, texts[slot]))
        elif rng.random() < 0.15:
            many.release(slot)
            del texts[slot]
        elif asked := {one: int(rng.integers(90)) for one in texts if rng.random() < 0.8}:
            for one, token in asked.items():
                texts[one].append(token)
            for one, logits in many.step(asked).items():
                check(one, logits)


@pytest.mark.parametrize("family", ["llama-3.1"], indirect=True)
def test_a_sequence_outgrows_the_first_room(family: tuple[Path, Path]) -> None:
    _, folder = family
    decoder = load_decoder(folder, slots=2, threads=1)
    ids = np.random.default_rng(1).integers(0, 90, FIRST + 20).tolist()
    short = decoder.prefill(1, ids[:9])
    decoder.prefill(0, ids[: FIRST - 10])
    for token in ids[FIRST - 10 :]:
        grown = decoder.step({0: token, 1: token})[0]
    np.testing.assert_allclose(grown, load_decoder(folder).prefill(0, ids), **TOLERANCE)
    decoder.release(1)
    np.testing.assert_allclose(decoder.prefill(1, ids[:9]), short, **TOLERANCE)


@pytest.mark.parametrize("family", ["llama-3.1"], indirect=True)
def test_a_damaged_graph_is_one_line(family: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = family
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(StudentError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        load_decoder(tmp_path)


@pytest.mark.parametrize("family", ["llama-3.1"], indirect=True)
def test_without_onnx_runtime_it_says_what_to_install(
    family: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[onnx\]'"):
        load_decoder(family[1])
