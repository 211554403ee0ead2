"""Lives of a synthesis for the kill test, forked from a process that has everything imported.

Reads one JSON line a life: {"folder", "base", "config", "die_at"}; answers with the child's pid,
then with its wait status. `die_at` n: SIGKILL right after the n-th write, fsync or rename; 0 counts
them and writes the number to <folder>/calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.run import Run
from mwalimu.synthesis.prompts import synthesise
from mwalimu.teachers import openai_chat, served
from tests.synthesis.fork_server import serve, watch

assert served and openai_chat  # imported once, here


def live(life: dict[str, Any]) -> None:
    folder = Path(life["folder"])
    config = build_config(life["config"], base=Path(life["base"]))
    calls = watch(life["die_at"])
    synthesise(
        config,
        Run(folder / "run"),
        folder / "answers",
        stage_fingerprint="f",
        on_progress=lambda *_: None,
    )
    (folder / "calls").write_text(str(calls.count))


if __name__ == "__main__":
    serve(live)
