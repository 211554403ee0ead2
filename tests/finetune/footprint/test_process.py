"""The short form of benchmarks/finetune/memory.py: trainings in processes of their own, whose
memory the system accounts for."""

import ctypes
import gc
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.finetune.footprint import Lengths, give_memory_back
from tests.command import processes
from tests.finetune.footprint.settings import config_of, setting
from tests.finetune.footprint.test_peak import of_fit, trained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 2**20
WITHIN = 0.10
SIZES = {"hidden_size": 192, "intermediate_size": 512, "head_dim": 48, "vocab_size": 4000}
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "LoRA": {"method": "lora", "lora_rank": 8},
    "two passes with checkpointing": {"accumulation": 2, "activation_checkpointing": "on"},
}


def resident(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def measure(case: str, folder: Path) -> None:
    """A tiny training first, which loads what is loaded late; then what the real one adds."""
    torch.set_num_threads(1)
    give_memory_back(at_least=64 << 10)  # so small are these tensors
    for name, sizes, tokens in (("tiny", {}, 16), ("whole", SIZES, 256)):
        config = config_of("llama", **sizes)
        lengths = Lengths(longest=tokens, targets=tokens // 2, alike=True)
        how = setting(config, lengths, batch_size=6, epochs=1, **CASES[case])
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        trained(config, how, folder / name, watched=False)
        found = {"needs": resident("VmHWM") - before, "predicted": of_fit(how).terms.total}
        (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_process_takes_what_was_predicted(case: str, tmp_path: Path) -> None:
    process = processes().Process(target=measure, args=(case, tmp_path))
    process.start()
    process.join()
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert process.exitcode == 0 and found["needs"] > 50 * MIB
    assert found["predicted"] == pytest.approx(found["needs"], rel=WITHIN)


def hold_every_second(folder: Path) -> None:
    """After a large block the C library keeps all below its size; unless it is told otherwise."""
    torch.empty(30 * MIB, dtype=torch.uint8).fill_(1)
    give_memory_back()
    blocks = [torch.ones(4 * MIB, dtype=torch.uint8) for _ in range(40)]
    before = resident("VmRSS")
    del blocks[::2]
    (folder / "freed").write_text(str(before - resident("VmRSS")), encoding="ascii")


def test_memory_that_is_freed_goes_back(tmp_path: Path) -> None:
    process = processes().Process(target=hold_every_second, args=(tmp_path,))
    process.start()
    process.join()
    assert int((tmp_path / "freed").read_text(encoding="ascii")) > 75 * MIB
