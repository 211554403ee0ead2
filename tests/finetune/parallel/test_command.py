"""`mwalimu finetune` in two processes, as torchrun starts it; and the real torchrun."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from mwalimu import api
from mwalimu.config import load_config
from mwalimu.run import Run
from tests.finetune.jobs import SETTINGS, metrics, sums
from tests.finetune.parallel.ranks import SECONDS, on_ranks
from tests.finetune.parallel.test_training import LOSSES, WEIGHTS
from tests.finetune.parallel.work import command
from tests.finetune.test_finetune import make_run


def make_job(folder: Path, tiny: Path, **finetune: Any) -> tuple[str, ...]:
    """distill.yaml and a run whose answers are curated; the words of the command."""
    make_run(folder / "run", train=sums(40), validation=sums(8, seed=1))
    config = {
        "task": "generic",
        "data": {"train": "prompts.jsonl"},
        "teacher": {"model": "fake"},
        "student": {"model": str(tiny), "method": "full", "max_length": 64},
        "finetune": {**SETTINGS, "objective": "cross_entropy", **finetune},
    }
    (folder / "prompts.jsonl").write_text('{"prompt": "1+1"}\n', encoding="utf-8")
    (folder / "distill.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    api.curate(load_config(folder / "distill.yaml"), folder / "run")
    return "finetune", str(folder / "distill.yaml"), "--run", str(folder / "run")


def test_the_first_process_holds_the_run_folder_and_speaks(tmp_path: Path, tiny: Path) -> None:
    words = make_job(tmp_path, tiny, parallel="fsdp")
    assert on_ranks(2, command, tmp_path / "said", *words) == [0, 0]
    said = [(tmp_path / "said" / str(rank)).read_text(encoding="utf-8") for rank in (0, 1)]
    assert "steps: 10" in said[0] and "finetune:" in said[0] and said[1] == ""
    summary = Run(tmp_path / "run").require("finetune").summary
    assert summary["steps"] == 10
    assert on_ranks(2, command, tmp_path / "again", *words) == [0, 0]
    assert "already done" in (tmp_path / "again" / "0").read_text(encoding="utf-8")


def test_other_verbs_are_for_one_process_and_errors_name_theirs(tmp_path: Path, tiny: Path) -> None:
    words = make_job(tmp_path, tiny)
    assert on_ranks(2, command, tmp_path / "said", "run", *words[1:]) == [2, 2]
    line = "error: torchrun: 'run' is for one process; run 'mwalimu run' without it; 'finetune' is"
    for rank, head in ((0, ""), (1, "process 2 of 2: ")):
        text = (tmp_path / "said" / str(rank)).read_text(encoding="utf-8")
        assert text.startswith(head + line) and text.count("\n") == 1


def start(folder: Path, words: tuple[str, ...], *, size: int = 2) -> subprocess.Popen[str]:
    torchrun = shutil.which("torchrun", path=Path(sys.executable).parent)
    assert torchrun is not None
    # Without the two dashes torchrun would take --run for an option of its own.
    options = ["--standalone", "--nproc-per-node", str(size), "-m", "mwalimu", "--"]
    with open(folder / "said", "w", encoding="utf-8") as said:
        return subprocess.Popen(
            [torchrun, *options, *words],
            stdout=said,
            stderr=said,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            start_new_session=True,
        )


@pytest.mark.slow
def test_ctrl_c_under_torchrun_saves_the_last_whole_step(tmp_path: Path, tiny: Path) -> None:
    """torchrun passes a Ctrl-C on to processes that the terminal has sent it already."""
    words = make_job(tmp_path, tiny, epochs=400, patience=400, save_every=10_000)
    process = start(tmp_path, words)
    log = tmp_path / "run" / "finetune" / "metrics.jsonl"
    wait_for(lambda: log.exists() and log.read_text(encoding="utf-8").count("loss") > 3, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    saved = (path.name for path in (log.parent / "checkpoints").glob("step-*"))
    last = max(int(name.removeprefix("step-")) for name in saved)
    assert metrics(log.parent)[-1]["step"] == last >= 3
    assert f"told to stop: saves a checkpoint of step {last}" in said(tmp_path)


LONG = bool(os.environ.get("MWALIMU_LONG"))
OTHER_WAY = pytest.mark.skipif(
    not LONG,
    reason="MWALIMU_LONG=1: the launcher's other way; ranks of fsdp are tried without it",
)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ddp", pytest.param("fsdp", marks=OTHER_WAY)])
def test_processes_of_torchrun_give_what_one_gives(tmp_path: Path, tiny: Path, way: str) -> None:
    """By the real launcher and the real command: losses, and the published student; four of them
    in the long form.
    """
    (tmp_path / "one").mkdir()
    (tmp_path / "several").mkdir()
    make_job(tmp_path / "one", tiny)
    api.finetune(load_config(tmp_path / "one" / "distill.yaml"), tmp_path / "one" / "run")
    words = make_job(tmp_path / "several", tiny, parallel=way)
    process = start(tmp_path / "several", words, size=4 if LONG else 2)
    assert process.wait(SECONDS) == 0, said(tmp_path / "several")
    one, several = (tmp_path / name / "run" / "finetune" for name in ("one", "several"))
    expected, found = metrics(one), metrics(several)
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for key in ("loss", "validation_loss"):
        values = [[line[key] for line in lines if key in line] for lines in (expected, found)]
        assert values[0] and values[1] == pytest.approx(values[0], rel=LOSSES), key
    weights = [load_file(place / "student" / "model.safetensors") for place in (one, several)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        apart = (weights[1][name].float() - tensor.float()).abs().max()
        assert apart <= WEIGHTS * tensor.float().abs().max(), name


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)


def said(folder: Path) -> str:
    return (folder / "said").read_text(encoding="utf-8")
