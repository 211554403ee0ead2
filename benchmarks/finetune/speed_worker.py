"""One arm in a process of its own, which trains as its trainer does: a line "step" on stdin lets it
go on for so many optimiser steps, and is answered by a line of JSON. speed.py starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "distill"))

import torch  # noqa: E402
import worker  # noqa: E402
from peak import Peak  # noqa: E402
from speed_cases import ARMS, CASES, Case  # noqa: E402


class Gate:
    """The trainer passes it after every optimiser step, and waits here between rounds."""

    def __init__(self, answers: Any, device: torch.device, case: Case) -> None:
        self._answers = answers
        self.device = device
        self.case = case
        self._tokens: list[Any] = []
        self._losses: list[Any] = []
        self._done = 0

    def open(self, facts: dict[str, Any]) -> None:
        """Before the first step, with the weights loaded."""
        self._peak = Peak(self.device)
        worker.say(self._answers, facts)
        self._wait()

    def count(self, tokens: Any, loss: Any) -> None:
        """Of a forward pass, padding left out; tensors are read when the round is over."""
        self._tokens.append(tokens)
        self._losses.append(loss)

    def passed(self) -> None:
        self._done += 1
        if self._done % self.case.steps:
            return
        worker.wait(self.device)
        seconds = time.perf_counter() - self._start
        tokens = sum(int(found) for found in self._tokens)
        cpu = time.process_time() - self._cpu
        found = {"seconds": seconds / tokens, "cpu": cpu / tokens, "tokens": tokens}
        loss = sum(float(found) for found in self._losses) / len(self._losses)
        worker.say(self._answers, found | {"peak_mib": self._peak.mib(), "loss": loss})
        self._wait()

    def _wait(self) -> None:
        if not sys.stdin.readline():
            os._exit(0)  # no trainer is to tidy up
        self._tokens.clear()
        self._losses.clear()
        self._peak.reset()
        worker.wait(self.device)
        self._start, self._cpu = time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    given = json.loads((arguments.data / "facts.json").read_text("utf-8"))
    arm, device = ARMS[arguments.arm], torch.device(arguments.device)
    torch.set_num_threads(given["threads"])
    gate = Gate(answers, device, CASES[given["case"]])
    facts = {"versions": worker.versions(arm), "device": worker.name_of(device)}
    try:
        train = getattr(import_module(arm.module), arm.build)
        train(gate, facts, given["steps"], arguments.data / arm.name)
    except Exception as error:  # told to the reader, another process; the log has the rest
        worker.say(answers, {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        traceback.print_exc()


if __name__ == "__main__":
    main()
