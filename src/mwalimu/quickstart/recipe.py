"""How the shipped models were made: `mwalimu quickstart --train-teacher` makes them again.

A user's student is a pretrained model, so the small one has read the shop's records and exercises:
that is the untouched student. The large one learns the five tasks from gold answers beside such
records: it is the teacher, and errs where it did not learn them well enough.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.files import atomic_writer
from mwalimu.progress import Progress
from mwalimu.quickstart.records import generate_exercises, generate_pages
from mwalimu.quickstart.rows import generate_rows
from mwalimu.quickstart.tokenizer import train_tokenizer
from mwalimu.quickstart.world import WORLD_VERSION

SEED = 0
CONTEXT, MAX_ANSWER, BATCH = 256, 64, 128
TOKENIZER_ROWS, TOKENIZER_PAGES = 10_000, 4_000
TEACHER_ROWS, TEACHER_PAGES, PRACTICE_ROWS = 40_000, 20_000, 80_000
STUDENT_PAGES, STUDENT_EXERCISES = 40_000, 40_000
MORE_PAGES, MORE_EXERCISES = 20_000, 80_000
VALIDATION_ROWS, TEST_ROWS = 500, 2_000
"""Rows of each kind; the teacher's training rows are drawn apart from the quickstart's prompts."""

# Small models learn to copy much sooner with larger first weights and shorter rotary periods.
INITIALIZER_RANGE, ROPE_THETA = 0.1, 1000.0


def shape_of(hidden: int, intermediate: int, layers: int, heads: int) -> dict[str, int]:
    """As LlamaConfig names it."""
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
    }


SHAPES = {"teacher": shape_of(192, 512, 4, 6), "student": shape_of(64, 160, 4, 4)}

READING = FinetuneConfig(
    learning_rate=4e-3, batch_size=16, epochs=5, warmup_ratio=0.02, adam_beta2=0.98
)
REREADING = FinetuneConfig(
    learning_rate=2.5e-3, batch_size=16, epochs=4, warmup_ratio=0.02, adam_beta2=0.98
)
TEACHING = FinetuneConfig(
    learning_rate=2e-3, batch_size=64, epochs=3, warmup_ratio=0.03, adam_beta2=0.98, patience=3
)
PRACTISING = FinetuneConfig(
    learning_rate=1.5e-3, batch_size=32, epochs=2, warmup_ratio=0.03, adam_beta2=0.98, patience=2
)


def train_models(folder: Path, on_progress: Progress) -> dict[str, float]:
    """Writes `teacher/` and `student/`, transformers folders, under `folder`.

    Interrupted and run again, it goes on where it stopped. Returns the teacher's accuracy by task
    on held-out rows, and overall.
    """
    import torch

    # Sums in another order end in other weights: one thread makes the shipped ones again.
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(_corpus(), context=CONTEXT)
    bare = {name: folder / "work" / name for name in SHAPES}
    for name, shape in SHAPES.items():
        write_architecture(bare[name], tokenizer, shape, tied=name == "student")
    student = train_base(bare["student"], on_progress)
    teacher = train_teacher(bare["teacher"], on_progress)
    scores = score(teacher, on_progress)
    for name, source in (("student", student), ("teacher", teacher)):
        _publish(source, folder / name, _card(name, scores))
    return scores


def train_base(bare: Path, on_progress: Progress) -> Path:
    """The untouched student: it has read records and exercises, and seen none of the tasks."""
    pages = generate_pages(STUDENT_PAGES, SEED) + generate_exercises(STUDENT_EXERCISES, SEED)
    read = _train(bare, READING, pages, None, "student reads", on_progress)
    more = generate_pages(MORE_PAGES, SEED + 1) + generate_exercises(MORE_EXERCISES, SEED + 1)
    return _train(read, REREADING, more, None, "student reads on", on_progress)


def train_teacher(bare: Path, on_progress: Progress) -> Path:
    """Records and gold answers together, from random weights; then more gold answers alone."""
    validation = generate_rows("validation", VALIDATION_ROWS, SEED)
    rows = generate_rows("teacher", TEACHER_ROWS, SEED) + generate_pages(TEACHER_PAGES, SEED)
    taught = _train(bare, TEACHING, rows, validation, "teacher learns", on_progress)
    rows = generate_rows("teacher", PRACTICE_ROWS, SEED + 1)
    return _train(taught, PRACTISING, rows, validation, "teacher practises", on_progress)


def _corpus() -> Iterator[str]:
    for row in (
        *generate_rows("teacher", TOKENIZER_ROWS, SEED),
        *generate_pages(TOKENIZER_PAGES, SEED),
    ):
        yield from (message["content"] for message in row["messages"])


def write_architecture(
    folder: Path, tokenizer: Any, shape: dict[str, int], *, tied: bool, context: int = CONTEXT
) -> None:
    """A folder without weights: a student of mwalimu starts such a one from the seed."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        initializer_range=INITIALIZER_RANGE,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["LlamaForCausalLM"],
        **shape,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train(
    start: Path,
    settings: FinetuneConfig,
    rows: list[dict[str, Any]],
    validation: list[dict[str, Any]] | None,
    label: str,
    on_progress: Progress,
) -> Path:
    from mwalimu.finetune.finetune import train_student

    folder = start.parent / label.replace(" ", "-")
    train_student(
        StudentConfig(model=str(start), method="full", max_length=CONTEXT, dtype="float32"),
        settings,
        rows,
        validation,
        folder,
        seed=SEED,
        stage_fingerprint=f"world {WORLD_VERSION}",
        on_progress=on_progress,
        label=label,
    )
    return folder / "student"


def score(teacher: Path, on_progress: Progress) -> dict[str, float]:
    """Accuracy on held-out rows, graded as any evaluation grades."""
    from mwalimu.data.readers import to_record
    from mwalimu.evaluation.generate import load_answerer
    from mwalimu.evaluation.tasks import grade

    rows = generate_rows("test", TEST_ROWS, SEED + 1)
    records = [to_record(row, task="generic", default_id="") for row in rows]
    answerer = load_answerer(teacher, max_tokens=MAX_ANSWER, trust_remote_code=False)
    answers = answerer.answer_all(
        answerer.encode(records),
        batch_size=BATCH,
        on_batch=lambda done: on_progress("teacher is scored", done, len(records), ""),
    )
    scores: dict[str, list[float]] = {}
    for record, answer in zip(records, answers, strict=True):
        scores.setdefault(record.task, []).append(
            grade(record.task, answer.text, str(record.reference))
        )
    by_task = {task: fmean(values) for task, values in scores.items()}
    return by_task | {"overall": fmean(v for values in scores.values() for v in values)}


def _publish(source: Path, target: Path, card: str) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
    with atomic_writer(target / "README.md") as handle:
        handle.write(card.encode())


def _card(name: str, scores: dict[str, float]) -> str:
    shape = ", ".join(f"{key} {value}" for key, value in SHAPES[name].items())
    if name == "teacher":
        rows = TEACHER_ROWS + PRACTICE_ROWS
        pages, rest = TEACHER_PAGES, f"{rows:,} rows of the five tasks with gold answers"
    else:
        pages = STUDENT_PAGES + MORE_PAGES
        rest = f"{STUDENT_EXERCISES + MORE_EXERCISES:,} exercises in reading and comparing"
    lines = [
        f"# The quickstart's {name}",
        "",
        f"A LlamaForCausalLM made from random weights by `mwalimu quickstart --train-teacher` "
        f"(seed {SEED}, world version {WORLD_VERSION}). Apache-2.0, like mwalimu.",
        "",
        f"- Shape: {shape}; context {CONTEXT} tokens.",
        f"- Data: {pages:,} pages of the shop's records and {rest}; all generated by "
        "`quickstart/`, nothing from elsewhere. It has no product and no sum of the test rows.",
        "- For: the embedded demonstration. It knows an invented shop and nothing else.",
    ]
    if name == "teacher":
        lines += [
            "",
            f"Accuracy on {TEST_ROWS:,} held-out rows (seed {SEED + 1}), graded as "
            "`mwalimu evaluate` grades:",
            "",
            "| task | accuracy |",
            "|---|--:|",
            *(f"| {task} | {score:.1%} |" for task, score in scores.items()),
        ]
    return "\n".join(lines) + "\n"
