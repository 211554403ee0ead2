"""The site is built strictly, holds every page, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.files import ROOT, named_in_nav

pytest.importorskip("material")

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
ONLY_NAMED = {"canonical", "prev", "next", "alternate", "author", "license"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """Addresses that a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "link" and named.get("rel") in ONLY_NAMED:
            return
        if tag in LOADS and (address := named.get(LOADS[tag])):
            self.found.append(address)
        self.found += re.findall(r"url\(['\"]?([^'\")]+)", named.get("style") or "")


def loaded(page: Path) -> list[str]:
    parser = Loaded()
    text = page.read_text(encoding="utf-8")
    parser.feed(text)
    inline = "".join(re.findall(r"<style[^>]*>(.*?)</style>", text, flags=re.S))
    return parser.found + re.findall(r"url\(['\"]?([^'\")]+)", inline)


@pytest.mark.slow
def test_every_page_of_the_nav_is_there(site: Path) -> None:
    assert not [page for page in named_in_nav() if not (site / f"{page[:-3]}.html").is_file()]
    assert (site / "search" / "search_index.json").stat().st_size > 100_000
    assert (site / "walkthrough.ipynb").is_file()


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    addresses = {one for page in site.rglob("*.html") for one in loaded(page)}
    assert len(addresses) > 10
    assert not [one for one in addresses if re.match(r"(https?:)?//", one)]
    assert "mermaid" not in "".join(page.read_text("utf-8") for page in site.rglob("*.html"))
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", styles)


@pytest.mark.slow
def test_names_of_pages_are_links(site: Path) -> None:
    """`docs/log.md`, as the repository says it, from a folder below too."""
    assert '<a href="log.html"><code>log.md</code></a>' in (site / "objectives.html").read_text()
    assert (
        '<a href="../scale.html"><code>scale.md</code></a>'
        in (site / "howto" / "ray.html").read_text()
    )
