"""What a training is told before it begins, and when memory has run out."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.errors import OutOfMemory
from mwalimu.finetune import memory as memory_module
from mwalimu.finetune.footprint import Lengths, Setting, needed
from mwalimu.finetune.footprint.advice import (
    checkpointing_decided,
    lengths_of,
    setting_of,
    what_to_change,
)
from mwalimu.finetune.teaching import Teaching
from tests.finetune.footprint.settings import config_of, setting
from tests.finetune.jobs import train

GIB = 2**30


def large(**changes: Any) -> Setting:
    config = config_of("llama", hidden_size=2048, intermediate_size=8192, vocab_size=50_000)
    lengths = Lengths(longest=512, targets=128)
    return replace(setting(config, lengths, **({"batch_size": 8} | changes)), device="cuda")


def test_activations_are_made_twice_where_they_must() -> None:
    how = large()
    whole = needed(how)
    roomy, tight = checkpointing_decided(how, 2 * whole), checkpointing_decided(how, 0.9 * whole)
    assert roomy.finetune.activation_checkpointing == "off"
    assert tight.checkpointing and needed(tight) < whole
    told = large(activation_checkpointing="off")
    assert checkpointing_decided(told, 1.0) is told


def test_lengths_of_rows() -> None:
    tokens, targets = [100, 40, 60, 80], [50, 10, 30, 20]
    packed = lengths_of(tokens, targets, FinetuneConfig(batch_size=2))
    assert packed == Lengths(longest=100, targets=39, all=280, alike=False, fullest=180)
    padded = lengths_of(tokens, targets, FinetuneConfig(batch_size=2, packing="off"))
    assert padded.fullest == 200
    assert lengths_of([9, 9], [3, 3], FinetuneConfig()).alike


def test_the_advice_would_have_been_enough() -> None:
    how, room = large(), 8 * GIB
    told = what_to_change(how, room)
    assert re.fullmatch(r"set \S+=\S+( and \S+=\S+)*, which needs .*", told)
    assert f"in place of {needed(how) / GIB:.1f} GiB" in told


def test_what_had_room_enough_is_told_nothing() -> None:
    assert what_to_change(large(), 200 * GIB) == ""


def test_what_no_option_makes_fit_is_told_nothing() -> None:
    assert what_to_change(large(), 0.5 * GIB) == ""


def test_one_that_should_just_have_fitted_is_given_a_smaller_one() -> None:
    how = large()
    assert "=" in what_to_change(how, 1.2 * needed(how))


def test_a_model_of_another_kind_is_not_worked_out() -> None:
    llama = config_of("llama").to_dict()
    rest = (StudentConfig(model="x"), FinetuneConfig(), Lengths(longest=8, targets=4), "cpu")
    assert setting_of({"model_type": "gpt2"}, *rest) is None
    assert setting_of(llama, *rest, teacher={"model_type": "gpt2"}) is None
    found = setting_of(llama, *rest, teacher=llama)
    assert found is not None and found.teacher is not None


def test_an_error_has_the_options_where_size_is_to_blame(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Teaching, "__call__", fail)
    monkeypatch.setattr(memory_module, "memory_of", lambda _: 430 << 20)  # libraries take 400
    enough = r"set \S+=\S+.*, which needs 4\d\d MiB in place of 4\d\d"
    with pytest.raises(OutOfMemory, match=enough):
        train(tiny, tmp_path, packing="off")
