"""Lives of a job that a test kills, forked by a server (`fork_server.py`) that has imported all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Lives:
    """Starts lives of a job in a folder, one after the other; `server` is a module."""

    def __init__(self, server: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )

    def start(self, **life: Any) -> int:
        """Its process id."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(life, default=str), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """Its exit code, or minus the signal that killed it."""
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def live(self, **life: Any) -> int:
        self.start(**life)
        return self.wait()

    def close(self) -> None:
        self._process.communicate()
