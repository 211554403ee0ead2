"""The picture of the README: text that loads nothing from elsewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree

PICTURE = Path(__file__).parents[2] / "docs" / "figures" / "quickstart.svg"


def test_it_is_text_and_loads_nothing() -> None:
    svg = PICTURE.read_text(encoding="utf-8")
    drawn = ElementTree.fromstring(svg)
    shown = "\n".join("".join(node.itertext()) for node in drawn.iter() if node.tag[-4:] == "text")
    shown = shown.replace("\xa0", " ")
    for words in (
        "$ mwalimu quickstart",
        "student-distilled",
        "keeps",
        "report: ",
        "next: mwalimu",
    ):
        assert words in shown
    assert set(re.findall(r"https?://[^\"' ]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in svg and "<script" not in svg and "<image" not in svg
    assert len(svg) < 60_000
