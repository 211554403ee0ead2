"""A model on its own runtime, in a process that holds nothing else: its answers and what they cost.

    python -m mwalimu.shipping.trial JOB

Only ids come in and go out: neither torch nor a tokenizer is loaded unless the runtime does it, so
that the memory is the runtime's. Answers are journaled batch by batch; a killed trial goes on.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mwalimu.data.batched_generation import Answer
from mwalimu.errors import MwalimuError
from mwalimu.evaluation.generate import Answering
from mwalimu.evaluation.journal import Journal
from mwalimu.evaluation.memory import KIB, MIB
from mwalimu.evaluation.performance import Loaded, Performance, measured_answers
from mwalimu.export.parity import Parity, compare
from mwalimu.files import write_json
from mwalimu.garbage import left_at_the_end
from mwalimu.runtimes import Decoder, Logits, load_decoder
from mwalimu.runtimes.generation import greedy, read
from mwalimu.shipping.telling import told

BATCH = 8  # answers a slot between two entries of the journal


@dataclass(frozen=True, slots=True)
class Job:
    """What a trial does; it writes `answers.jsonl` and `found.json` into `out`.

    `folder` is an export, or a plain transformers folder, `file_mib` large. `parity` are rows
    of ids to read; their logits are written to `logits` where that does not exist, and compared
    with it where it does. `wanted` is the fingerprint of what the answers depend on.
    """

    folder: str
    file_mib: float
    parameters: int | None
    prompts: Sequence[Sequence[int]]
    ends: Sequence[int]
    max_tokens: int
    slots: int
    threads: int | None
    parity: Sequence[Sequence[int]]
    logits: str
    wanted: str
    out: str


@dataclass(frozen=True, slots=True)
class Found:
    """What `found.json` holds: how many prompts were answered, the others being too long.

    `loaded_mib` is the memory of the whole process right after loading.
    """

    wanted: str
    answered: int
    loaded_mib: float | None
    performance: Performance
    parity: Parity | None


class DecoderAnswerer(Answering):
    """Greedy answers of a decoder: ids without text."""

    def __init__(self, decoder: Decoder, *, ends: Sequence[int], max_tokens: int) -> None:
        self.decoder = decoder
        self.ends = frozenset(ends)
        self.max_tokens = max_tokens

    @property
    def context(self) -> int:
        return self.decoder.context

    def answer(self, prompts: Sequence[list[int]], *, tokens: int | None = None) -> list[Answer]:
        most = self.max_tokens if tokens is None else tokens
        found = greedy(self.decoder, prompts, ends=self.ends, max_tokens=most)
        return [Answer("", len(ids), ids[-1] in self.ends, ids=tuple(ids)) for ids in found]


def run_trial(job: Job, on_done: Callable[[int], None]) -> Found:
    """Also written to `found.json`, the last of the trial's files.

    Raises:
        MwalimuError: the model cannot be loaded, or its runtime is not installed.
    """
    decoder = load_decoder(Path(job.folder), slots=job.slots, threads=job.threads)
    try:
        loaded_mib = _resident_mib()
        parity = _parity(decoder, job) if job.parity else None
        journal = Journal.opened(Path(job.out) / "answers.jsonl", job.wanted)
        _, performance = measured_answers(
            DecoderAnswerer(decoder, ends=job.ends, max_tokens=job.max_tokens),
            [list(ids) for ids in job.prompts],
            loaded=_loaded(job, loaded_mib),
            batch_size=BATCH * job.slots,
            journal=journal,
            on_done=on_done,
        )
    finally:
        decoder.close()
    found = Found(job.wanted, len(journal.answers), loaded_mib, performance, parity)
    write_json(Path(job.out) / "found.json", asdict(found))
    return found


def read_found(out: Path, wanted: str) -> Found | None:
    """What an earlier trial of the same found; None if it did not end, or was of something else."""
    try:
        raw: dict[str, Any] = json.loads((out / "found.json").read_bytes())
        parity = None if raw["parity"] is None else Parity(**raw["parity"])
        found = Found(**raw | {"performance": Performance(**raw["performance"]), "parity": parity})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.wanted == wanted else None


def _loaded(job: Job, loaded_mib: float | None) -> Loaded:
    return Loaded("cpu", "cpu", job.threads, job.parameters, job.file_mib, loaded_mib)


def _parity(decoder: Decoder, job: Job) -> Parity:
    """Of the student itself, whose logits are written here, it is perfect."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = Path(job.logits)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.tmp")
        save_file({str(i): read(decoder, ids) for i, ids in enumerate(job.parity)}, temporary)
        temporary.replace(path)
    with safe_open(path, framework="numpy") as logits:

        def pairs() -> Iterator[tuple[Logits, Logits]]:
            for row, ids in enumerate(job.parity):
                yield logits.get_tensor(str(row)), read(decoder, ids)

        return compare(pairs())


def _resident_mib() -> float | None:
    """Of this process now; None where no kernel tells it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * KIB / MIB if found else None


def _end_with_the_parent() -> None:
    """The parent holds the other end of stdin: it closes when the parent ends, however that is."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(job_file: Path) -> int:
    """The exit code. On stdout how many answers are there, line by line; `error.json` if any."""
    _end_with_the_parent()
    job = Job(**json.loads(job_file.read_bytes()))
    try:
        run_trial(job, lambda done: print(done, flush=True))
    except MwalimuError as error:
        write_json(Path(job.out) / "error.json", told(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    left_at_the_end()
    sys.exit(main(Path(sys.argv[1])))
