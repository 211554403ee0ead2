"""A long prompt read in pieces, beside the same one read whole: memory and processor time.

    python benchmarks/serving/long_prompts.py FOLDER --lengths 512 2048 --rounds 3

FOLDER is an export to ONNX, or a student, which is exported in int4 first. Each reading is a
process of its own, one thread, in turns; memory is the process's peak beyond what it had loaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from engines import peak

from mwalimu.config import TargetConfig
from mwalimu.runtimes import onnx_decoder

T = TypeVar("T")
WHOLE = sys.maxsize
Reading = tuple[float, float]
"""Processor seconds, MB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = given.folder
        if not (folder / "export.json").exists():
            folder = Path(scratch, "onnx-int4")
            _apart(_export, given.folder, folder)
        for length in given.lengths:
            found: dict[int, list[Reading]] = {WHOLE: [], onnx_decoder.PIECE: []}
            for _ in range(given.rounds):
                for piece, readings in found.items():
                    readings.append(_apart(_read, folder, length, piece))
            print(f"{length} ids:", "; ".join(_said(*one) for one in found.items()), flush=True)


def _export(student: Path, folder: Path) -> None:
    from mwalimu.export.make import make

    make(student, folder, TargetConfig(to="onnx", precision="int4"))


def _apart(work: Callable[..., T], *given: Any) -> T:
    """Done in a process of its own, whose peak is of this alone; raises what it raises."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


def _read(folder: Path, length: int, piece: int) -> Reading:
    onnx_decoder.PIECE = piece
    decoder = onnx_decoder.load(folder, slots=1, threads=1)
    loaded = peak()
    began = time.process_time()
    decoder.prefill(0, [5 + i % 50 for i in range(length)])
    return time.process_time() - began, peak() - loaded


def _said(piece: int, readings: list[Reading]) -> str:
    seconds, memory = (median(column) for column in zip(*readings, strict=True))
    how = "whole" if piece == WHOLE else f"in pieces of {piece}"
    return f"{how} {seconds:.3f} s, {memory:.0f} MB more"


if __name__ == "__main__":
    main()
