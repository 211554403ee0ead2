"""An export is whole or not there, from full and LoRA students."""

import json
from pathlib import Path

import numpy as np
import pytest

from mwalimu.config import TargetConfig
from mwalimu.errors import ConfigError
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import read
from tests.tiny import make_tiny_model

IDS = [1, 9, 30, 41, 7, 7, 60, 12]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("student"), spread=0.3)


def test_safetensors_is_the_student_itself(student: Path, tmp_path: Path) -> None:
    folder = tmp_path / "safetensors-fp32"
    export = make(student, folder, TargetConfig(to="safetensors"), basis="b")
    assert read_export(folder, verify=True) == export
    assert (
        export.context
        == json.loads((student / "config.json").read_text())["max_position_embeddings"]
    )
    before, after = (read(load_decoder(one), IDS) for one in (student, folder))
    np.testing.assert_array_equal(after, before)


def test_a_failure_leaves_what_was_there(student: Path, tmp_path: Path) -> None:
    folder = tmp_path / "safetensors-fp32"
    first = make(student, folder, TargetConfig(to="safetensors"))
    with pytest.raises(ConfigError, match="safetensors has no int4"):
        make(student, folder, TargetConfig(to="safetensors", precision="int4"))
    assert read_export(folder, verify=True) == first
    assert [path.name for path in tmp_path.iterdir()] == ["safetensors-fp32"]
