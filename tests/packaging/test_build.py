"""Wheel and sdist build without the network, hold what is needed, and are the same bytes again."""

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import mwalimu
from mwalimu.files import sha256_file

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mwalimu"
EPOCH = 1_764_374_400  # 2025-11-29, in the past of every file here
READ_AT_RUN_TIME = (
    "quickstart/teacher/model.safetensors",
    "quickstart/student/model.safetensors",
    "report/templates/report.jinja",
    "registry/models.yaml",
    "jobs/dashboard/static/index.html",
    "py.typed",
)


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path


def build(source: Path, out: Path) -> Built:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
    (wheel,), (sdist,) = out.glob("mwalimu-*.whl"), out.glob("mwalimu-*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(ROOT, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist holds, in a folder of another name and with other times."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(built.sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    for path in source.rglob("*"):
        os.utime(path)
    return source


def test_the_wheel_holds_every_file_of_the_package(built: Built) -> None:
    held = set(zipfile.ZipFile(built.wheel).namelist())
    ours = {
        str(path.relative_to(ROOT / "src"))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= held
    assert {f"mwalimu/{needed}" for needed in READ_AT_RUN_TIME} <= held
    assert {name.split("/")[0] for name in held} == {
        "mwalimu",
        f"mwalimu-{mwalimu.__version__}.dist-info",
    }
    assert built.wheel.stat().st_size < 20e6


def test_the_wheel_says_what_it_is(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        about = f"mwalimu-{mwalimu.__version__}.dist-info"
        told = email.message_from_bytes(archive.read(f"{about}/METADATA"))
        scripts = archive.read(f"{about}/entry_points.txt").decode()
        assert f"{about}/licenses/LICENSE" in archive.namelist()
    assert (told["Name"], told["Version"]) == ("mwalimu", mwalimu.__version__)
    assert told["License-Expression"] == "Apache-2.0"
    assert "all" in told.get_all("Provides-Extra", [])
    assert "mwalimu = mwalimu.__main__:main" in scripts


def test_two_builds_in_different_folders_are_the_same_bytes(
    built: Built, unpacked: Path, tmp_path: Path
) -> None:
    again = build(unpacked, tmp_path)
    assert sha256_file(again.wheel) == sha256_file(built.wheel)
    assert sha256_file(again.sdist) == sha256_file(built.sdist)
    with zipfile.ZipFile(again.wheel) as archive:
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(2025, 11, 29)}


def test_the_sdist_holds_what_its_own_tests_need(unpacked: Path) -> None:
    assert {path.name for path in unpacked.iterdir()} >= {
        *("src", "tests", "benchmarks", "recipes", "docs", "deploy", "requirements"),
        *("Makefile", "README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "pyproject.toml"),
    }
    for name in (".git", ".venv", ".ci", "runs", ".mwalimu", "build", "dist"):
        assert not list(unpacked.rglob(name))
    ours = {p.relative_to(ROOT) for p in PACKAGE.rglob("*.py")}
    assert ours <= {p.relative_to(unpacked) for p in unpacked.rglob("*.py")}
