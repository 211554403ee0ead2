"""A program of Python whose lines are events; the nodes import this by name."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any


class Lines:
    def __init__(self, script: str, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self.heard = heard
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.heard({"said": line.rstrip("\n")})
        self.heard({"ended": {"code": self.process.wait(), "said": ""}})
