"""The derived pages say everything that the code has, and only in tables that hold together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest
import yaml
from docs._tools import commands, exits, functions, names, registry, settings, wording
from docs._tools.pages import PAGES

import mwalimu
from mwalimu import api
from mwalimu.config.curation import CHECKS
from mwalimu.config.evaluation import ArmName
from mwalimu.config.objective import PART_KINDS
from mwalimu.config.prompts import METHODS
from mwalimu.data.formats import BY_NAME
from mwalimu.runtimes import FORMATS as EXPORTS
from mwalimu.signals.manifest import ENCODINGS
from tests.docs.files import DOCS


def test_every_option_of_every_command_is_on_the_page_with_its_help() -> None:
    sections = dict(
        part.split("\n", 1) for part in re.split(r"^## ", commands.page(), flags=re.M)[1:]
    )
    for name, command in commands.commands():
        assert wording.cell((command.help or "").strip()) in wording.cell(sections[name])
        for one in command.params:
            told = one.opts if one.param_type_name == "option" else [one.name.upper()]
            assert all(f"`{word}`" in sections[name] for word in told), (name, told)
            assert wording.cell(one.help or "") in sections[name]


def test_every_key_of_the_config_is_there_with_its_default() -> None:
    page = settings.page()
    count = 0
    for path, section in settings.sections():
        head = f"## `{path}`" if path else "## The whole file"
        text = page.split(f"{head}\n", 1)[1].split("\n## ", 1)[0]
        for name, field in section.model_fields.items():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
            assert field.is_required() == ("| required |" in row)
            meaning = row.rsplit(" | ", 1)[1].removesuffix(" |").strip()
            assert meaning, f"{path}.{name} has no description"
            assert wording.cell(field.description or "") in row
            count += 1
    assert count > 150


@pytest.mark.parametrize(
    ("section", "row"),
    [
        ("teacher", "| `temperature` | number, ≥ 0, ≤ 2 | `0.0` |"),
        ("budget", "| `usd` | number, > 0 |  |"),
        ("student", "| `method` | `full`, `lora`, `dora`, `rslora`, `qlora` | `lora` |"),
        ("finetune", "| `track` | list of `tensorboard`, `mlflow`, `wandb` | `[]` |"),
    ],
)
def test_types_bounds_and_defaults_are_as_in_yaml(section: str, row: str) -> None:
    assert row in settings.page().split(f"## `{section}`\n", 1)[1].split("\n## ", 1)[0]


def test_the_pages_that_explain_a_section_are_there() -> None:
    sections = {path for path, _ in settings.sections()}
    assert settings.PAGES.keys() <= sections
    assert all((DOCS / f"{page}.md").exists() for page in settings.PAGES.values())


def test_every_error_is_told_with_its_exit_code() -> None:
    page = exits.page()
    for kind in exits.kinds():
        row = next(line for line in page.splitlines() if f"`{kind.__name__}`" in line)
        assert row.startswith(f"| {kind.exit_code} |")  # type: ignore[attr-defined]
    assert "| 70 |" in page and "| 130 |" in page


def test_the_registry_is_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = registry.page()
    known = registry.shipped()
    for model in known.models.values():
        assert all(
            f"| `{model.name}` | {model.context:,} | `{r.name}`" in before for r in model.routes
        )
    assert all(f"| `{one.name}` | `{one.weights}` |" in before for one in known.students.values())
    entry = {"family": "mine", "licence": "mit", "weights": "me/mine", "context": 10}
    mine = tmp_path / ".mwalimu" / "models.yaml"
    mine.parent.mkdir()
    mine.write_text(yaml.safe_dump({"students": {"mine": entry}}))
    monkeypatch.chdir(tmp_path)
    assert registry.page() == before


def test_every_public_name_is_there_with_what_it_says_of_itself() -> None:
    page = functions.page()
    for name in mwalimu.__all__:
        assert f"### mwalimu.{name}\n" in page
    for name in set(api.__all__) - set(mwalimu.__all__):
        assert f"### mwalimu.api.{name}\n" in page
        first = (getattr(api, name).__doc__ or "").strip().splitlines()[0]
        assert first and first in page


@pytest.mark.parametrize("name", sorted(PAGES))
def test_tables_hold_together(name: str) -> None:
    text = re.sub(r"^```.*?^```$", "", PAGES[name](), flags=re.M | re.S)
    width = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert width in (0, cells), line
        width = cells


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("data", BY_NAME),
        ("objectives", PART_KINDS),
        ("curation", CHECKS),
        ("prompts", METHODS),
        ("formats", ENCODINGS),
        ("export", EXPORTS),
        ("evaluation", get_args(ArmName)),
    ],
)
def test_a_page_by_hand_has_all_words_of_its_subject(page: str, words: Iterable[str]) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    derived = names.page()
    for word in words:
        assert re.search(rf"`(?:student-)?{word}\b", text), f"docs/{page}.md does not say {word}"
        assert f"`{word}`" in derived


def test_every_extra_is_there() -> None:
    page = names.page()
    assert "| `onnx` |" in page and "| `ray` | `ray" in page and "`pytest" not in page
