"""The picture of the README: text that loads nothing from elsewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree

PICTURE = Path(__file__).parents[2] / "docs" / "figures" / "quickstart.svg"
SHOWN = ("$ mwalimu quickstart", "student-distilled", "distilled keeps 98", "report: ", "next: ")


def test_it_is_text_and_loads_nothing() -> None:
    svg = PICTURE.read_text(encoding="utf-8")
    texts = [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}text")]
    shown = " ".join(" ".join("".join(text.itertext()) for text in texts).split())
    for words in SHOWN:
        assert words in shown
    assert set(re.findall(r"https?://[^\"' ]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in svg and "<script" not in svg and "<image" not in svg
    assert len(svg) < 60_000
