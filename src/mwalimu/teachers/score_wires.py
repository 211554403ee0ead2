"""How a server is asked what it thinks of given tokens: vLLM's dialect and SGLang's.

Both take the prompt as token ids, so no template and no tokenizer of the server has a part in it,
and both report a prompt's log-probabilities as the model's own: before any temperature, penalty or
cut. A server that was told otherwise (vLLM's `--logprobs-mode processed_logprobs`) is asked at
temperature 1 without cuts, where both are the same; one that reports logits is refused.

Sources: vLLM, entrypoints/openai/completion/protocol.py (`prompt_logprobs`); SGLang,
docs/basic_usage/sampling_params.md (`/generate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from yarl import URL

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json
from mwalimu.teachers.openai_chat import OpenAIChat
from mwalimu.teachers.wire import under

Entries = Mapping[int, float]
"""Natural log-probabilities by id, of one token: the best ones and the token itself."""

NO_MASS = float("-inf")
NEVER = -9999.0  # vLLM's word for minus infinity, which JSON has not


class NotScored(Exception):
    """A server's answer does not hold what was asked for; says why in a clause."""


class ScoreWire(Protocol):
    limit: str  # how the server is told to report k entries

    def url(self, config: TeacherConfig) -> URL: ...

    def body(self, config: TeacherConfig, ids: Sequence[int], targets: int, k: int) -> Json: ...

    def is_answer(self, answer: Any) -> bool:
        """Whether a 200's body is one, well scored or not."""

    def read(self, answer: Any, ids: Sequence[int], targets: int) -> list[Entries]:
        """Of the last `targets` ids, one each.

        Raises NotScored; LookupError, TypeError, ValueError or AttributeError for nonsense.
        """


class VllmScores:
    """POST {base}/completions with `prompt_logprobs`: every token of the prompt is scored."""

    limit = "start vLLM with --max-logprobs {k}"

    def url(self, config: TeacherConfig) -> URL:
        return under(_api(config), "completions")

    def body(self, config: TeacherConfig, ids: Sequence[int], targets: int, k: int) -> Json:
        return {
            "model": config.model,
            "prompt": list(ids),
            "prompt_logprobs": k,
            "max_tokens": 1,
            # A model's own generation config would fill in what is left out.
            "temperature": 1,
            "top_p": 1,
            "top_k": -1,
            "min_p": 0,
            "repetition_penalty": 1,
            "seed": 0,
            "stream": False,
        }

    def is_answer(self, answer: Any) -> bool:
        return isinstance(answer, dict) and isinstance(answer.get("choices"), list)

    def read(self, answer: Any, ids: Sequence[int], targets: int) -> list[Entries]:
        (choice,) = answer["choices"]
        scored = choice.get("prompt_logprobs")
        if scored is None:
            raise NotScored("it reports no prompt_logprobs")
        if len(scored) != len(ids):
            raise NotScored(f"it scored {len(scored)} tokens of {len(ids)}")
        return [
            {int(token): _logprob(entry["logprob"]) for token, entry in position.items()}
            for position in scored[len(ids) - targets :]
        ]


class SglangScores:
    """POST /generate with `return_logprob`: only what begins at `logprob_start_len` is scored."""

    limit = "ask for fewer"

    def url(self, config: TeacherConfig) -> URL:
        api = _api(config)
        root = api.parent.with_query(api.query) if api.name == "v1" else api
        return under(root, "generate")

    def body(self, config: TeacherConfig, ids: Sequence[int], targets: int, k: int) -> Json:
        return {
            "input_ids": list(ids),
            "sampling_params": {"max_new_tokens": 0, "temperature": 1},
            "return_logprob": True,
            # The first token that is reported has no score.
            "logprob_start_len": max(0, len(ids) - targets - 1),
            "top_logprobs_num": k,
            "stream": False,
        }

    def is_answer(self, answer: Any) -> bool:
        return isinstance(answer, dict) and isinstance(answer.get("meta_info"), dict)

    def read(self, answer: Any, ids: Sequence[int], targets: int) -> list[Entries]:
        meta = answer["meta_info"]
        own, best = meta.get("input_token_logprobs"), meta.get("input_top_logprobs")
        if own is None or best is None:
            raise NotScored("it reports no input_top_logprobs")
        if min(len(own), len(best)) < targets:
            raise NotScored(f"it scored {min(len(own), len(best))} tokens of {targets}")
        own, best = own[len(own) - targets :], best[len(best) - targets :]
        if [token for _, token, *_ in own] != list(ids[len(ids) - targets :]):
            raise NotScored("it scored other tokens")
        return [
            {token: _logprob(logprob) for logprob, token, *_ in [itself, *entries]}
            for itself, entries in zip(own, best, strict=True)
        ]


def score_wire(config: TeacherConfig) -> ScoreWire:
    return SglangScores() if config.scoring == "sglang" else VllmScores()


def _api(config: TeacherConfig) -> URL:
    """`teacher.base_url`, less the path of the chat protocol where it ends with that."""
    url = OpenAIChat().url(config)
    return url.parent.parent.with_query(url.query)


def _logprob(value: Any) -> float:
    """None is what some writers of JSON make of minus infinity."""
    if value is None:
        return NO_MASS
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a log-probability is a number")
    return NO_MASS if value <= NEVER else float(value)
