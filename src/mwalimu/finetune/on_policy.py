"""On-policy distillation: the student answers, and learns what the teacher would have said there.

What a student sees in use is its own text. So a share of a step's rows gets an answer that the
student writes now, and only the divergences are taken on it: there is nothing to imitate in it.
Sources: GKD (Agarwal et al. 2024, arXiv 2306.13649, algorithm 1), where `share` is lambda; all rows
of an optimiser step are answered in one batch, with the KV cache, rather than once a micro-batch.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mwalimu.config import OnPolicyConfig
from mwalimu.data.longrope import answered_alike, rope_limit
from mwalimu.data.tokenize import Encoded, end_of_turn_id
from mwalimu.objectives.schedules import number

Micro = list[Encoded]


@dataclass(frozen=True, slots=True)
class Rollout:
    """`max_length` bounds prompt and answer together; `ends` are the tokens that end an answer."""

    settings: OnPolicyConfig
    ends: tuple[int, ...]
    pad_id: int
    max_length: int
    seed: int

    @classmethod
    def of(cls, settings: OnPolicyConfig, tokenizer: Any, max_length: int, seed: int) -> Rollout:
        ends = {end_of_turn_id(tokenizer), tokenizer.eos_token_id}
        return cls(settings, tuple(sorted(ends)), tokenizer.pad_token_id, max_length, seed)

    def split(
        self, model: Any, batches: Sequence[Micro], step: int, progress: float
    ) -> list[tuple[Micro, bool]]:
        """Each micro-batch as up to two: rows as they are, and rows that the student answered.

        Which rows, and what is drawn for them, depends on the seed and the step alone, so that a
        resumed run takes the same.
        """
        share = number(self.settings.share, progress)
        rng = random.Random(f"{self.seed}:on-policy:{step}")
        marked = [[(row, rng.random() < share) for row in batch] for batch in batches]
        asked = [row for batch in marked for row, on in batch if on]
        answered = iter(self.answer(model, asked, rng.getrandbits(63)) if asked else ())
        split: list[tuple[Micro, bool]] = []
        for batch in marked:
            kept = [row for row, on in batch if not on]
            own = [next(answered) for _, on in batch if on]
            split += [(rows, on) for rows, on in ((kept, False), (own, True)) if rows]
        return split

    @torch.no_grad()
    def answer(self, model: Any, rows: Sequence[Encoded], seed: int) -> list[Encoded]:
        """The rows' prompts with the student's own answers; the generators stay as they were."""
        prompts = [row.prompt for row in rows]
        room = max(1, min(self.settings.max_tokens, self.max_length - max(map(len, prompts))))
        was_training = model.training
        model.eval()
        with torch.random.fork_rng(devices=_devices(model)):
            torch.manual_seed(seed)
            answers = self._answers(model, prompts, room)
        model.train(was_training)
        return [
            row.with_answer(prompt, answer, target_crc=0)
            for row, prompt, answer in zip(rows, prompts, answers, strict=True)
        ]

    def _answers(self, model: Any, prompts: Sequence[list[int]], room: int) -> list[list[int]]:
        answers: dict[int, list[int]] = {}
        for group in answered_alike([len(p) for p in prompts], room, rope_limit(model)):
            found = self._generate(model, [prompts[i] for i in group], room)
            answers |= zip(group, found, strict=True)
        return [answers[i] for i in range(len(prompts))]

    def _generate(self, model: Any, prompts: Sequence[list[int]], room: int) -> list[list[int]]:
        longest = max(map(len, prompts))
        ids_BT = torch.tensor(
            [[self.pad_id] * (longest - len(p)) + p for p in prompts], device=model.device
        )
        mask_BT = torch.tensor(
            [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device
        )
        sampled = self.settings.temperature > 0
        output_BT = model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=room,
            use_cache=True,
            synced_gpus=False,  # each process answers its own rows, at its own pace
            do_sample=sampled,
            temperature=self.settings.temperature if sampled else None,
            top_p=self.settings.top_p if sampled else None,
            top_k=0 if sampled else None,
            eos_token_id=list(self.ends),
            pad_token_id=self.pad_id,
        )
        return [_up_to_end(row, self.ends) for row in output_BT[:, longest:].tolist()]


def _up_to_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """The ending token is part of the answer."""
    end = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
    return ids[: end + 1]


def _devices(model: Any) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []
