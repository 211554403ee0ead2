"""`python -m benchmarks.trust.sbom`: what mwalimu is made of, out of the lock.

Writes docs/sbom.cdx.json (CycloneDX 1.6) and docs/licences.md. Names, versions and who needs whom
are the lock's; licences are what the installed packages say of themselves. Hashes stay in the lock.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
BOM, LICENCES = ROOT / "docs" / "sbom.cdx.json", ROOT / "docs" / "licences.md"
OURSELVES = "mwalimu (pyproject.toml)"
UNKNOWN = "not installed here"
_PINNED = re.compile(r"^([A-Za-z0-9_.\-]+)(?:\[[^\]]*\])?==([^\s;]+)")
_NEEDED_BY = re.compile(r"^    #(?: via)? +(\S.*)$")


class Package(NamedTuple):
    """`needed_by` are names in the lock; `core`: an installation without extras has it."""

    name: str
    version: str
    needed_by: frozenset[str]
    core: bool

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages() -> list[Package]:
    """Of the lock and torch, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {canonical(re.split(r"[^\w.\-]", need)[0]) for need in project["dependencies"]}
    found = dict(_locked(ROOT / "requirements" / "lock.txt"))
    found |= dict(_locked(ROOT / "requirements" / "torch-cpu.txt"))
    needs: dict[str, set[str]] = defaultdict(set)
    for name, (_, parents) in found.items():
        for parent in parents:
            needs[parent].add(name)
    core, open_ = set(direct), list(direct)
    while open_:
        for name in needs[open_.pop()] - core:
            core.add(name)
            open_.append(name)
    return [
        Package(name, version, frozenset(parents), name in core)
        for name, (version, parents) in sorted(found.items())
    ]


def _locked(path: Path) -> Iterator[tuple[str, tuple[str, set[str]]]]:
    """Name, version and the names of those that need it."""
    parents: set[str] = set()
    for line in path.read_text().splitlines():
        if match := _PINNED.match(line):
            parents = set()
            yield canonical(match[1]), (match[2], parents)
        elif (match := _NEEDED_BY.match(line)) and match[1] != OURSELVES:
            parents.add(canonical(match[1].partition("[")[0]))


def licence(name: str) -> tuple[str, str]:
    """As CycloneDX names its kind ("expression" is SPDX's), and the licence."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "name", UNKNOWN
    if expression := about.get("License-Expression"):
        return "expression", expression
    said = (about.get("License") or "").strip()
    if said and len(said) < 60 and "\n" not in said and said != "UNKNOWN":
        return "name", said
    kinds = [c.split(" :: ")[-1] for c in about.get_all("Classifier", []) if c[:7] == "License"]
    return "name", ", ".join(kinds) or "see the package"


def _version() -> str:
    from mwalimu import __version__

    return __version__


def bom(listed: list[Package]) -> dict[str, Any]:
    own = f"pkg:pypi/mwalimu@{_version()}"
    refs = {one.name: one.purl for one in listed}
    needs: dict[str, list[str]] = {one.purl: [] for one in listed}
    for one in listed:
        for parent in one.needed_by & refs.keys():
            needs[refs[parent]].append(one.purl)
    needed = {purl for found in needs.values() for purl in found}
    needs[own] = [one.purl for one in listed if one.purl not in needed or one.core]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": "mwalimu",
                "version": _version(),
                "licenses": [{"expression": "Apache-2.0"}],
                "purl": own,
            }
        },
        "components": [_component(one) for one in listed],
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(found)} for ref, found in sorted(needs.items())
        ],
    }


def _component(one: Package) -> dict[str, Any]:
    kind, said = licence(one.name)
    return {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "scope": "required" if one.core else "optional",
        "licenses": [{"expression": said} if kind == "expression" else {"license": {"name": said}}],
        "purl": one.purl,
    }


def licences(listed: list[Package]) -> str:
    rows = [
        f"| {one.name} | {one.version} | {'yes' if one.core else ''} | {licence(one.name)[1]} |"
        for one in listed
    ]
    head = (
        "# Licences of what mwalimu is built on\n"
        "Written by `python -m benchmarks.trust.sbom` out of the lock; each licence is what the "
        'package says of itself. "Core" is\nwhat `pip install mwalimu` brings; the rest belongs to '
        "extras and to the tests.\n\n| package | version | core | licence |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def main() -> None:
    listed = packages()
    BOM.write_text(json.dumps(bom(listed), indent=1) + "\n", encoding="utf-8")
    LICENCES.write_text(licences(listed), encoding="utf-8")
    print(f"{len(listed)} packages, {sum(one.core for one in listed)} of them core")


if __name__ == "__main__":
    main()
