"""What a newcomer types wrong, and the line on stderr that says what to type instead."""

import os
from pathlib import Path

import pytest
import yaml

from tests.command import mwalimu

JOB = {
    "task": "generic",
    "data": {"train": "prompts.jsonl"},
    "teacher": {"model": "fake"},
    "student": {"model": "student"},
}
USAGE = "Error: "  # of the parser: the line stands below two of usage
RUN = "is no run folder; did you mean 'runs/mine'?"
STAGE = "is not finished here, or its files were changed; run 'mwalimu"

MISTAKES: list[tuple[str, int, str]] = [
    # The verb, or what stands for it.
    ("rnu job/distill.yaml", 2, f"{USAGE}No such command 'rnu'. Did you mean 'mwalimu run'?"),
    ("Run job/distill.yaml", 2, f"{USAGE}No such command 'Run'. Did you mean 'mwalimu run'?"),
    ("train job", 2, f"{USAGE}No such command 'train'. Did you mean 'mwalimu finetune'?"),
    ("distill job", 2, f"{USAGE}No such command 'distill'. Did you mean 'mwalimu run'?"),
    ("synthesize", 2, f"{USAGE}No such command 'synthesize'. Did you mean 'mwalimu synthesise'?"),
    ("gc runs/mine", 2, f"{USAGE}No such command 'gc'. Did you mean 'mwalimu runs gc'?"),
    ("help", 2, f"{USAGE}No such command 'help'. Did you mean 'mwalimu --help'?"),
    ("version", 2, f"{USAGE}No such command 'version'. Did you mean 'mwalimu --version'?"),
    ("xyzzy", 2, f"{USAGE}No such command 'xyzzy'."),
    ("runs verfy runs/mine", 2, f"{USAGE}No such command 'verfy'. Did you mean 'verify'?"),
    # An option.
    (
        "run job/distill.yaml --epochs 3",
        2,
        f"{USAGE}No such option: --epochs. It is a setting: --set finetune.epochs=...",
    ),
    (
        "run job/distill.yaml --sett a=b",
        2,
        f"{USAGE}No such option: --sett (Possible options: --set, --students)",
    ),
    ("export runs/mine --to", 2, f"{USAGE}Option '--to' requires an argument."),
    (
        "export runs/mine --to tflite",
        2,
        "error: --to: 'tflite' should be 'safetensors', 'onnx', 'gguf', 'openvino', 'executorch' "
        "or 'web'",
    ),
    # The job.
    ("run", 2, "error: distill.yaml: no such config file; did you mean 'job/distill.yaml'?"),
    ("run job", 2, "error: job: is a folder; did you mean 'job/distill.yaml'?"),
    (
        "run empty",
        2,
        "error: empty: is a folder without a distill.yaml; make one with 'mwalimu init empty'",
    ),
    ("run runs/mine", 2, "error: runs/mine: is a run folder; name the job's distill.yaml"),
    (
        "run job/prompts.jsonl",
        2,
        "error: job/prompts.jsonl: is a file of rows, no job; data.train of a distill.yaml names "
        "it; make one with 'mwalimu init DIR'",
    ),
    (
        "run job/void.yaml",
        2,
        "error: job/void.yaml: is not a mapping of settings; make one with 'mwalimu init DIR'",
    ),
    ("init job", 2, "error: job/distill.yaml: a job is here already; name a new folder"),
    # A setting.
    (
        "generate job/distill.yaml --set finetune.epoch=3",
        2,
        "error: job/distill.yaml: finetune.epoch: unknown key, did you mean 'epochs'?",
    ),
    (
        "generate job/distill.yaml --set finetune.epochs",
        2,
        "error: --set: 'finetune.epochs' is not followed by =value; write it as finetune.epochs=2",
    ),
    (
        "generate job/distill.yaml --set finetune.epochs=many",
        2,
        "error: job/distill.yaml: finetune.epochs: Input should be a valid integer",
    ),
    (
        "generate job/distill.yaml --run r --set data.train=promts.jsonl",
        3,
        "error: HERE/job/promts.jsonl: no such file; did you mean 'prompts.jsonl'?",
    ),
    # The teacher.
    (
        "generate job/distill.yaml --run r --set teacher.model=gtp-4.1",
        2,
        "error: teacher.model: 'gtp-4.1' is no folder here and no teacher that is known by name; "
        "did you mean gpt-4.1? 'mwalimu models' lists all; or name a folder, a hub id, or a "
        "server's model with base_url",
    ),
    (
        "generate job/distill.yaml --run r --set teacher.model=gpt-4.1",
        4,
        "error: teacher.api_key_env: the variable of the key, $OPENAI_API_KEY, is not set; "
        "export OPENAI_API_KEY=...",
    ),
    (
        "models gtp-4.1",
        2,
        "error: models: no model fits; did you mean gpt-4.1 or gpt-4 or gpt-4o? list all with "
        "'mwalimu models'",
    ),
    # The order of the stages.
    (
        "finetune job/distill.yaml --run r",
        8,
        f"error: r: stage generate {STAGE} generate' on this run folder first",
    ),
    (
        "evaluate job/distill.yaml --run r",
        2,
        "error: evaluate: data.test is not set; name a file of held-out rows",
    ),
    (
        "buy job/distill.yaml --run r",
        2,
        "error: active: is not set; add 'active: {}' to distill.yaml; "
        "docs/buying.md has its settings",
    ),
    # The run folder.
    ("status runs/mime", 8, f"error: runs/mime: {RUN}"),
    ("export mine --to onnx", 8, f"error: mine: {RUN}"),
    ("serve runs/min", 8, f"error: runs/min: {RUN}"),
    ("runs verify run/mine", 8, f"error: run/mine: {RUN}"),
    ("report runs/mine2 runs/mine", 8, f"error: runs/mine2: {RUN}"),
    ("forecast zzz", 8, "error: zzz: is no run folder; there is 'runs/job' or 'runs/mine'"),
    (
        "status job/distill.yaml",
        8,
        "error: job/distill.yaml: is no run folder; the run of that job is 'runs/job'",
    ),
    # Rows.
    (
        "data inspect job/promts.jsonl",
        3,
        "error: job/promts.jsonl: no such file; did you mean 'prompts.jsonl'?",
    ),
    (
        "data convert job/prompts.jsonl out.jsonl --to chatml",
        2,
        "error: --to: 'chatml' is no format; one of bedrock, sharegpt, alpaca, openai, mwalimu, "
        "azure",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job, its run folder and another's, and what is none of them."""
    here = tmp_path_factory.mktemp("here")
    for folder in ("job", "empty", "runs/mine", "runs/job"):
        (here / folder).mkdir(parents=True)
    (here / "job/distill.yaml").write_text(yaml.safe_dump(JOB))
    (here / "job/prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    (here / "job/void.yaml").write_text("")
    for age, run in enumerate(("runs/job", "runs/mine")):
        (here / run / "run.json").write_text("{}")
        os.utime(here / run, (2_000_000_000 - age, 2_000_000_000 - age))
    return here


@pytest.mark.parametrize(("typed", "code", "line"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_the_last_line_says_what_to_type(place: Path, typed: str, code: int, line: str) -> None:
    done = mwalimu(*typed.split(), cwd=place, OPENAI_API_KEY="")
    assert done.stderr.strip().splitlines()[-1].replace(str(place), "HERE") == line
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_without_a_word_the_help_says_where_to_begin(tmp_path: Path) -> None:
    done = mwalimu(cwd=tmp_path)
    assert done.returncode == 2
    assert "mwalimu quickstart  " in done.stderr and "mwalimu init my-job  " in done.stderr


def test_in_an_empty_folder_a_run_says_how_a_job_is_made(tmp_path: Path) -> None:
    done = mwalimu("run", cwd=tmp_path)
    assert done.stderr == (
        "error: distill.yaml: no such config file; make one with 'mwalimu init DIR'\n"
    )


@pytest.mark.parametrize("name", ["gpt2", "gpt2-xl", "distilgpt2", "t5-base", "bert-base-uncased"])
def test_a_hub_id_of_one_word_is_no_misspelling(name: str) -> None:
    from mwalimu.config import TeacherConfig
    from mwalimu.config.routing import resolve

    assert resolve(TeacherConfig(model=name)).model == name
