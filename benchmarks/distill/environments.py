"""The environments of the arms, and their processes, which live as long as the measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arms import Arm

HERE = Path(__file__).resolve().parent
PEERS = "peers"
# A worker has all that it needs; where there is no network, asking for more would only wait.
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def python(arm: Arm, venvs: Path | None) -> Path:
    if arm.environment is None:
        return Path(sys.executable)
    return (venvs or Path("no-venvs")).absolute() / arm.environment / "bin" / "python"


def absent(arm: Arm, venvs: Path | None) -> str:
    """Why it cannot run; empty when its environment is there."""
    if python(arm, venvs).is_file():
        return ""
    return "not installed: `measure.py install --venvs DIR`, then `--venvs DIR`"


def install(venvs: Path) -> None:
    folder = venvs / PEERS
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "-q"]
    _install_torch(pip, version("torch"))
    subprocess.run([*pip, "-r", str(HERE / "requirements-peers.txt")], check=True)
    print(f"{PEERS}: {folder}")


def _install_torch(pip: list[str], wanted: str) -> None:
    """The very build that mwalimu runs on: first, or a default one would come with the others.

    "2.13.0+cpu" is at the index that pip is set up with, or at PyTorch's own of that label.
    """
    build = wanted.partition("+")[2]
    command = [*pip, f"torch=={wanted}"]
    if subprocess.run(command, check=False).returncode == 0:
        return
    if not build:
        raise SystemExit(f"torch {wanted} cannot be installed")
    index = f"https://download.pytorch.org/whl/{build}"
    subprocess.run([*command, "--index-url", index], check=True)


class Failed(Exception):
    """An arm that cannot go on; the message is its last word."""


class Worker:
    """The process of one arm. `limit_s` is how long it may take to load, and for a step."""

    def __init__(
        self,
        arm: Arm,
        venvs: Path | None,
        data: Path,
        device: str,
        limit_s: float,
        script: Path = HERE / "worker.py",
    ) -> None:
        self.limit_s = limit_s
        self.log = data / f"{arm.name}.log"
        options = ["--arm", arm.name, "--data", str(data), "--device", device]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python(arm, venvs)), str(script), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"CUDA_VISIBLE_DEVICES": "0"} | os.environ | SETTINGS,
                text=True,
            )
        try:
            self.facts = self._answer()
        except Failed:
            self.close()
            raise

    def step(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading tells what happened
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        timer = threading.Timer(self.limit_s, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            code = self._process.wait()
            raise Failed(f"ended with {code} (-9: killed, by the limit or for memory)")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise Failed(found["error"])
        return found
