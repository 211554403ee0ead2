"""Where the teacher's numbers come from, and what is refused before a step is taken."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import build_config
from mwalimu.errors import ConfigError, RunError, SignalMismatch
from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.teacher.cached import CachedTeacher
from mwalimu.finetune.teacher.live import LiveTeacher
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.view import Mixed, Needs
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.run import Run
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.finetune.jobs import settings, student, sums
from tests.finetune.taught import CPU, ROWS, Pair, captured, config_of, make_pair
from tests.tiny import make_tiny_model, make_tokenizer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


def source_of(config: Any, run: Run, tokenizer: Any = None) -> Any:
    white_box = WhiteBox.of(config, run)
    assert white_box is not None
    rows = JobRows.of(tokenizer or make_tokenizer(), ROWS)
    return white_box.source(config.finetune.objective, rows, CPU, autocast=False)


def test_text_needs_none_of_it(tmp_path: Path, pair: Pair) -> None:
    config = config_of(pair, "cross_entropy")
    assert WhiteBox.of(config, captured(tmp_path, config, ROWS)) is None


def test_each_encoding_has_its_folders_one_a_split(tmp_path: Path, pair: Pair) -> None:
    objective = ["jsd", {"kind": "hidden", "layers": "last"}, "chunk_likelihood"]
    config = config_of(pair, objective)
    run = captured(tmp_path, config, ROWS, sums(4, seed=1))
    white_box = WhiteBox.of(config, run)
    assert white_box is not None and not white_box.live
    splits = ("train", "validation")
    assert white_box.folders == {
        name: tuple(run.path("signals", name, split) for split in splits)
        for name in ("topk", "hidden", "realised")
    }
    source = source_of(config, run)
    assert isinstance(source, CachedTeacher) and source.hidden_size == 48


def test_a_live_teacher_is_loaded_and_its_signals_are_not_asked_for(
    tmp_path: Path, pair: Pair
) -> None:
    config = config_of(pair, "jsd", finetune={"teacher": "live"})
    run = captured(tmp_path, config, ROWS)
    assert run.stage("signals") is None
    assert isinstance(source_of(config, run), LiveTeacher)


def test_new_answers_have_a_live_teacher_beside_the_cache(tmp_path: Path, pair: Pair) -> None:
    config = config_of(pair, "jsd", finetune={"on_policy": {}})
    source = source_of(config, captured(tmp_path, config, ROWS))
    assert isinstance(source, Mixed)
    assert isinstance(source.cached, CachedTeacher) and isinstance(source.live, LiveTeacher)


def test_signals_that_were_not_captured_are_missed(tmp_path: Path, pair: Pair) -> None:
    config = config_of(pair, "jsd")
    run = captured(tmp_path, config_of(pair, "cross_entropy"), ROWS)
    with pytest.raises(RunError, match="stage signals is not finished"):
        WhiteBox.of(config, run)


def test_a_student_with_other_tokens_is_refused(tmp_path: Path, pair: Pair) -> None:
    config = config_of(pair, "forward_kl")
    run = captured(tmp_path, config, ROWS)
    for tokenizer in (tokenizer_of("byte level"), swapped()):
        with pytest.raises(SignalMismatch, match="a tokenizer whose ids mean other tokens"):
            source_of(config, run, tokenizer)


def swapped() -> Any:
    """Of the same size, with two words in each other's place."""
    tokenizer = make_tokenizer()
    state = tokenizer.backend_tokenizer.to_str()
    state = state.replace('"a":', '"~~":').replace('"b":', '"a":').replace('"~~":', '"b":')
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(state), eos_token="<|end|>")
    assert len(made) == len(tokenizer) and made.get_vocab()["a"] == tokenizer.get_vocab()["b"]
    return made


@pytest.mark.parametrize("objective", ["forward_kl", "reverse_kl"])
def test_control_tokens_of_the_teacher_alone_are_no_obstacle(
    tmp_path: Path, pair: Pair, objective: str
) -> None:
    more = make_tokenizer()
    more.add_special_tokens({"additional_special_tokens": ["<|tool|>", "<|call|>"]})
    teacher = make_tiny_model(tmp_path / "more", tokenizer=more, spread=0.25)
    config = config_of(Pair(teacher, pair.student), objective)
    run = captured(tmp_path / "run", config, ROWS)
    source = source_of(config, run)
    (reader,) = next(iter(source.readers.values()))
    assert reader.manifest.identity.vocabulary == len(make_tokenizer())


def test_what_parts_need() -> None:
    raw = {
        "task": "generic",
        "data": {"train": "p"},
        "teacher": {"model": "fake"},
        "student": {"model": "s"},
        "finetune": {
            "objective": [
                "cross_entropy",
                "forward_kl",
                {"kind": "hidden", "layers": [[0, 2], [1, 2], [1, 0]]},
                {"kind": "attention", "layers": [[0, 1]]},
                "chunk_likelihood",
            ]
        },
    }
    parts = build_config(raw, base=Path.cwd()).finetune.objective
    assert Needs.of(parts) == Needs(True, (0, 2), (1,), chunks=True)
    assert Needs.of(parts).same_tokens and Needs.of(parts).other_tokens
    assert Needs.of(parts[:1]) == Needs()
    assert not Needs.of(parts[:1]).same_tokens and not Needs.of(parts[:2]).other_tokens


def test_an_objective_that_needs_a_teacher_wants_one(tmp_path: Path, pair: Pair) -> None:
    with pytest.raises(ConfigError, match="forward_kl needs a teacher beside the rows"):
        train_student(
            student(pair.student),
            settings(objective="forward_kl"),
            ROWS,
            None,
            tmp_path,
            seed=0,
            stage_fingerprint="",
            on_progress=lambda *_: None,
        )
