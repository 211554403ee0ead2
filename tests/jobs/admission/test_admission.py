"""What a submission may say, field by field of the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, Field

from mwalimu.config import Config
from mwalimu.config.section import Section
from mwalimu.errors import ConfigError
from mwalimu.jobs.admission import fields
from mwalimu.jobs.admission.addresses import is_within
from mwalimu.jobs.admission.admission import Shelf, admit, names_of, require_bounded
from mwalimu.jobs.admission.fields import RULES, admitted, rule_of
from mwalimu.jobs.records import RegisteredDataset, RegisteredModel
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.submission import Submission
from mwalimu.jobs.workspace import Workspace

# Texts and paths that a stranger may set as they like: each was thought about.
OPEN = {
    *("DataConfig.phone_region", "PromptsConfig.topics", "PromptsConfig.system"),
    *("SpecialTokensConfig.extra", "RefusalConfig.extra", "LabelConfig.known"),
    *("LanguageConfig.expected", "TeacherConfig.stop", "StudentConfig.lora_targets"),
    *("StudentConfig.freeze", "EvaluateConfig.groups", "EvaluateConfig.rubric"),
    *("MixtureConfig.by", "MixtureConfig.weights"),
}


def sections(top: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """`top` and every section below it, found by the annotations alone."""
    if top in seen:
        return
    seen.add(top)
    yield top
    for one in top.model_fields.values():
        for inner in _types(one.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner, seen)


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


ALL = [(s, name) for s in sections(Config, set()) for name in s.model_fields]


def test_every_path_and_text_of_the_config_has_a_rule() -> None:
    """A new one fails here until somebody has thought about it; meanwhile it is closed."""
    unheard_of = [
        f"{section.__name__}.{name}"
        for section, name in ALL
        if rule_of(section, name) is fields._closed and f"{section.__name__}.{name}" not in RULES
    ]
    assert unheard_of == []
    assert {name for name in OPEN if RULES[name] is not fields._free} == set()
    assert {name for name, rule in RULES.items() if rule is fields._free} == OPEN


def test_every_rule_is_of_a_field_that_there_is() -> None:
    known = {f"{section.__name__}.{name}" for section, name in ALL}
    assert set(RULES) <= known


def test_no_path_of_the_config_is_free() -> None:
    paths = [
        f"{section.__name__}.{name}"
        for section, name in ALL
        if Path in set(_types(section.model_fields[name].annotation))
    ]
    assert len(paths) >= 13
    of_the_submission = {fields._schema, fields._yaml, fields._lines, fields._folder}
    closed = {fields._dataset, fields._closed}
    assert {RULES[name] for name in paths} <= closed | of_the_submission


class Later(Section):
    """Fields that somebody may add one day."""

    file: Path | None = None
    script: str = "ours"
    more: dict[str, Any] = Field({})
    several: tuple[Path, ...] = ()
    number: int = 1
    switch: bool = False


@pytest.mark.parametrize(
    ("name", "value"),
    [("file", "x"), ("script", "theirs"), ("more", {"a": 1}), ("several", ("x",))],
)
def test_a_field_that_nobody_thought_about_is_closed(
    shelf: Shelf, name: str, value: object
) -> None:
    assert admitted(Later(number=2, switch=True), shelf).number == 2
    with pytest.raises(ConfigError, match=name):
        admitted(Later.model_validate({name: value}), shelf)


@dataclass(slots=True)
class Shelves:
    """Datasets and models by name; the newest version is 3."""

    names: set[str] = field(default_factory=lambda: {"tickets", "mine"})

    def dataset(self, name: str, version: int | None) -> RegisteredDataset:
        self._look(name)
        number = version or 3
        return RegisteredDataset(
            name, number, "0" * 64, 1, 1, "qa", f"datasets/{number}.jsonl", "sam", 0.0
        )

    def model(self, name: str, version: int | None) -> RegisteredModel:
        self._look(name)
        return RegisteredModel(name, version or 3, "job", f"models/{name}/job", 0.0)

    def _look(self, name: str) -> None:
        if name not in self.names:
            raise NotFound("there is none", where=name)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelves = Shelves()
    return Shelf(Workspace(tmp_path), shelves.dataset, shelves.model, ("https://own.example/v1",))


def submission(**config: Any) -> Submission:
    good = {
        "task": "qa",
        "data": {"train": "dataset:tickets@2"},
        "teacher": {"model": "fake"},
        "student": {"model": "phi-4-mini"},
    }
    return Submission(config=good | config)


def test_names_become_places_of_the_workspace(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "models" / "mine" / "job").mkdir(parents=True)
    data = {"train": "dataset:tickets@2", "test": "dataset:tickets"}
    spec = admit(submission(data=data, student={"model": "model:mine"}), shelf)
    assert spec.config["data"]["train"] == str(tmp_path / "datasets" / "2.jsonl")
    assert spec.config["data"]["test"] == str(tmp_path / "datasets" / "3.jsonl")
    assert spec.config["student"]["model"] == str(tmp_path / "models" / "mine" / "job")
    assert spec.uses == ("dataset:tickets@2", "dataset:tickets@3", "model:mine@3")
    assert spec.registers == ("mine-distilled", "mine-baseline")


def test_every_default_is_written_out_and_the_registry_is_asked(shelf: Shelf) -> None:
    spec = admit(submission(teacher={"model": "deepseek-v3"}), shelf)
    teacher = spec.config["teacher"]
    assert teacher["base_url"].startswith("https://") and teacher["api_key_env"]
    assert Config.model_validate(spec.config).finetune.epochs == 3


@pytest.mark.parametrize("route", ["ollama", "vllm-server"])
def test_a_server_on_the_services_own_machine_is_its_owners_to_allow(
    shelf: Shelf, route: str
) -> None:
    """The registry has the usual ports of such servers."""
    others = [{"model": "fake"}, {"model": "gpt-oss-20b", "route": route}]
    config = {"ensemble": {"strategy": "vote", "others": others}}
    with pytest.raises(ConfigError, match=r"^ensemble\.others\.1\.base_url: http://localhost"):
        admit(submission(**config), shelf)
    shelf.urls = ("http://localhost:11434/v1", "http://localhost:8000/v1")
    taken = admit(submission(**config), shelf).config["ensemble"]["others"][1]
    assert taken["base_url"].startswith("http://localhost")


def test_a_folder_beside_the_server_wins_over_no_hub_id(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "microsoft" / "phi-9").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"student\.model"):
        admit(submission(student={"model": "microsoft/phi-9"}), shelf)


@pytest.mark.parametrize(
    ("student", "name"),
    [
        ("phi-4-mini", "phi-4-mini"),
        ("microsoft/Phi-4-mini-instruct", "Phi-4-mini-instruct"),
        ("model:mine@3", "mine"),
        ("a/_weird name!_", "weird-name"),
        ("a/...", "student"),
    ],
)
def test_models_are_registered_after_the_student(student: str, name: str) -> None:
    assert names_of(student) == (f"{name}-distilled", f"{name}-baseline")


def test_who_names_no_model_registers_none(shelf: Shelf) -> None:
    asked = submission().model_copy(update={"registers": ()})
    assert admit(asked, shelf).registers == ()


def test_a_resource_that_nobody_serves_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match="resource"):
        admit(submission().model_copy(update={"resource": "tpu"}), shelf)


def test_what_is_wrong_names_its_key(shelf: Shelf) -> None:
    with pytest.raises(ConfigError, match=r"finetune\.epochz: unknown key, did you mean 'epochs'"):
        admit(submission(finetune={"epochz": 3}), shelf)
    with pytest.raises(ConfigError, match=r"^ensemble\.others\.1\.base_url: is no address"):
        others = [{"model": "fake"}, {"model": "m", "base_url": "http://10.0.0.1/v1"}]
        admit(submission(ensemble={"strategy": "vote", "others": others}), shelf)
    with pytest.raises(ConfigError, match=r"^data\.train: there is none: nothing"):
        admit(submission(data={"train": "dataset:nothing"}), shelf)


@pytest.mark.parametrize(
    "config",
    [
        {"a": float("nan")},
        {"a": float("-inf")},
        {"a": 10**400},
        {"a": -(2**54)},
        {"a": "\0"},
        {"a\0": 1},
        {"a": "\udcff"},
        {"a": "x" * 100_001},
        {"a": [0] * 20_000},
        {str(i): 0 for i in range(20_000)},
    ],
    ids=range(10),
)
def test_what_cannot_be_kept_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        require_bounded(config)


def test_depth_is_bounded_without_recursion() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ConfigError, match="nested"):
        require_bounded(deep)
    while deep:  # taken apart here: Python would do so recursively
        deep = deep.pop("a")


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://own.example/v1", True),
        ("https://OWN.example/v1/", True),
        ("https://own.example:443/v1/chat", True),
        ("https://own.example/v1.1", False),
        ("https://own.example/", False),
        ("https://own.example:8443/v1", False),
        ("https://own.example/v1/../x", False),
        ("https://own.example/v1//x", False),
        ("https://own.example/v1?q", False),
        ("https://x@own.example/v1", False),
        ("http://own.example/v1", False),
    ],
)
def test_an_address_is_within_what_is_allowed(url: str, fits: bool) -> None:
    assert is_within(url, ["https://own.example/v1"]) is fits
    assert not is_within(url, [])
