"""The batch scripts, run where `srun`, `torchrun`, `mwalimu` and `scontrol` only write down what
they were asked for."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.deploy.commands import templates

SCRIPTS = templates(".sbatch")
ASKED = """#!/bin/bash
echo "$(basename "$0") $*" >> "$ASKED"
"""
SRUN = """
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
WORK = """
[ -n "${WAITS:-}" ] || exit "${CODE:-0}"
trap 'echo stopped >> "$ASKED"; exit 1' TERM
echo ready > "$READY"
while :; do sleep 0.05; done
"""
SCONTROL = """
if [ "$1" = show ]; then printf 'node7\\nnode8\\n'; fi
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script on a made up cluster."""
    made = tmp_path / "bin"
    made.mkdir()
    bodies = {"srun": SRUN, "torchrun": WORK, "mwalimu": WORK, "scontrol": SCONTROL}
    for name, body in bodies.items():
        (made / name).write_text(ASKED + body)
        (made / name).chmod(0o755)
    os.mkfifo(tmp_path / "ready")
    return {
        "PATH": f"{made}:{os.environ['PATH']}",
        "ASKED": str(tmp_path / "asked"),
        "READY": str(tmp_path / "ready"),
        "SLURM_JOB_ID": "17",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_RESTART_COUNT": "1",
    }


WORDS = ("c.yaml", "runs/mine")


def code_of(script: Path, cluster: dict[str, str], **more: str) -> int:
    return subprocess.run(["bash", script, *WORDS], env={**cluster, **more}).returncode


def asked(cluster: dict[str, str]) -> list[str]:
    return Path(cluster["ASKED"]).read_text(encoding="utf-8").splitlines()


def script(name: str) -> Path:
    return next(path for path in SCRIPTS if path.stem == name)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_is_one_and_its_options_are_known(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text(encoding="utf-8")
    options = set(re.findall(r"(?m)^#SBATCH --([a-z-]+)", text))
    known = {"job-name", "nodes", "ntasks", "ntasks-per-node", "gpus-per-node", "cpus-per-task"}
    known |= {"mem", "time", "signal", "requeue", "open-mode", "output"}
    assert options <= known and {"requeue", "signal", "time"} <= options
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, path], check=True)


def test_stage_2_starts_torchrun_on_all_nodes(cluster: dict[str, str]) -> None:
    assert code_of(script("stage2"), cluster) == 0
    _, _, torchrun = asked(cluster)
    words = torchrun.split()
    options = dict(zip(words[1::2], words[2::2], strict=False))
    assert options["--nnodes"] == "2" and options["--nproc-per-node"] == "4"
    assert options["--rdzv-endpoint"] == "node7:29400" and options["--rdzv-id"] == "17-1"
    assert torchrun.endswith("-m mwalimu -- finetune c.yaml --run runs/mine")


def test_stage_1_goes_on_to_what_costs_nothing(cluster: dict[str, str]) -> None:
    assert code_of(script("stage1"), cluster) == 0
    done = [line for line in asked(cluster) if line.startswith("mwalimu")]
    assert done == [f"mwalimu {verb} c.yaml --run runs/mine" for verb in ("generate", "curate")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_job_whose_time_is_over_stops_its_step_and_waits_for_its_next_turn(
    path: Path, cluster: dict[str, str]
) -> None:
    environment = {**cluster, "WAITS": "yes"}
    with subprocess.Popen(["bash", path, *WORDS], env=environment) as process:
        assert Path(cluster["READY"]).read_text(encoding="utf-8") == "ready\n"  # it runs
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert asked(cluster)[-2:] == ["stopped", "scontrol requeue 17"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_step_that_fails_by_itself_is_not_tried_for_ever(
    path: Path, cluster: dict[str, str]
) -> None:
    assert code_of(path, cluster, CODE="3") == 3
    assert not any("requeue" in line or "curate" in line for line in asked(cluster))
