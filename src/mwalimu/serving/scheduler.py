"""Continuous batching: one thread owns the decoder, and all running answers share each step.

Between two steps, prompts are read into free slots until PREFILL_TOKENS are reached, so that many
short ones start together and a long one does not stop the running answers for more than itself.
Where somebody reads along, it is one prompt between two steps: no stream waits for more than that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from mwalimu.errors import MwalimuError
from mwalimu.runtimes import Decoder, Logits
from mwalimu.serving.generation import Event, Failed, Finished, Generation, Job
from mwalimu.serving.grammar import Impossible
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.problems import Problem, Refused
from mwalimu.serving.waiting import WaitingRoom

State = Literal["loading", "serving", "draining", "stopped"]
PREFILL_TOKENS = 512

_LOG = logging.getLogger(__name__)


class Engine:
    """Answers jobs. `load` is called on the decoder's own thread; `failure` says if it raised.

    `submit`, `cancel` and `drain` may be called from any thread. `tokenizer` is used by the
    decoder's thread alone: fast tokenizers do not bear two threads.
    """

    def __init__(
        self,
        load: Callable[[], Decoder],
        tokenizer: Any,
        ends: Collection[int],
        *,
        queue: int,
        metrics: Metrics,
    ) -> None:
        self.state: State = "loading"
        self.failure: BaseException | None = None
        self.context = 0
        self.vocabulary = 0
        self.slots = 0
        self.ends = frozenset(ends)
        self.metrics = metrics
        self._load = load
        self.tokenizer = tokenizer
        self.queue = queue
        self._waiting: WaitingRoom[Job] = WaitingRoom()
        self._running: dict[int, Generation] = {}
        self._cancelled: set[Job] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        metrics.watch(queued=lambda: len(self._waiting), running=lambda: len(self._running))

    def start(self) -> None:
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """All of them wait for a slot, or none does.

        Raises:
            Refused: 429, the queue is full; 503, nothing is answered now.
        """
        with self._changed:
            self.check()
            free = self.slots - len(self._running)
            if len(self._waiting) + len(jobs) > self.queue + free:
                message = f"{len(self._waiting)} requests wait already, try again later"
                raise Refused(Problem(429, message, code="queue_full", retry_after=1))
            for job in jobs:
                job.submitted = time.monotonic()
                self._waiting.put(job.owner, job)
            self._changed.notify()

    def check(self) -> None:
        """Raises Refused: 503, nothing is answered now."""
        if self.state != "serving":
            message = f"the server is {self.state}, try again later"
            raise Refused(Problem(503, message, code=self.state, retry_after=5))

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these any more; those that are done are left alone."""
        with self._changed:
            self._cancelled |= {job for job in jobs if not self._waiting.remove(job)}
            self._changed.notify()

    def drain(self) -> None:
        """Takes nothing more; ends when all that was taken is answered."""
        with self._changed:
            if self.state in ("loading", "serving"):
                self.state = "draining"
            self._changed.notify()

    def join(self, timeout: float | None = None) -> bool:
        """Whether the decoder's thread has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            decoder = self._load()
        except BaseException as error:
            self.failure = error
            self.state = "stopped"
            if not isinstance(error, MwalimuError):
                _LOG.exception("the student cannot be loaded")
            return
        self.context, self.vocabulary = decoder.context, decoder.vocabulary
        self.slots = decoder.slots
        with self._changed:
            if self.state == "loading":
                self.state = "serving"
        while self._has_work():
            self._drop(decoder)
            self._admit(decoder)
            self._step(decoder)
        decoder.close()
        self.state = "stopped"

    def _has_work(self) -> bool:
        """Waits for some; False when drained."""
        with self._changed:
            while not (self._waiting or self._running):
                self._cancelled.clear()
                if self.state == "draining":
                    return False
                self._changed.wait()
        return True

    def _drop(self, decoder: Decoder) -> None:
        """Whom nobody waits for, and who waited too long."""
        now = time.monotonic()
        with self._changed:
            gone, self._cancelled = self._cancelled, set()
            late = [job for job in self._waiting if job.deadline <= now]
            for job in late:
                self._waiting.remove(job)
        for job in late:
            message = "the request waited for a slot until its time was up"
            job.notify(Failed(Problem(503, message, code="deadline", retry_after=5)))
        for slot, running in list(self._running.items()):
            if running.job in gone:
                self._free(decoder, slot)
            elif running.job.deadline <= now:
                message = "the answer was not finished when its time was up"
                self._end(decoder, slot, Failed(Problem(504, message, code="deadline")))

    def _admit(self, decoder: Decoder) -> None:
        tokens = 0
        free = [slot for slot in range(decoder.slots) if slot not in self._running]
        most = 1 if any(one.job.streamed for one in self._running.values()) else PREFILL_TOKENS
        while free and tokens < most:
            with self._changed:
                if not self._waiting:
                    return
                job = self._waiting.take()
            slot = free.pop()
            tokens += len(job.ids)
            self._running[slot] = Generation(job, self.tokenizer, self.ends)
            try:
                logits_V = decoder.prefill(slot, job.ids)
            except Exception:
                self._broken(decoder, [slot])
                continue
            self.metrics.prompt_tokens.inc(len(job.ids))
            self.metrics.first_token_seconds.observe(time.monotonic() - job.submitted)
            self.metrics.completion_tokens.inc()
            self._take(decoder, slot, logits_V)

    def _step(self, decoder: Decoder) -> None:
        if not self._running:
            return
        tokens = {slot: one.job.answer[-1] for slot, one in self._running.items()}
        try:
            stepped = decoder.step(tokens)
        except Exception:
            self._broken(decoder, list(tokens))
            return
        self.metrics.completion_tokens.inc(len(stepped))
        for slot, logits_V in stepped.items():
            self._take(decoder, slot, logits_V)

    def _take(self, decoder: Decoder, slot: int, logits_V: Logits) -> None:
        running = self._running[slot]
        try:
            event = running.take(logits_V)
        except Impossible as error:
            message = f"the schema cannot be followed any further: {error}"
            problem = Problem(400, message, param="response_format", code="schema_impossible")
            self._end(decoder, slot, Failed(problem))
            return
        except Exception:
            self._broken(decoder, [slot])
            return
        if isinstance(event, Finished):
            self._end(decoder, slot, event)
        elif event is not None:
            running.job.notify(event)

    def _end(self, decoder: Decoder, slot: int, event: Event) -> None:
        job = self._running[slot].job
        self._free(decoder, slot)
        job.notify(event)

    def _free(self, decoder: Decoder, slot: int) -> None:
        decoder.release(slot)
        del self._running[slot]

    def _broken(self, decoder: Decoder, slots: Sequence[int]) -> None:
        """The runtime raised: those answers end, the others and the server go on."""
        _LOG.exception("the decoder failed in %d slots", len(slots))
        problem = Problem(500, "the model failed on this request", code="decoder_failed")
        for slot in slots:
            self._end(decoder, slot, Failed(problem))
