"""Everything on in this process, and off again, with logging as it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mwalimu.telemetry import setting_up


@contextmanager
def watched(path: Path, level: str = "INFO", **metrics: Any) -> Iterator[None]:
    """`path` is the log's; `metrics` are options of `setting_up.begin`."""
    root, own = logging.getLogger(), logging.getLogger("mwalimu")
    before = root.level, list(root.handlers), own.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(setting_up.LOG, str(path))
        patch.setenv(setting_up.LEVEL, level)
        try:
            setting_up.begin(**metrics)
            yield
        finally:
            setting_up.end()
            root.setLevel(before[0])
            root.handlers[:] = before[1]
            own.setLevel(before[2])


def lines(path: Path, event: str) -> list[dict[str, Any]]:
    """Those of the event, in order."""
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [line for line in found if line["event"] == event]
