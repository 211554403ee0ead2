"""Amounts of memory: read, written, and how much there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from mwalimu.errors import ConfigError
from mwalimu.finetune.footprint import gib, machine, memory_of, parse_memory
from mwalimu.finetune.footprint.machine import free_memory_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24 * 10**9),
        ("24GiB", 24 * 2**30),
        ("24g", 24 * 2**30),
        (" 1.5 TB ", 1_500_000_000_000),
        ("512MiB", 512 * 2**20),
        ("8192K", 8 * 2**20),
        ("1000", 1000),
    ],
)
def test_amounts_are_read(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "lots", "24 GPUs", "-1GB", "1e3GB", "GB"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no amount of memory; write it like 24GB"):
        parse_memory(text)


def test_amounts_are_written() -> None:
    assert gib(5.25 * 2**30) == "5.2 GiB"
    assert gib(310 * 2**20) == "310 MiB"


def test_a_container_may_have_less_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = memory_of("cpu")
    assert whole > 2**30 and 0 < free_memory_of("cpu") <= whole
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_LIMITS", (limit, tmp_path / "absent"))
    limit.write_text(f"{2**29}\n", encoding="utf-8")
    assert memory_of("cpu") == free_memory_of("cpu") == 2**29
    limit.write_text("max\n", encoding="utf-8")
    assert memory_of("cpu") >= whole


def test_nothing_here_needs_torch() -> None:
    """An estimate is to come at once, and from a machine that has no GPU."""
    code = (
        "import sys, mwalimu.finetune.footprint, mwalimu.finetune.footprint.advice;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
