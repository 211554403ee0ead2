import json
from pathlib import Path

import pytest
import yaml

from mwalimu.config import build_config, dump_config, load_config, public_config
from mwalimu.errors import ConfigError

MINIMAL = {
    "task": "qa",
    "data": {"train": "prompts.jsonl"},
    "teacher": {"model": "fake"},
    "student": {"model": "some/student"},
}


def write(folder: Path, text: str) -> Path:
    path = folder / "distill.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_taken_from_the_folder_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    raw = MINIMAL | {"student": {"model": "models/mine"}}
    config = load_config(write(tmp_path, yaml.safe_dump(raw)))
    assert config.data.train == tmp_path / "prompts.jsonl"
    assert config.student.model == str(tmp_path / "models" / "mine")
    assert config.teacher.resolved_kind == "fake"


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump(MINIMAL))
    config = load_config(path, ["finetune.epochs=7", "finetune.learning_rate=1e-3", "seed=4"])
    assert (config.finetune.epochs, config.finetune.learning_rate, config.seed) == (7, 1e-3, 4)


def test_dump_writes_every_default_and_loads_again(tmp_path: Path) -> None:
    config = build_config(MINIMAL, base=tmp_path)
    text = dump_config(config)
    assert "patience: 2" in text
    assert load_config(write(tmp_path, text)) == config


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"finetune": {"epoch": 3}}, r"finetune\.epoch: unknown key, did you mean 'epochs'\?"),
        ({"taks": "qa"}, r"taks: unknown key, did you mean 'task'\?"),
        ({"finetune": {"epochs": 0}}, r"finetune\.epochs: .*greater than or equal to 1"),
        ({"task": "poetry"}, r"task: .*'nli'"),
        ({"teacher": {"model": "x", "kind": "openai_compatible"}}, r"teacher: .*base_url"),
        (
            {"teacher": {"model": "fake", "kind": "fake", "base_url": "http://h"}},
            r"teacher: .*contradicts kind fake",
        ),
        ({"data": {}}, r"data\.train: is required"),
        (
            {"student": {"model": "s/s", "prune": {"layer": 3}}},
            r"student\.prune\.layer: unknown key, did you mean 'layers'\?",
        ),
        (
            {"finetune": {"objective": [{"kind": "jsd", "weigh": 1}]}},
            r"objective\.0\.weigh: unknown key, did you mean 'weight'\?",
        ),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    path = write(tmp_path, yaml.safe_dump(MINIMAL | change))
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(path)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n- b\n", "not a mapping"),
        ("task: [qa\ndata: 1", r":2: is not valid YAML"),
        ("", "not a"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(write(tmp_path, text))


def test_a_missing_file_names_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mwalimu init"):
        load_config(tmp_path / "none.yaml")


def test_a_bad_override_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump(MINIMAL))
    with pytest.raises(ConfigError, match="not followed by =value"):
        load_config(path, ["epochs"])
    with pytest.raises(ConfigError, match="holds a value"):
        load_config(path, ["task.name=3"])


def test_an_override_of_a_section_that_is_null_begins_it(tmp_path: Path) -> None:
    """As `mwalimu export RUN --set export.finish.above=0` on a resolved config."""
    path = write(tmp_path, yaml.safe_dump(MINIMAL | {"export": {"finish": None}}))
    assert load_config(path).export.finish is None
    found = load_config(path, ["export.finish.above=0"]).export.finish
    assert found is not None and found.above == 0


@pytest.mark.parametrize(("spelt", "meant"), [("off", "off"), ("on", "on"), ("auto", "auto")])
def test_words_that_yaml_takes_for_truth_values_are_words(
    tmp_path: Path, spelt: str, meant: str
) -> None:
    path = tmp_path / "distill.yaml"
    path.write_text(
        "task: qa\ndata: {train: a.jsonl}\nteacher: {model: fake}\nstudent: {model: s}\n"
        f"finetune: {{packing: {spelt}}}\n"
    )
    config = load_config(path, [f"finetune.activation_checkpointing={spelt}"])
    found = config.finetune.packing, config.finetune.activation_checkpointing
    assert found == (meant, meant)
    assert load_config(path, [f"data.privacy={'off' if spelt == 'off' else 'warn'}"])
    with pytest.raises(ConfigError, match=r"data\.contamination"):
        load_config(path, ["data.contamination=off"])


def test_scale_may_be_one_word(tmp_path: Path) -> None:
    assert build_config(MINIMAL, base=tmp_path).scale.engine == "local"
    assert build_config(MINIMAL | {"scale": "ray"}, base=tmp_path).scale.engine == "ray"
    path = write(tmp_path, yaml.safe_dump(MINIMAL | {"scale": {"engine": "ray"}}))
    for address in ("auto", "10.0.0.1:6379"):
        assert load_config(path, [f"scale.address={address}"]).scale.address == address
    for address in ("ray://head:10001", "http://head:1", "head"):
        with pytest.raises(ConfigError, match=r"scale\.address"):
            load_config(path, [f"scale.address={address}"])


def test_what_goes_into_a_run_folder_has_no_password_in_an_address(tmp_path: Path) -> None:
    """Whether or not such an address would ever be asked."""
    teacher = {"model": "m", "base_url": "http://zawadi:sesame@h.example/v1?code=sesame"}
    config = build_config(MINIMAL | {"teacher": teacher}, base=tmp_path)
    told = json.dumps(public_config(config))
    assert "sesame" not in told and "zawadi" not in told and "h.example" in told
