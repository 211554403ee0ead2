"""What `data` and `prepare` of distill.yaml take, as a user writes it."""

from pathlib import Path

import pytest

from mwalimu.config import Config, dump_config, load_config
from mwalimu.errors import ConfigError
from mwalimu.preparation.plan import is_wanted

YAML = """
task: generic
data: {train: a.jsonl, test: t.jsonl, %s}
teacher: {model: fake}
student: {model: none}
prepare: {%s}
"""


def load(folder: Path, data: str = "", prepare: str = "") -> Config:
    path = folder / "distill.yaml"
    path.write_text(YAML % (data, prepare))
    return load_config(path)


def test_off_is_a_word_though_yaml_reads_it_as_false(tmp_path: Path) -> None:
    config = load(tmp_path, "privacy: off", "overlap: off")
    assert (config.data.privacy, config.prepare.overlap) == ("off", "off")
    path = tmp_path / "again.yaml"
    path.write_text(dump_config(config))
    assert load_config(path).prepare == config.prepare


@pytest.mark.parametrize(
    ("data", "prepare", "wanted"),
    [
        ("", "", False),
        ("contamination: drop", "", True),
        ("contamination: allow", "", False),
        ("privacy: mask", "public_sets: [gsm8k]", False),
        ("", "overlap: drop", True),
        ("", "near_duplicates: 0.8", True),
        ("", "topics: 5", True),
        ("", "balance: {by: topic}", True),
        ("", "select: {rows: 3}", True),
    ],
)
def test_the_stage_runs_only_where_it_can_change_something(
    tmp_path: Path, data: str, prepare: str, wanted: bool
) -> None:
    assert is_wanted(load(tmp_path, data, prepare)) == wanted


@pytest.mark.parametrize(
    ("data", "prepare", "problem"),
    [
        ("", "near_duplicates: 0.3", "prepare.near_duplicates"),
        ("", "near_duplicate: 0.8", "did you mean 'near_duplicates'"),
        ("", "select: {rows: 3, by: loss}", "prepare.select"),
        ("", "select: {rows: 3, scores: s.jsonl}", "prepare.select"),
        ("privacy: true", "", "data.privacy"),
        ("phone_region: usa", "", "data.phone_region"),
    ],
)
def test_what_makes_no_sense_is_named(
    tmp_path: Path, data: str, prepare: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, data, prepare)


def test_scores_are_found_beside_the_config(tmp_path: Path) -> None:
    select = load(tmp_path, "", "select: {rows: 3, by: loss, scores: s.jsonl}").prepare.select
    assert select is not None and select.scores == tmp_path / "s.jsonl"
