"""Packages of the npm registry are what was pinned, or they are not used; offline is one line."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import MissingDependency
from mwalimu.export.web.npm import PINNED, Package, fetch, vendor
from tests.export.web.browser import served


def tarball(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


DATA = tarball(code=b"export const one = 1;", unused=b"?")
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(DATA).digest()).decode()
PACKAGE = Package("@some/thing", "1.2.3", INTEGRITY, "MIT", "https://x.test", {"code": "thing.js"})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mwalimu" / "npm"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Path]:
    """The file that the registry sends."""
    file = tmp_path / "registry" / "@some" / "thing" / "-" / "thing-1.2.3.tgz"
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    with served(tmp_path / "registry") as url:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", url)
        yield file


def test_what_is_pinned_is_complete() -> None:
    for package in PINNED:
        algorithm, _, digest = package.integrity.partition("-")
        assert algorithm == "sha512" and len(base64.b64decode(digest)) == 64
        assert package.licence and package.home.startswith("https://")


def test_a_package_is_fetched_once_and_kept(registry: Path, cache: Path) -> None:
    assert fetch(PACKAGE) == DATA
    registry.unlink()
    assert fetch(PACKAGE) == DATA
    assert [path.name for path in cache.glob("*.tgz*")] == ["thing-1.2.3.tgz"]


def test_whoever_wants_it_at_the_same_time_waits_for_the_first(
    registry: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = urllib.request.urlopen, []

    def slow(url: str, timeout: float) -> Any:
        asked.append(url)
        time.sleep(0.2)
        return real(url, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", slow)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch, [PACKAGE] * 4)) == {DATA}
    assert len(asked) == 1


def test_a_damaged_copy_is_fetched_again(registry: Path, cache: Path) -> None:
    fetch(PACKAGE)
    (cache / PACKAGE.tarball).write_bytes(DATA[:-1])
    assert fetch(PACKAGE) == DATA
    assert (cache / PACKAGE.tarball).read_bytes() == DATA


def test_another_package_under_its_name_is_refused_and_not_kept(
    registry: Path, cache: Path
) -> None:
    registry.write_bytes(tarball(code=b"steal()"))
    with pytest.raises(MissingDependency, match=r"is not @some/thing 1\.2\.3: its SHA-512"):
        fetch(PACKAGE)
    assert not [*cache.glob("*thing*")]


def test_offline_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    with pytest.raises(MissingDependency) as caught:
        fetch(PACKAGE)
    line = str(caught.value)
    assert "@some/thing 1.2.3 cannot be downloaded" in line and "\n" not in line
    assert f"put thing-1.2.3.tgz into {cache}" in line


def test_a_registry_that_is_no_address_is_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "nowhere")
    with pytest.raises(MissingDependency, match="unknown url type"):
        fetch(PACKAGE)


def test_only_what_is_asked_for_is_taken(registry: Path, tmp_path: Path) -> None:
    vendor(tmp_path / "vendor", (PACKAGE,))
    files = {path.name: path.read_text() for path in (tmp_path / "vendor").iterdir()}
    assert files == {
        "thing.js": "export const one = 1;",
        "LICENCES.txt": "@some/thing 1.2.3, MIT, https://x.test\n",
    }


def test_a_new_version_is_another_file(registry: Path, cache: Path) -> None:
    fetch(PACKAGE)
    with pytest.raises(MissingDependency, match="404"):
        fetch(replace(PACKAGE, version="1.2.4"))
