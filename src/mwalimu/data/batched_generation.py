"""A causal language model answers one batch: the same way as a teacher and under evaluation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mwalimu.data.kept import Arrays, Kept
from mwalimu.data.longrope import answered_alike, rope_limit
from mwalimu.data.token_scores import ScoreRecorder, TokenScore, TokenTexts
from mwalimu.data.vocabulary import vocabulary_size

if TYPE_CHECKING:
    from mwalimu.data.kept_recorder import KeptRecorder


class Answer(NamedTuple):
    """`tokens` counts the ending one, or all of a stop string; `stopped`: it ended by itself.

    `scores`, where asked for, are those of the answer's own tokens, before its text is stripped:
    neither the ending token nor any that reaches into a stop string is among them.
    `distribution`, where asked for, is of all of `ids`, the ending token too; an answer that was
    cut has neither.
    """

    text: str
    tokens: int
    stopped: bool
    scores: tuple[TokenScore, ...] | None = None
    ids: Sequence[int] = ()
    distribution: Arrays | None = None


class Reading(NamedTuple):
    """The meaning of generated ids; the first `kept` of them are the answer's own."""

    text: str
    tokens: int
    kept: int
    stopped: bool


def generate_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    ends: Collection[int],
    max_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    top_logprobs: int = 0,
    kept: Kept | None = None,
    keys: Sequence[bytes] = (),
) -> list[Answer]:
    """The answers to `prompts` (ids, each fitting the context), in order; greedy at temperature 0.

    `ends` are the ids any of which ends an answer, as does any text of `stop`, which is cut off.
    What the model's own generation config sets beside sampling, a repetition penalty say, holds.
    Sampling depends on `seed` alone. With `top_logprobs` > 0 each answer has its `scores`, with so
    many alternatives a token: what `token_scores` records, whatever the sampling. With `kept` each
    that ended by its own token has its `distribution`, whose draws depend on its key of `keys`.
    """
    answer = partial(
        _generate_alike,
        model,
        tokenizer,
        ends=ends,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop,
        top_logprobs=top_logprobs,
        kept=kept,
    )
    answers: dict[int, Answer] = {}
    for group in answered_alike([len(ids) for ids in prompts], max_tokens, rope_limit(model)):
        own_keys = [keys[i] for i in group] if keys else ()
        answers |= zip(group, answer([prompts[i] for i in group], keys=own_keys), strict=True)
    return [answers[i] for i in range(len(prompts))]


def _generate_alike(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    *,
    ends: Collection[int],
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop: Sequence[str],
    top_logprobs: int,
    kept: Kept | None,
    keys: Sequence[bytes],
) -> list[Answer]:
    import torch

    from mwalimu.data.kept_recorder import KeptRecorder

    ids_BT, mask_BT = _left_padded(prompts, tokenizer.pad_token_id, model.device)
    width = ids_BT.shape[1]
    sampled = temperature > 0
    recorder = ScoreRecorder(model, top_logprobs) if top_logprobs else None
    keeper = None
    if kept is not None:
        size = kept.vocabulary or vocabulary_size(tokenizer)
        keeper = KeptRecorder(model, kept, vocabulary=size, keys=keys, max_tokens=max_tokens)
    listeners = [one for one in (recorder, keeper) if one is not None]
    torch.manual_seed(seed)
    with torch.inference_mode(), ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        output_BT = model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=max_tokens,
            do_sample=sampled,
            temperature=temperature if sampled else None,
            top_p=top_p if sampled else None,
            top_k=0 if sampled else None,
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
            stopping_criteria=[_StopText(tokenizer, stop, width)] if stop else None,
            disable_compile=True if listeners else None,  # a compiled pass may leave hooks out
        )
        return _answers(tokenizer, output_BT[:, width:], ends, stop, recorder, keeper)


def _answers(
    tokenizer: Any,
    answers_BT: Any,
    ends: Collection[int],
    stop: Sequence[str],
    recorder: ScoreRecorder | None,
    keeper: KeptRecorder | None,
) -> list[Answer]:
    rows = answers_BT.tolist()
    readings = [read_ids(tokenizer, ids, ends, stop) for ids in rows]
    answers = [Answer(r.text, r.tokens, r.stopped) for r in readings]
    if recorder is not None:
        scores = recorder.scores(answers_BT, TokenTexts(tokenizer))
        answers = [
            answer._replace(scores=tuple(row[: reading.kept]))
            for answer, reading, row in zip(answers, readings, scores, strict=True)
        ]
    if keeper is not None:
        found = zip(answers, rows, keeper.rows(answers_BT), strict=True)
        answers = [_with_distribution(answer, ids, ends, arrays) for answer, ids, arrays in found]
    return answers


def _with_distribution(
    answer: Answer, ids: Sequence[int], ends: Collection[int], arrays: Arrays
) -> Answer:
    """As it is where it did not end by its own token: it is not learned as these ids."""
    if not answer.stopped or ids[answer.tokens - 1] not in ends:
        return answer
    own = {name: array_TX[: answer.tokens] for name, array_TX in arrays.items()}
    return answer._replace(ids=ids[: answer.tokens], distribution=own)


def read_ids(
    tokenizer: Any, ids: Sequence[int], ends: Collection[int], stop: Sequence[str] = ()
) -> Reading:
    """What generated ids say, up to the first of `ends` or the first text of `stop`."""
    length = next((i for i, token in enumerate(ids) if token in ends), len(ids))

    def text_of(count: int) -> str:
        return str(tokenizer.decode(ids[:count], skip_special_tokens=True))

    text = text_of(length)
    cut = _first(text, stop)
    if cut is None:
        stopped = length < len(ids)
        return Reading(text.strip(), length + stopped, length, stopped)
    counts = range(length + 1)
    used = bisect_left(counts, True, key=lambda n: _first(text_of(n), stop) is not None)
    kept = bisect_right(counts, cut, key=lambda n: len(text_of(n))) - 1
    return Reading(text[:cut].strip(), used, kept, True)


class _StopText:
    """Ends the rows whose last tokens spell a stop string; `read_ids` decides what that means."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], width: int) -> None:
        self.tokenizer = tokenizer
        self.stop = stop
        self.width = width
        # A character takes four byte tokens at most; some tokens say nothing.
        self.window = 4 * max(map(len, stop)) + 8

    def __call__(self, ids_BT: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        start = max(self.width, ids_BT.shape[1] - self.window)
        rows = ids_BT[:, start:].tolist()
        texts = [self.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        done = [_first(text, self.stop) is not None for text in texts]
        return torch.tensor(done, device=ids_BT.device)


def _first(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins."""
    places = [place for s in stop if (place := text.find(s)) >= 0]
    return min(places, default=None)


def _left_padded(prompts: Sequence[list[int]], pad: int, device: Any) -> tuple[Any, Any]:
    import torch

    width = max(map(len, prompts))
    ids = [[pad] * (width - len(row)) + row for row in prompts]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
