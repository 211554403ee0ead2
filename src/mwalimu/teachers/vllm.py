"""A teacher on this machine, run by vLLM: many times faster than `local` on a CUDA card.

vLLM is no dependency: it is imported here alone. It is asked in token ids and its ids are read
here, so prompts, texts and stop strings mean what they mean to the local teacher. So do its
log-probabilities: `raw_logprobs`, the default of its engine, are the model's own, before
temperature and penalties. Every request has a seed of its own; still, an answer can differ in
another batch, since vLLM's kernels do not promise equal bits there.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection
from typing import Any

from mwalimu.config import TeacherConfig
from mwalimu.data.batched_generation import Answer, read_ids
from mwalimu.data.loading import CannotLoad, load_tokenizer
from mwalimu.data.token_scores import TokenScore, TokenTexts
from mwalimu.data.tokenize import end_of_turn_id
from mwalimu.errors import MissingDependency, TeacherError, UnknownTeacherModel
from mwalimu.teachers.base import Request, Sampling
from mwalimu.teachers.on_machine import OnMachineTeacher, asking_tokenizer, seed_of

MAX_SEED = 2**63  # of a torch generator


class VllmTeacher(OnMachineTeacher):
    """One `vllm.LLM`, which takes most of the card's memory until `close`."""

    kind = "vllm"

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        self._vllm: Any = None
        self._llm: Any = None
        self._texts: TokenTexts | None = None

    async def close(self) -> None:
        await super().close()
        self._llm = self._texts = None

    def _load(self) -> None:
        self._vllm, self._llm, self._tokenizer = load_llm(self.config.model)
        self._texts = TokenTexts(self._tokenizer)

    def _context(self) -> int:
        return int(self._llm.llm_engine.model_config.max_model_len)

    def _generate(
        self, prompts: list[list[int]], requests: list[Request], sampling: Sampling
    ) -> list[tuple[Answer, str]]:
        ends = [end_of_turn_id(self._tokenizer), self._tokenizer.eos_token_id]
        outputs = self._llm.generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            [self._params(request, sampling, ends) for request in requests],
            use_tqdm=False,
        )
        return [self._read(output.outputs[0], sampling, ends) for output in outputs]

    def _params(self, request: Request, sampling: Sampling, ends: Collection[int]) -> Any:
        return self._vllm.SamplingParams(
            n=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=seed_of(request) % MAX_SEED,
            stop=list(sampling.stop) or None,
            stop_token_ids=sorted(set(ends)),
            logprobs=sampling.top_logprobs or None,
        )

    def _read(self, output: Any, sampling: Sampling, ends: list[int]) -> tuple[Answer, str]:
        """vLLM's ids hold the ending token, or all of a stop string's."""
        ids = list(output.token_ids)
        ended_by = {output.stop_reason} if isinstance(output.stop_reason, int) else set()
        reading = read_ids(self._tokenizer, ids, {*ends, *ended_by}, sampling.stop)
        scores = None
        if sampling.top_logprobs:
            scores = self._scores(ids[: reading.kept], output.logprobs, sampling.top_logprobs)
        reason = output.finish_reason
        trouble = "" if reason in ("stop", "length") else f"vLLM broke off ({reason})"
        return Answer(reading.text, len(ids), reason == "stop", scores), trouble

    def _scores(self, ids: list[int], logprobs: Any, k: int) -> tuple[TokenScore, ...]:
        assert self._texts is not None
        scores = []
        for token, known in zip(ids, logprobs, strict=False):
            best = sorted(known, key=lambda i: -known[i].logprob)[:k]
            # What vLLM masked has no finite logarithm, and JSON no word for that.
            finite = [i for i in best if math.isfinite(known[i].logprob)]
            top = self._texts.pairs(finite, [known[i].logprob for i in finite])
            scores.append(TokenScore(self._texts[token], known[token].logprob, top))
        return tuple(scores)


def load_llm(name: str, **options: Any) -> tuple[Any, Any, Any]:
    """(the module vllm, an `LLM` with these options, the tokenizer, prepared for asking).

    Raises:
        MissingDependency: vLLM is not there.
        TeacherError: the model cannot be loaded, or this vLLM does not know an option.
    """
    vllm = _import_vllm()
    try:
        tokenizer = asking_tokenizer(load_tokenizer(name), name)
        llm = vllm.LLM(model=name, dtype="auto", trust_remote_code=False, seed=0, **options)
    except (CannotLoad, OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UnknownTeacherModel(
            f"cannot be loaded as a teacher ({reason})",
            where=name,
            fix="name a model that vLLM knows in teacher.model, or use kind: local",
        ) from None
    except TypeError as error:
        raise TeacherError(
            f"this vLLM does not know an option that is needed ({error})", fix="use vLLM 0.10.1 on"
        ) from None
    return vllm, llm, tokenizer


def _import_vllm() -> Any:
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise MissingDependency(
            f"vLLM cannot be imported ({(str(error) or 'no reason given').splitlines()[0][:200]})",
            where="teacher.kind",
            fix="run: pip install vllm, on a machine with a CUDA card, or use kind: local",
        ) from None
