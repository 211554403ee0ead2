"""Looking at millions of rows before anything is paid for: seconds and memory at several sizes.

    python benchmarks/scale/rows.py --rows 100000 1000000 10000000

The rows are made here, as a set of files in a folder of its own: short instructions of random
words, one in a hundred said twice, each with an id and an answer. Measured are `mwalimu data
inspect`, `mwalimu data validate` and `mwalimu estimate`, each a process of its own. `CPU s` is what
the process worked, whoever else the machine works for. `peak` is what it holds itself: pages of
mapped files are the system's, which takes them back as it likes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FORMS = ("jsonl", "parquet", "arrow")
FILES = 8
GROUP = 100_000  # rows of a Parquet group or an Arrow batch
REPEATED = 0.01
SAMPLED_S = 0.1

JOB = """
task: generic
data: {{train: {rows}}}
teacher: {{model: fake}}
student: {{model: none/none}}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--forms", nargs="+", choices=FORMS, default=["jsonl"])
    options.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    options.add_argument("--folder", type=Path, help="where the rows are made [default: /tmp]")
    chosen = options.parse_args()
    print("| form | rows | work | s | CPU s | peak, MiB |\n|---|--:|---|--:|--:|--:|")
    for form in chosen.forms:
        for count in chosen.rows:
            with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
                folder = Path(name) / "rows"
                write(folder, form, count)
                for work in chosen.works:
                    found = measure(work, folder)
                    told = f"{found.seconds:.1f} | {found.cpu_seconds:.1f} | {found.mib:.0f}"
                    print(f"| {form} | {count:,} | {work} | {told} |", flush=True)


def rows(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    chance = random.Random(seed)
    words = [f"{chance.randrange(16**5):05x}" for _ in range(5000)]
    said = ""
    for number in range(count):
        if not said or chance.random() >= REPEATED:
            said = " ".join(chance.choices(words, k=chance.randrange(6, 18)))
        answer = words[number % len(words)]
        yield {"id": f"row-{number}", "prompt": said, "completion": answer}


def write(folder: Path, form: str, count: int) -> None:
    folder.mkdir()
    made = rows(count)
    for number in range(FILES):
        share = count // FILES + (number < count % FILES)
        file = folder / f"part-{number}.{form}"
        if form == "jsonl":
            with file.open("w", encoding="utf-8") as handle:
                handle.writelines(json.dumps(next(made)) + "\n" for _ in range(share))
        else:
            _write_table(file, form, made, share)


def _write_table(file: Path, form: str, made: Iterator[dict[str, str]], share: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    schema = pa.schema([(name, pa.string()) for name in ("id", "prompt", "completion")])
    with (
        pa.OSFile(str(file), "wb") as sink,
        parquet.ParquetWriter(sink, schema)
        if form == "parquet"
        else pa.ipc.new_stream(sink, schema) as out,
    ):
        while share:
            size = min(share, GROUP)
            out.write_table(pa.Table.from_pylist([next(made) for _ in range(size)], schema))
            share -= size


def inspect(folder: Path) -> list[str]:
    return ["data", "inspect", str(folder)]


def validate(folder: Path) -> list[str]:
    return ["data", "validate", str(folder)]


def estimate(folder: Path) -> list[str]:
    job = folder.parent / "distill.yaml"
    job.write_text(JOB.format(rows=folder), encoding="utf-8")
    return ["estimate", str(job)]


WORKS = {"inspect": inspect, "validate": validate, "estimate": estimate}


class Measured(NamedTuple):
    """`mib`: the most anonymous memory."""

    seconds: float
    cpu_seconds: float
    mib: float


def measure(work: str, folder: Path) -> Measured:
    command = [sys.executable, "-m", "mwalimu", *WORKS[work](folder)]
    began, worked = time.perf_counter(), _cpu_seconds()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder.parent)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _anonymous_mib(process.pid))
        time.sleep(SAMPLED_S)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(seconds, _cpu_seconds() - worked, peak)


def _cpu_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _anonymous_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024
    except (OSError, IndexError):  # it is starting, or has ended
        return 0.0


if __name__ == "__main__":
    main()
