"""A customer service, distilled and served: the teacher is made, asked, replaced, and compared.

    python recipes/customer-service/run.py --out DIR
    python recipes/customer-service/run.py --out DIR --rows 20000

Everything is kept in DIR and nothing is done twice: stopped, the same command goes on. It ends with
table.md and table.json: the published case beside what was measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from job import EPOCHS, STUDENT_EXPORT, TEST_ROWS, TRAIN_ROWS, write_job
from measure import Effort, measure
from servers import Arm
from table import scores_of, write_table
from teacher import teach

from mwalimu import api
from mwalimu.config import Config, TargetConfig
from mwalimu.evaluation.memory import MIB
from mwalimu.files import atomic_writer
from mwalimu.progress import Progress, live_progress

TEACHER, TEACHER_ONNX, STUDENT, STUDENT_INT4 = (
    "teacher",
    "teacher, ONNX",
    "student",
    "student, int4 ONNX",
)
PAIRS = ((TEACHER, STUDENT_INT4), (TEACHER_ONNX, STUDENT_INT4))
"""As they would be deployed, and both on one runtime."""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended too
    given = _arguments()
    out: Path = given.out
    with live_progress() as note:
        teacher = given.teacher or teach(out / "teacher", given.share, note)
        config = write_job(
            out, teacher, rows=given.rows, test_rows=given.test_rows, epochs=given.epochs
        )
        api.run(config, out / "run", store=out / "answers", progress=note)
        arms = served_arms(out, teacher, note)
        measured = _measured(out, arms, config, given, note)
    text = write_table(
        out,
        measured,
        _scores(out / "run"),
        _about(out / "run", given),
        pairs=PAIRS,
        usd_per_core_hour=given.usd_per_core_hour,
    )
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of everything")
    parser.add_argument("--rows", type=int, default=TRAIN_ROWS, help="prompts for the teacher")
    parser.add_argument("--test-rows", type=int, default=TEST_ROWS)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the student")
    parser.add_argument("--share", type=float, default=1.0, help="of the teacher's own rows")
    parser.add_argument("--teacher", type=Path, help="a model folder, in place of making one")
    parser.add_argument("--asked", type=int, default=Effort.rows, help="rows of the latencies")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="of the load")
    parser.add_argument("--requests", type=int, default=Effort.requests, help="of each round")
    parser.add_argument("--again", action="store_true", help="measures the servers once more")
    parser.add_argument("--usd-per-core-hour", type=float, default=0.04)
    return parser.parse_args()


def served_arms(out: Path, teacher: Path, note: Progress) -> list[Arm]:
    """The pair that is compared, and two that tell the model's part from the runtime's."""
    from mwalimu.export.make import make

    onnx = out / "teacher-onnx-fp32"
    if not (onnx / "export.json").exists():
        note("teacher to ONNX", 0, 1, "")
        make(teacher, onnx, TargetConfig(to="onnx", precision="fp32"))
    student, export = out / "run" / "finetune" / "student", out / "run" / "export" / STUDENT_EXPORT
    large, small = _parameters(teacher), _parameters(student)
    return [
        Arm(TEACHER, teacher, large, _weights_mib(teacher)),
        Arm(TEACHER_ONNX, onnx, large, _weights_mib(onnx)),
        Arm(STUDENT, student, small, _weights_mib(student)),
        Arm(STUDENT_INT4, export, small, _weights_mib(export)),
    ]


def _parameters(folder: Path) -> int:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return int(model.num_parameters())


def _weights_mib(folder: Path) -> float:
    """Of the files that a runtime loads; a graph's weights may lie in a second file beside it."""
    manifest = folder / "export.json"
    named = json.loads(manifest.read_bytes())["weights"] + "*" if manifest.exists() else None
    return sum(file.stat().st_size for file in folder.glob(named or "*.safetensors")) / MIB


def _measured(
    out: Path, arms: list[Arm], config: Config, given: argparse.Namespace, note: Progress
) -> dict[str, Any]:
    path = out / "measured.json"
    if given.again or not path.exists():
        assert config.data.test is not None
        rows = [json.loads(line) for line in config.data.test.read_bytes().splitlines()]
        chats = [row["messages"][:-1] for row in rows]
        effort = Effort(given.asked, given.rounds, given.requests)
        found = measure(arms, chats, effort, out / "logs", note)
        with atomic_writer(path) as handle:
            handle.write(json.dumps(found).encode())
    kept: dict[str, Any] = json.loads(path.read_bytes())
    return kept


def _scores(run: Path) -> dict[str, list[float]]:
    predictions = run / "evaluate" / "predictions"
    return {
        TEACHER: scores_of(predictions / "teacher.jsonl"),
        STUDENT: scores_of(predictions / "student-distilled.jsonl"),
        STUDENT_INT4: scores_of(run / "export" / "predictions" / f"{STUDENT_EXPORT}.jsonl"),
    }


def _about(run: Path, given: argparse.Namespace) -> dict[str, Any]:
    answered = (run / "generate" / "train.jsonl").read_bytes().count(b"\n")
    return {
        "prompts that the teacher answered": f"{answered:,}",
        "test rows": f"{given.test_rows:,}",
        "processor": _processor(),
        "price": f"{given.usd_per_core_hour} dollars a core hour, for teacher and student alike",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


if __name__ == "__main__":
    main()
