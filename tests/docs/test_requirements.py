"""What builds the site is pinned by hash, and changes nothing that the lock has installed."""

from __future__ import annotations

import re

from tests.docs.files import ROOT

_PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", re.M)


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {found[1]: found[2] for found in _PINNED.finditer(text)}


def test_every_package_of_the_site_is_pinned_by_hash() -> None:
    text = (ROOT / "requirements" / "docs.txt").read_text(encoding="utf-8")
    named = re.findall(r"^([a-z0-9._-]+)==", text, re.M)
    assert "mkdocs-material" in named and set(named) == set(pinned("docs.txt"))


def test_what_the_lock_has_too_is_of_the_same_version() -> None:
    site, lock = pinned("docs.txt"), pinned("lock.txt")
    shared = site.keys() & lock.keys()
    assert len(shared) > 5
    assert {name: site[name] for name in shared} == {name: lock[name] for name in shared}
