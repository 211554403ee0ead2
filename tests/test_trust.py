"""The page of figures says what was not tried."""

import json
import subprocess
from pathlib import Path

from benchmarks.trust.__main__ import ROOT, commit, run, to_run, tried
from benchmarks.trust.page import page
from benchmarks.trust.table import FIGURES, Figure


def test_every_figure_has_tests_that_are_there() -> None:
    assert all((ROOT / test.split("::")[0]).exists() for one in FIGURES for test in one.tests)


def test_the_page_is_that_of_what_was_kept() -> None:
    kept = json.loads((ROOT / "docs" / "trust.json").read_bytes())
    assert page(FIGURES, kept) == (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")


def test_what_was_skipped_failed_or_left_out_is_told() -> None:
    figures = [Figure(number, "what", "goal", ("tests/x",)) for number in ("A", "B", "C", "D")]
    whole = {"passed": True, "ran": True, "skipped": [], "short": False, "commit": "c"}
    line = {"figure": "A", "what": "w", "tried": 7, "failed": 0, "seed": 3, "note": ""}
    results = {
        "A": {**whole, "seconds": 1.0, "recorded": [line]},
        "B": {**whole, "seconds": 1.0, "recorded": [], "ran": False, "skipped": ["no browser"]},
        "C": {**whole, "seconds": 1.0, "recorded": [line], "passed": False},
    }
    told = page(figures, results)
    rows = {
        one[2]: one for one in told.splitlines() if one.startswith(("| A", "| B", "| C", "| D"))
    }
    assert "| 7 | 0 | 3 |" in rows["A"]
    assert "not run" in rows["B"] and "- left out here: no browser" in told
    assert "**failed**" in rows["C"] and "not run" in rows["D"]


def test_the_longest_run_first_and_what_is_fresh_not_again() -> None:
    version = {"commit": "c", "short": False}
    results = {one.number: {**version, "seconds": 1.0} for one in FIGURES}
    results["R2"] |= {"commit": "b", "seconds": 5.0}
    results["R4"] |= {"short": True, "seconds": 7.0}
    del results["R5"]
    wanted = {one.number for one in FIGURES}
    assert [one.number for one in to_run(wanted, results, version, again=False)] == [
        "R5",
        "R4",
        "R2",
    ]
    again = to_run({"R1", "R4"}, results, version, again=True)
    assert [one.number for one in again] == ["R4", "R1"]


def test_a_run_that_was_stopped_goes_on_though_it_has_written_its_page(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path)

    assert commit(tmp_path) == "(unknown)"
    (tmp_path / "docs").mkdir()
    for name in ("code.py", "docs/trust.md"):
        (tmp_path / name).write_text("as it was")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    first = commit(tmp_path)
    assert first.isalnum()
    (tmp_path / "docs/trust.md").write_text("what was found")
    assert commit(tmp_path) == first
    (tmp_path / "code.py").write_text("changed")
    assert commit(tmp_path) == f"{first}+"


def test_what_was_found_with_changes_is_not_taken_for_fresh() -> None:
    version = {"commit": "c+", "short": False}
    assert to_run({"R1"}, {"R1": {**version, "seconds": 1.0}}, version, again=False)


def test_figures_run_beside_each_other_and_each_is_told(tmp_path: Path) -> None:
    figures = []
    for number, other in (("X", "Y"), ("Y", "X")):
        test = tmp_path / f"test_{number}.py"
        test.write_text(MEETS.format(here=tmp_path / number, there=tmp_path / other))
        figures.append(Figure(number, "what", "goal", (str(test),)))
    found = {figure.number: told for figure, told in run(figures, lanes=2, short=True)}
    assert found.keys() == {"X", "Y"} and all(told["ran"] for told in found.values())


MEETS = """
import pathlib, time

def test_it():
    pathlib.Path("{here}").touch()
    until = time.monotonic() + 60
    while not pathlib.Path("{there}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
"""


def test_a_skipped_test_is_no_test_that_passed(tmp_path: Path) -> None:
    test = tmp_path / "test_nothing.py"
    test.write_text("import pytest\n\ndef test_it():\n    pytest.skip('no browser: none')\n")
    found = tried(Figure("X", "what", "goal", (str(test),)), short=True)
    assert found["passed"] and not found["ran"] and found["skipped"] == ["no browser: none"]
