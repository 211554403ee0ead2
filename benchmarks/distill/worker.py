"""One arm in a process of its own: a line "step" on stdin is answered by a line of JSON.

Runs in the arm's environment; measure.py starts it. What libraries print goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from arms import ARMS, Arm
from peak import Peak
from workload import Workload


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    arm, device = ARMS[arguments.arm], torch.device(arguments.device)
    try:
        work = Workload.load(arguments.data, device)
        loss = getattr(import_module(arm.module), arm.build)(work)
        peak = Peak(device)
        say(answers, {"ready": True, "versions": versions(arm), "device": name_of(device)})
        for _ in sys.stdin:
            say(answers, step(work, loss, peak))
    except (
        Exception
    ) as error:  # the reader is another process: it is told, and the log has the rest
        say(answers, {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        raise


def step(work: Workload, loss: Callable[[], torch.Tensor], peak: Peak) -> dict[str, Any]:
    """Forward and backward; no optimiser. The gradient is new memory in every step."""
    peak.reset()
    wait(work.device)
    start = time.perf_counter()
    value = loss()
    value.backward()
    wait(work.device)
    seconds = time.perf_counter() - start
    found = {
        "seconds": seconds,
        "peak_mib": peak.mib(),
        "loss": value.item(),
        "gradient_norm": gradient_norm(work.student),
    }
    work.student.zero_grad(set_to_none=True)
    peak.release()
    return found


def gradient_norm(model: torch.nn.Module) -> float:
    """Tells arms that mean the same loss from those that do not."""
    norms = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
    return torch.stack(norms).norm().item()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def versions(arm: Arm) -> dict[str, str]:
    found = {}
    for package in arm.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "of a source tree"
    return found


def name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"


def say(answers: Any, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


if __name__ == "__main__":
    main()
