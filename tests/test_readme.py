"""The README: short, and its tree is the tree that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "mwalimu"
TREE = README.split("src/mwalimu/\n", 1)[1].split("```", 1)[0]
NAME = re.compile(r"(?<![*\w])[a-z_0-9]+(?:\.py|/)")


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) < 200


def test_every_name_of_its_tree_is_in_the_package() -> None:
    there = {path.name for path in PACKAGE.rglob("*")}
    ours = TREE.split("\ntests/", 1)[0]
    assert {name for name in NAME.findall(ours) if name.rstrip("/") not in there} == set()


def test_every_room_is_in_its_tree() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    assert {room for room in rooms if room not in TREE} == set()
