"""The pages fit together and say what the program takes, without mkdocs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from docs._tools.pages import PAGES

from mwalimu.config import build_config
from tests.deploy.commands import in_text, parse
from tests.docs.files import DOCS, ROOT, blocks, links, named_in_nav, pages

HOWTO = sorted((DOCS / "howto").glob("*.md"))
WRITTEN = [*HOWTO, DOCS / "index.md", DOCS / "tutorial.md", DOCS / "sw" / "index.md"]
PROOFS = [*WRITTEN, DOCS / "comparison.md", DOCS / "guarantees.md", DOCS / "why-a-cache.md"]
JOBS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in HOWTO
    for number, text in enumerate(blocks(page, "yaml"))
    if text.startswith("task:")
]
COMMANDS = [
    words
    for page in WRITTEN
    for language in ("", "bash")
    for block in blocks(page, language)
    for words in in_text(block.replace("$PORT", "8000"))
]


def test_every_page_is_in_the_nav_once_and_no_other() -> None:
    there = {str(page.relative_to(DOCS)) for page in pages()} | set(PAGES)
    named = named_in_nav()
    assert sorted(named) == sorted(there)


def test_no_derived_page_lies_in_docs() -> None:
    """It would hide the one that is made from the code."""
    assert not [path for path in PAGES if (DOCS / path).exists()]


@pytest.mark.parametrize(
    "page", [*pages(), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem
)
def test_links_lead_somewhere(page: Path) -> None:
    derived = {DOCS / path for path in PAGES}
    targets = [(page.parent / link).resolve() for link in links(page)]
    assert not [target for target in targets if not target.exists() and target not in derived]


@pytest.mark.parametrize("text", JOBS)
def test_each_job_is_one_that_the_program_takes(text: str, tmp_path: Path) -> None:
    build_config(yaml.safe_load(text), base=tmp_path)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_is_understood(words: list[str]) -> None:
    parse(words)


def test_there_is_a_job_and_a_command_in_nearly_every_how_to() -> None:
    assert len(JOBS) >= 9 and len(COMMANDS) >= 40


@pytest.mark.parametrize("page", PROOFS, ids=lambda page: page.stem)
def test_tests_and_benchmarks_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"\b(?:tests|benchmarks)/[\w/]+(?:\.\w+)?", page.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path.rstrip("/")).exists()]


def test_the_teachers_of_one_line_are_sections_too(tmp_path: Path) -> None:
    """`teacher: {...}` under "Another provider": each line is a section of its own."""
    found = [text for page in HOWTO for text in blocks(page, "yaml") if text.startswith("teacher:")]
    lines = [line for text in found for line in text.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        job = {"task": "qa", "data": {"train": "p.jsonl"}, "student": {"model": "phi-4-mini"}}
        build_config(job | yaml.safe_load(line), base=tmp_path)
