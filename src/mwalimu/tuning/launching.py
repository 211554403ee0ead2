"""Starts trials. A search knows `Launch` alone: where a trial runs is nobody's business there."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mwalimu.config import Config
from mwalimu.scale.cluster import Cluster, Need, require_no_secrets
from mwalimu.scale.hosting import Hosted
from mwalimu.tuning.trial import Order

PROGRAM = ("-m", "mwalimu.tuning.trial")
Event = Mapping[str, Any]
"""`usd`, `validated_on`, `moment`, `done` or `failed` of a trial.

The last of all is `ended`, {"code", "said"}.
"""


class Running(Protocol):
    def stop(self) -> None:
        """Asks it to stop where it can go on later; `ended` still comes."""


Launch = Callable[[Order, Callable[[Event], None]], Running]
"""Starts the trial of an order, and returns at once; its events come from another thread."""


def launch_of(config: Config) -> Launch:
    """Where trials run: on this machine, or on the nodes of the cluster.

    Raises:
        ConfigError, MissingDependency: as a `Cluster` does, or the config holds a key.
    """
    if config.scale.engine == "local":
        return InSubprocess
    require_no_secrets(config)
    cluster = Cluster(config.scale)
    need = Need(config.scale.cpus_per_worker, config.scale.gpus_per_worker)
    cluster.workers(need)
    return partial(Hosted, cluster, need, InSubprocess)


class InSubprocess:
    """One trial in a process of this machine; what it prints is appended to `log.txt` there."""

    def __init__(
        self, order: Order, heard: Callable[[Event], None], program: Sequence[str] = PROGRAM
    ) -> None:
        self.heard = heard
        self.log = Path(order.folder) / "log.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the search, which then says stop
            )
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it ended at once: `ended` tells
            self.process.stdin.write(order.to_line())
            self.process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # one that was cut by its end tells nothing
                    self.heard(json.loads(line))
        code = self.process.wait()
        self.stop()
        self.heard({"ended": {"code": code, "said": self._last_line()}})

    def _last_line(self) -> str:
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
