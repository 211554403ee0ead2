"""Where jobs can run at the same time: so many on the CPU, one on each GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Slot:
    """`environment` is what a worker in it sees beside the server's own."""

    name: str
    resource: str
    environment: Mapping[str, str]


def slots_of(wanted: Mapping[str, int]) -> list[Slot]:
    """Of `{"cpu": 2, "gpu": 1}`: a job on the CPU sees no GPU, one on a GPU sees that alone."""
    gpus = gpu_ids()
    gpus += [str(number) for number in range(len(gpus), wanted.get("gpu", 0))]
    found = []
    for resource, count in wanted.items():
        for number in range(count):
            seen = gpus[number] if resource == "gpu" else ""
            found.append(Slot(f"{resource}-{number}", resource, {GPUS: seen}))
    return found


def default_slots() -> dict[str, int]:
    gpus = len(gpu_ids())
    return {"cpu": 1, "gpu": gpus} if gpus else {"cpu": 1}


def gpu_ids() -> list[str]:
    """As CUDA names them: those that this process may see, or all that the driver knows."""
    if (seen := os.environ.get(GPUS)) is not None:
        return [one.strip() for one in seen.split(",") if one.strip()]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]
