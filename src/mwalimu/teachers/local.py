"""A teacher on this machine: any causal language model of transformers, a folder or a hub id.

It answers whole batches that the engine fixes from the input alone, so that the padding beside a
row, and with it the last bit of its logits, is the same in every life of a run.
"""

from __future__ import annotations

from typing import Any

from mwalimu.config import TeacherConfig
from mwalimu.data.batched_generation import Answer, generate_batch
from mwalimu.data.context import context_of
from mwalimu.data.kept import draw_key
from mwalimu.data.loading import load_causal_lm
from mwalimu.data.tokenize import end_of_turn_id
from mwalimu.teachers.base import Capabilities, Request, Sampling
from mwalimu.teachers.loading import as_teacher
from mwalimu.teachers.on_machine import TOP_LOGPROBS, OnMachineTeacher, asking_tokenizer, seed_of


class LocalTeacher(OnMachineTeacher):
    """On CUDA where there is one."""

    kind = "local"

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        self.capabilities = Capabilities(top_logprobs=TOP_LOGPROBS, hidden_states=True, tools=True)
        self._model: Any = None

    async def close(self) -> None:
        await super().close()
        self._model = None

    def _load(self) -> None:
        name = self.config.model
        self._model, tokenizer = as_teacher(load_causal_lm, name)
        self._tokenizer = asking_tokenizer(tokenizer, name)

    def _context(self) -> int:
        return context_of(self._model.config)

    def _generate(
        self, prompts: list[list[int]], requests: list[Request], sampling: Sampling
    ) -> list[tuple[Answer, str]]:
        answers = generate_batch(
            self._model,
            self._tokenizer,
            prompts,
            ends=[end_of_turn_id(self._tokenizer)],
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=seed_of(requests[0]),
            stop=sampling.stop,
            top_logprobs=sampling.top_logprobs,
            kept=sampling.kept,
            keys=[draw_key(request.key) for request in requests],
        )
        return [(answer, "") for answer in answers]
