"""The playground: one question to a job's student, and to its teacher beside it.

One student is in memory at a time, in a process of its own (`player`) that goes when nobody has
asked for some minutes, or when another job's student is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from mwalimu.data.record import Json
from mwalimu.errors import RunError
from mwalimu.jobs.refusals import QuotaReached, WrongState
from mwalimu.jobs.workers.slots import GPUS
from mwalimu.jobs.workspace import Workspace
from mwalimu.run import Run

PLAYER = "mwalimu.jobs.playground.player"
IDLE_S = 300.0
ANSWER_S = 180.0  # that loading and answering may take
QUEUE_S = 30.0  # that a question waits for the one before


class Playground:
    """Safe to use from several threads: questions are answered one after the other."""

    def __init__(
        self, workspace: Workspace, *, idle_s: float = IDLE_S, answer_s: float = ANSWER_S
    ) -> None:
        self.workspace = workspace
        self.idle_s = idle_s
        self.answer_s = answer_s
        self._lock = threading.Lock()
        self._job = ""
        self._player: subprocess.Popen[str] | None = None
        self._idle: threading.Timer | None = None

    def ask(
        self, job: str, messages: Sequence[Json], *, max_tokens: int = 256, pay: bool = False
    ) -> Json:
        """{"student": {"text", "seconds"}, "teacher": the same or None, "note": why None}.

        The teacher is asked through the job's answer store and on its account, so its budget
        holds; only where that costs nothing, or with `pay`.

        Raises:
            WrongState: the job has no student yet.
            QuotaReached: too many ask at once.
            RunError: the student cannot be loaded, or took too long.
        """
        if not self._lock.acquire(timeout=QUEUE_S):
            raise QuotaReached("too many ask at once", where="the playground", fix="ask again")
        try:
            question = {"messages": list(messages), "max_tokens": max_tokens, "pay": pay}
            return self._answered(job, question)
        finally:
            self._wait_idly()
            self._lock.release()

    def make_room(self) -> None:
        """Gives its memory back, unless a question is being answered."""
        if self._lock.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _answered(self, job: str, question: Json) -> Json:
        player = self._player_of(job)
        assert player.stdin is not None and player.stdout is not None
        too_long = threading.Timer(self.answer_s, player.kill)
        too_long.start()
        try:
            player.stdin.write(json.dumps(question) + "\n")
            player.stdin.flush()
            reply: Json = json.loads(player.stdout.readline())
        except (OSError, ValueError):
            self._end()
            fix = "look at the server's log; a smaller answer takes less"
            raise RunError("the student gave no answer", where=job, fix=fix) from None
        finally:
            too_long.cancel()
        if error := reply.get("error"):
            raise RunError(error["what"], where=error["where"], fix=error["fix"])
        return reply

    def _player_of(self, job: str) -> subprocess.Popen[str]:
        player = self._player
        if player is not None and player.poll() is None and self._job == job:
            return player
        # Hashes the student's files: not for every question.
        if Run(self.workspace.run(job)).stage("finetune") is None:
            raise WrongState("has no student yet", where=job, fix="wait for its fine-tuning")
        self._end()
        self._job = job
        self._player = subprocess.Popen(
            [sys.executable, "-m", PLAYER, str(self.workspace.root.absolute()), job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {GPUS: ""},
            text=True,
            start_new_session=True,  # a Ctrl-C is the server's
        )
        return self._player

    def _wait_idly(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(self.idle_s, self.make_room)
        self._idle.daemon = True
        self._idle.start()

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._player is not None:
            self._player.kill()
            with self._player:
                pass
            self._player = None
