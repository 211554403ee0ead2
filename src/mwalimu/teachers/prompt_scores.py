"""What a served teacher thinks of given tokens: its best tokens at each, and the given one.

Scores are bought with compute alone and are not stored, so this client asks again by itself, until
the server has been away for `teacher.outage_s`; a run that stopped then goes on from its
checkpoint. What a server says is checked before it is believed.

Shapes: n target tokens of a question, K entries a token.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import orjson

from mwalimu.config import TeacherConfig
from mwalimu.errors import TeacherError, TeacherUnreachable
from mwalimu.teachers.base import RowError, TransientError
from mwalimu.teachers.http import HttpTransport
from mwalimu.teachers.loop_thread import LoopThread
from mwalimu.teachers.openai_chat import OpenAIChat
from mwalimu.teachers.score_wires import NO_MASS, Entries, NotScored, score_wire
from mwalimu.teachers.served import ServedTeacher
from mwalimu.teachers.status import judge, public_url
from mwalimu.teachers.unreported import unreported_mass

BACKOFF_S, BACKOFF_CAP_S = 0.5, 30.0
ROUNDING = 0.02  # of log-probabilities in 16 bits, above 0, and of the sum of what they are of
SAME_WITHIN = 0.5  # nats a token, far more than other company in a batch makes in 16 bits
PROBE = (
    "The price of 12 apples and 3 pears rose by a fifth last week. Who buys fruit in winter? Those "
    "who like it well enough: the shop sells more of both now than it did in the whole of autumn."
)
PROBE_TOKENS = 64
UNLIKELY = -20.0  # nats; how much less likely is noise

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    """The last `targets` of `ids` are to be scored; something stands before them."""

    ids: Sequence[int]
    targets: int


@dataclass(frozen=True, slots=True)
class Scores:
    """The best entries of each token, greatest first, and the token's own where it is not among
    them; the log of the mass of all others; the log-probability of the token itself.

    Entries and the rest sum to 1. Pads have id 0 and minus infinity. Float64.
    """

    ids_nK: Array
    logp_nK: Array
    tail_n: Array
    labels_n: Array


class PromptScores:
    """`k` best tokens are asked for; ids from `vocabulary` on are among the others."""

    def __init__(self, config: TeacherConfig, k: int, vocabulary: int) -> None:
        """Raises ConfigError when `teacher.base_url` is no address."""
        self.config = config
        self.k = k
        self.vocabulary = vocabulary
        self._dialect = score_wire(config)
        self._url = self._dialect.url(config)
        self._chat = OpenAIChat()
        self._server = ServedTeacher(config, self._chat)
        self._transport = HttpTransport(
            concurrency=config.concurrency, timeout_s=config.timeout_s, idle_s=config.idle_s
        )
        self._slots = asyncio.Semaphore(config.concurrency)

    async def check(self, ids: Sequence[int]) -> None:
        """Finds a server that is away, refuses the key, has no such model, or cannot score `ids`.

        They are scored twice: a server that serves other tokens' scores out of its prefix cache is
        found by that, if `ids` are more than a block of it.

        Raises TeacherUnreachable, TeacherRefusesKey, UnknownTeacherModel, TeacherError.
        """
        await self._server.check()
        question = Question(ids, len(ids) - 1)
        first_n, second_n = [
            np.maximum((await self._probe(question)).labels_n, UNLIKELY) for _ in range(2)
        ]
        if np.abs(first_n - second_n).mean() > SAME_WITHIN:
            raise self._unusable(
                "the same tokens got other scores when they were asked for again",
                "start it without a prefix cache (vLLM: --no-enable-prefix-caching)",
            )

    async def score(self, questions: Sequence[Question]) -> list[Scores | str]:
        """In order; why not, for a question that the server refuses.

        Raises:
            TeacherUnreachable: it has been away for `teacher.outage_s`.
            TeacherRefusesKey, UnknownTeacherModel, TeacherError: nothing can be had of it.
        """
        tasks = [asyncio.create_task(self._scored(question)) for question in questions]
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            failed = [task for task in tasks if task.done() and task.exception() is not None]
            return [await task for task in failed or tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self._server.close()
        await self._transport.close()

    async def _probe(self, question: Question) -> Scores:
        found = await self._scored(question)
        if isinstance(found, str):
            limit = self._dialect.limit.format(k=self.k)
            raise self._unusable(found, f"{limit}, set signals.k lower, or drop teacher.scoring")
        return found

    async def _scored(self, question: Question) -> Scores | str:
        """Asks until there is an answer; the clock of an outage starts at the first failure."""
        since, tries = math.inf, 0
        while True:
            try:
                async with self._slots:
                    return await self._ask(question)
            except RowError as error:
                return str(error)
            except TransientError as error:
                since = min(since, monotonic())
                await asyncio.sleep(self._pause(error, tries, monotonic() - since))
                tries += 1

    def _pause(self, error: TransientError, tries: int, away_s: float) -> float:
        """Seconds until the next try; with half of them by chance, as all fail together."""
        if away_s >= self.config.outage_s:
            raise self._away(f"no answer for {self.config.outage_s:.0f} s ({error.reason})")
        if (asked := error.retry_after_s or 0.0) > self.config.outage_s:
            raise self._away(f"asks to be left alone for {asked:,.0f} s")
        backoff = min(BACKOFF_CAP_S, math.ldexp(BACKOFF_S, min(tries, 16)))
        pause = max(asked, backoff * (0.5 + 0.5 * random.random()))
        return min(pause, self.config.outage_s - away_s)

    def _away(self, what: str) -> TeacherUnreachable:
        fix = "look at the server, then run the same command again; it goes on where it stopped"
        return TeacherUnreachable(what, where=public_url(self._url), fix=fix)

    async def _ask(self, question: Question) -> Scores:
        """One request. Raises TransientError, RowError, TeacherError kinds."""
        ids, targets = question.ids, question.targets
        headers = await self._chat.headers(self.config)
        body = orjson.dumps(self._dialect.body(self.config, ids, targets, self.k))
        reply = await self._transport.post(self._url, body, headers)
        try:
            answer = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            answer = None
        if reply.status != 200 or not self._dialect.is_answer(answer):
            place = replace(self._server.server(headers), url=public_url(self._url))
            judge(reply, place)
            raise RowError("its content filter refuses the text")
        try:
            return self._read(answer, question)
        except NotScored as error:
            raise self._unusable(str(error)) from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"its scores cannot be read ({type(error).__name__})"
            raise self._unusable(reason) from None

    def _unusable(self, reason: str, fix: str = "") -> TeacherError:
        return TeacherError(
            f"cannot score given tokens: {reason}",
            where=public_url(self._url),
            fix=fix or "serve the teacher by vLLM or SGLang, or drop teacher.scoring",
        )

    def _read(self, answer: Any, question: Question) -> Scores:
        """Raises NotScored, and what `ScoreWire.read` does."""
        positions = self._dialect.read(answer, question.ids, question.targets)
        labels = question.ids[len(question.ids) - question.targets :]
        shape = question.targets, self.k + 1
        ids_nK, logp_nK = np.zeros(shape, np.int64), np.full(shape, NO_MASS)
        tail_n, labels_n = np.empty(shape[0]), np.empty(shape[0])
        for at, (label, entries) in enumerate(zip(labels, positions, strict=True)):
            _check(label, entries)
            kept = self._kept(label, entries)
            mass = [math.exp(entries[token]) for token in kept]
            rest = self._rest(entries, kept)
            total = math.fsum([*mass, rest])  # above 1 by rounding only
            ids_nK[at, : len(kept)] = kept
            logp_nK[at, : len(kept)] = [entries[token] - math.log(total) for token in kept]
            tail_n[at] = math.log(rest / total) if rest > 0 else NO_MASS
            labels_n[at] = entries[label]
        return Scores(ids_nK, logp_nK, tail_n, labels_n)

    def _kept(self, label: int, entries: Entries) -> list[int]:
        """The ids of the `k` best that mean something to both models, and the label."""
        known = [t for t, logp in entries.items() if t < self.vocabulary and logp > NO_MASS]
        best = sorted(known, key=lambda token: (-entries[token], token))
        return best[: self.k] + [token for token in best[self.k :] if token == label]

    def _rest(self, entries: Entries, kept: Sequence[int]) -> float:
        """The mass outside of `kept`: of what was reported, and of what was not."""
        least = sorted(entries.values(), reverse=True)[: self.k][-1]
        reported = math.fsum(map(math.exp, entries.values()))
        unreported = unreported_mass(reported, self.vocabulary - len(entries), least)
        others = entries.keys() - set(kept)
        return unreported + math.fsum(math.exp(entries[token]) for token in others)


def probe_ids(tokenizer: Any) -> list[int]:
    """Some dozens of ids, for `PromptScores.check`."""
    return list(tokenizer.encode(PROBE, add_special_tokens=False))[:PROBE_TOKENS]


def _check(label: int, entries: Entries) -> None:
    if label not in entries:
        raise NotScored("it says nothing of the token itself")
    if not all(type(token) is int and token >= 0 for token in entries):
        raise NotScored("it reports what is no token id")
    values = entries.values()
    if max(values) > ROUNDING or sum(map(math.exp, values)) > 1 + ROUNDING:
        raise NotScored("its probabilities sum to more than 1 (does it report logits?)")


class ServedScores:
    """`PromptScores` for code that is not async; checked as soon as it is made."""

    def __init__(
        self, config: TeacherConfig, k: int, vocabulary: int, probe: Sequence[int]
    ) -> None:
        """`probe` are some dozens of ids. Raises as `PromptScores.check`."""
        self._scores = PromptScores(config, k, vocabulary)
        self._thread = LoopThread("prompt scores")
        try:
            self._thread.wait(self._scores.check(probe))
        except BaseException:
            self.close()
            raise

    def score(self, questions: Sequence[Question]) -> list[Scores | str]:
        """As `PromptScores.score`."""
        return self._thread.wait(self._scores.score(questions))

    def close(self) -> None:
        self._thread.close(self._scores.close())
