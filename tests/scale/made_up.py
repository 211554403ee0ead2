"""A trial whose outcome is a function of its recipe, at work on a node for a moment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mwalimu.config import Config
from mwalimu.tuning.launching import Event
from mwalimu.tuning.trial import Order
from tests.tuning.jobs import smooth

STEP_S = 0.02


class MadeUp:
    """Leaves a file a life in its folder, with the pid of its node's raylet; stops if told to.

    The first life of the trial that it `holds` goes no further than its first event.
    """

    def __init__(self, order: Order, heard: Callable[[Event], None], holds: str = "") -> None:
        self.order = order
        self.heard = heard
        self.holds = holds
        self.stopped = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()

    def _work(self) -> None:
        folder = Path(self.order.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"life-{time.monotonic_ns()}").write_text(str(os.getppid()))
        for event in smooth(Config.model_validate(self.order.config)):
            if self.stopped.wait(STEP_S):
                break
            self.heard(event)
            if folder.name == self.holds and len(list(folder.glob("life-*"))) == 1:
                self.stopped.wait()
        self.heard({"ended": {"code": 0, "said": ""}})
