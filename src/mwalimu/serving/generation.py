"""One answer while it is written: which token comes next, what is to show, when it is whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from mwalimu.data.batched_generation import read_ids
from mwalimu.runtimes import Logits
from mwalimu.serving.completion import Completion
from mwalimu.serving.grammar import Grammar
from mwalimu.serving.problems import Problem
from mwalimu.serving.sampling import draw, likeliest, log_softmax, uniforms
from mwalimu.serving.text_stream import TextStream

Tops = list[list[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Delta:
    """New text to show. `tokens`: all tokens so far are in what was shown, so many of them."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The whole answer, and the rest of its text that no Delta had.

    The first `kept` ids are the answer's own; `used` counts the ending one, or those of a stop
    string, too. `tops` are the likeliest ids at each place.
    """

    completion: Completion
    rest: str
    kept: int
    used: int
    tops: Tops


@dataclass(frozen=True, slots=True)
class Failed:
    problem: Problem


Event = Delta | Finished | Failed


@dataclass(eq=False, slots=True)
class Job:
    """One answer that is wanted; `notify` hears of it, on the decoder's thread.

    `deadline` is in seconds of `time.monotonic`. With `streamed`, Deltas come before the end; with
    `scored`, `log_probs` holds the log-probability of each token so far, and `tops` the likeliest
    ids there: who hears of a token may read them. `spelled` counts those that were sent.
    """

    ids: list[int]
    max_tokens: int
    deadline: float
    notify: Callable[[Event], None]
    owner: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    choice: int = 0
    stop: tuple[str, ...] = ()
    scored: bool = False
    top_log_probs: int = 0
    grammar: Grammar | None = None
    streamed: bool = False
    submitted: float = 0.0
    answer: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    tops: Tops = field(default_factory=list)
    spelled: int = 0


class Generation:
    """A job in its slot."""

    def __init__(self, job: Job, tokenizer: Any, ends: Collection[int]) -> None:
        self.job = job
        self._tokenizer = tokenizer
        self._ends = ends
        self._uniforms = uniforms(job.seed, job.choice)
        watched = job.streamed or job.stop  # else the text is of no use before the end
        self._text = TextStream(tokenizer, job.stop) if watched else None

    def take(self, logits_V: Logits) -> Event | None:
        """Draws the next token: the answer's last if Finished comes back.

        Raises:
            Impossible: the grammar cannot go on.
            FloatingPointError: the logits are not numbers.
        """
        job = self.job
        token = self._next(logits_V)
        job.answer.append(token)
        if job.scored:
            log_probs_V = log_softmax(logits_V)
            job.log_probs.append(float(log_probs_V[token]))
            if job.top_log_probs:
                job.tops.append(likeliest(log_probs_V, job.top_log_probs))
        if token in self._ends:
            return self._finished("stop", "")
        if job.grammar:
            job.grammar.take(token)
        new = self._text.push(token) if self._text else ""
        if self._text and self._text.stopped:
            return self._finished("stop", new)
        if len(job.answer) >= job.max_tokens:
            return self._finished("length", new)
        if not new or not self._text or not job.streamed:
            return None
        return Delta(new, 0 if self._text.holds_back else len(job.answer))

    def _next(self, logits_V: Logits) -> int:
        job = self.job
        best = int(logits_V.argmax())  # one that is not a number, if there is one
        if math.isnan(logits_V[best]):
            raise FloatingPointError("the model's logits are not numbers")
        if job.grammar:
            logits_V = job.grammar.restrict(logits_V)
        elif job.temperature == 0:
            return best
        uniform = 0.0 if job.temperature == 0 else next(self._uniforms)
        return draw(logits_V, temperature=job.temperature, top_p=job.top_p, uniform=uniform)

    def _finished(self, reason: str, new: str) -> Finished:
        job = self.job
        reading = read_ids(self._tokenizer, job.answer, self._ends, job.stop)
        completion = Completion(job.answer, reading.text, reason, job.log_probs)
        rest = new + self._text.finish(reading.text) if self._text else reading.text
        return Finished(completion, rest, reading.kept, reading.tokens, job.tops)
