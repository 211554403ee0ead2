"""The version stands in the package; what else tells it agrees."""

import re
import tomllib
from pathlib import Path

import yaml

import mwalimu

ROOT = Path(__file__).parents[2]


def test_the_project_takes_it_from_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/mwalimu/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", mwalimu.__version__)


def test_the_changelog_begins_with_it_or_with_what_it_will_be() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## \[?([^\s\]]+)", text, re.MULTILINE)
    if first == "Unreleased":
        assert mwalimu.__version__ not in released
    else:
        assert first == mwalimu.__version__


def test_the_citation_names_it() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "license", "abstract"} <= set(citation)
    assert str(citation["version"]) == mwalimu.__version__
    assert citation["license"] == "Apache-2.0"
