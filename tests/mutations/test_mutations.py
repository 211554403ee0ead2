"""Tests that bite: each safety switch is turned off in a copy of the source, and a test sees it.

`make test` looks whether the switches still stand where the table says, and turns off one;
MWALIMU_LONG=1 turns off all, one at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.figures import record
from tests.mutations.switches import SWITCHES, Switch

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "mwalimu"
TURNED = list(SWITCHES) if os.environ.get("MWALIMU_LONG") else ["a frame's checksum"]
TESTS_FAILED = 1  # pytest's exit code; a mistake in the change would be another


@pytest.mark.parametrize("name", SWITCHES)
def test_the_switch_is_where_the_table_says(name: str) -> None:
    switch = SWITCHES[name]
    assert (SOURCE / switch.file).read_text(encoding="utf-8").count(switch.was) == 1
    assert (ROOT / switch.test).exists()


def test_there_are_enough() -> None:
    assert len(SWITCHES) >= 20


def turned_off(switch: Switch, place: Path) -> dict[str, str]:
    """The environment in which mwalimu is a copy without the switch."""
    copy = place / "src" / "mwalimu"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / switch.file
    text = file.read_text(encoding="utf-8").replace(switch.was, switch.off)
    compile(text, str(file), "exec")
    file.write_text(text, encoding="utf-8")
    without = {"MWALIMU_LONG", "MWALIMU_FIGURES"}
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": str(place / "src")}


@pytest.mark.parametrize("name", TURNED)
def test_a_test_sees_that_it_is_off(tmp_path: Path, name: str) -> None:
    switch = SWITCHES[name]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", switch.test]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=turned_off(switch, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == TESTS_FAILED, done.stdout[-800:]
    last = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    record("R25", name, tried=1, note=last[0][7:120] if last else switch.test)
