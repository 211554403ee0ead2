"""Completion as shells do it: bash is run, with a terminal and without."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import mwalimu

INSTALLED = Path(sys.executable).with_name("mwalimu")
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(
    BASH is None or not INSTALLED.exists(), reason="needs bash and the installed command"
)

ASK = """
source completion.sh
ask() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _mwalimu_completion mwalimu
  echo "${COMPREPLY[*]}"
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two run folders, and the script that bash is to read."""
    for name in ("alpha", "beta"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    (tmp_path / "runs" / "other").mkdir()
    said = mwalimu("completion", "bash", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    (tmp_path / "completion.sh").write_text(said.stdout)
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{INSTALLED.parent}:{os.environ['PATH']}"}


def test_bash_completes_verbs_options_choices_and_run_folders(place: Path) -> None:
    asked = {
        'mwalimu finet""': "finetune",
        "mwalimu jobs mod": "models",
        "mwalimu export --prec": "--precision",
        "mwalimu serve x --runtime v": "vllm",
        "mwalimu completion z": "zsh",
        "mwalimu status runs/a": "runs/alpha",
        "mwalimu run x --run runs/b": "runs/beta",
        "mwalimu run dist": "",  # the shell completes files
    }
    script = ASK + "\n".join(f"ask {words}" for words in asked)
    done = subprocess.run(
        [BASH or "", "--norc", "-c", script],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == list(asked.values())
    assert done.stderr == ""


def test_a_tab_at_a_terminal_finishes_the_word(place: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(place)
        os.execve(BASH or "", ["bash", "--norc", "-i"], {**environment(), "PS1": "> "})
    try:
        os.write(terminal, b"source completion.sh\nmwalimu status runs/al\t")
        assert "mwalimu status runs/alpha " in _shown(terminal, "runs/alpha ")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _shown(terminal: int, until: str, timeout: float = 60) -> str:
    found, end = "", time.monotonic() + timeout
    while until not in found and time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            found += os.read(terminal, 4096).decode(errors="replace")
    return found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_that_asks_mwalimu(tmp_path: Path, shell: str) -> None:
    said = mwalimu("completion", shell, cwd=tmp_path)
    assert said.returncode == 0
    assert f"_MWALIMU_COMPLETE=complete_{shell}" in said.stdout
    if executable := shutil.which(shell):
        read = subprocess.run([executable, "-n"], input=said.stdout, text=True, capture_output=True)
        assert read.returncode == 0, read.stderr


def test_another_shell_is_refused_with_those_there_are(tmp_path: Path) -> None:
    said = mwalimu("completion", "tcsh", cwd=tmp_path)
    assert said.returncode == 2
    assert "Invalid value for 'shell': 'tcsh' is not one of 'bash', 'zsh', 'fish'." in said.stderr
