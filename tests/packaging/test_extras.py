"""The extras: what `all` is, what errors tell to install, and what the page of installing lists."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
USERS = set(EXTRAS) - {"all", "dev"}


def test_all_holds_only_what_other_extras_hold() -> None:
    assert set(EXTRAS["all"]) <= {one for name in USERS for one in EXTRAS[name]}


def test_every_extra_that_an_error_tells_to_install_is_one() -> None:
    texts = [p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py")]
    named = {
        extra
        for text in texts
        for extras in re.findall(r"pip install 'mwalimu\[([a-z,]+)\]'", text)
        for extra in extras.split(",")
    }
    assert {"onnx", "serve", "tune", "curate"} <= named
    assert named <= USERS


def test_the_page_of_installing_lists_every_extra_and_whether_all_has_it() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \|[^|]+\| ([^|]+) \|$", page, re.MULTILINE)
    told = {name: held for names, held in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == USERS
    for name, held in told.items():
        if held == "yes":
            assert set(EXTRAS[name]) <= set(EXTRAS["all"]), name
        if held == "no":
            assert not set(EXTRAS[name]) & set(EXTRAS["all"]), name
