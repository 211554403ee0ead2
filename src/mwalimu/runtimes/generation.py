"""Whole answers from a decoder, and what it thinks of a given text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from mwalimu.runtimes.base import Decoder, Logits


def greedy(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    ends: Collection[int],
    max_tokens: int,
    on_done: Callable[[int], None] = lambda row: None,
) -> list[list[int]]:
    """The likeliest continuation of each prompt, in order, the ending id included.

    A slot that comes free takes the next prompt at once. Every prompt has an id, and room for
    `max_tokens` more in the context. `on_done` is told each finished row.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    waiting = list(reversed(range(len(prompts))))
    rows: dict[int, int] = {}
    free = list(range(decoder.slots))

    def take(slot: int, logits: Logits) -> None:
        row, token = rows[slot], int(np.argmax(logits))
        answers[row].append(token)
        if token in ends or len(answers[row]) >= max_tokens:
            decoder.release(slot)
            free.append(slot)
            del rows[slot]
            on_done(row)

    while waiting or rows:
        while waiting and free:
            slot = free.pop()
            rows[slot] = waiting.pop()
            take(slot, decoder.prefill(slot, prompts[rows[slot]]))
        if rows:
            stepped = decoder.step({slot: answers[row][-1] for slot, row in rows.items()})
            for slot, logits in stepped.items():
                take(slot, logits)
    return answers


def read(decoder: Decoder, ids: Sequence[int]) -> Logits:
    """Float32 [ids, vocabulary]: the logits after each id, one step at a time as in generation."""
    logits = [decoder.prefill(0, ids[:1])]
    try:
        logits += [decoder.step({0: token})[0] for token in ids[1:]]
        return np.stack(logits)
    finally:
        decoder.release(0)
