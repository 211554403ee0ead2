"""A teacher on this machine: any causal language model of transformers, a folder or a hub id.

It answers whole batches that the engine fixes from the input alone, so that the padding beside a
row, and with it the last bit of its logits, is the same in every life of a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from safetensors import SafetensorError

from mwalimu.config import TeacherConfig
from mwalimu.data.batched_generation import Answer, generate_batch, on_device
from mwalimu.data.tokenize import encode_prompt, end_of_turn_id, prepare_tokenizer
from mwalimu.errors import StudentError, TeacherError, UnknownTeacherModel
from mwalimu.run import fingerprint, model_hashes
from mwalimu.teachers.base import Capabilities, Completion, Request, TeacherInfo, Usage


class LocalTeacher:
    """Loads at `check`, on CUDA where there is one."""

    concurrency = 1

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.batch_size = config.batch_size
        self.info = TeacherInfo(config.model, "local")
        self.capabilities = Capabilities(hidden_states=True)
        self._model: Any = None
        self._tokenizer: Any = None

    async def check(self) -> None:
        await asyncio.to_thread(self._load)

    async def send(self, requests: Sequence[Request]) -> Sequence[bytes]:
        return await asyncio.to_thread(self._answer, requests)

    def parse(self, raw: bytes) -> Completion:
        answer = orjson.loads(raw)
        usage = Usage(answer["prompt_tokens"], answer["completion_tokens"])
        return Completion(
            answer["text"], answer["finish_reason"], usage, self.info.model, answer["detail"]
        )

    async def close(self) -> None:
        self._model = self._tokenizer = None

    def _load(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        name = self.config.model
        options = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype="auto", use_safetensors=True, **options
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UnknownTeacherModel(
                f"cannot be loaded as a teacher ({_first_line(error)})",
                where=name,
                fix="name a transformers folder or a hub id in teacher.model",
            ) from None
        if not self._tokenizer.chat_template:
            raise TeacherError(
                "the teacher's tokenizer has no chat template, so it cannot be asked in turns",
                where=name,
                fix="use an instruction-tuned model",
            )
        try:
            prepare_tokenizer(self._tokenizer)
        except StudentError as error:
            raise TeacherError(error.what, where=name, fix=error.fix) from None
        self._model = on_device(model).eval()
        self.info.model = _identity(name)

    def _answer(self, requests: Sequence[Request]) -> list[bytes]:
        prompts = [encode_prompt(self._tokenizer, request.messages) for request in requests]
        limit = self._context() - requests[0].sampling.max_tokens
        fitting = [i for i, ids in enumerate(prompts) if len(ids) <= limit]
        answers = [_too_long(len(ids), limit) for ids in prompts]
        if fitting:
            texts = self._generate([prompts[i] for i in fitting], requests)
            for i, (text, count, stopped) in zip(fitting, texts, strict=True):
                reason = "stop" if stopped else "length"
                answers[i] = _raw(text, reason, len(prompts[i]), count)
        return answers

    def _context(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 30)

    def _generate(self, prompts: list[list[int]], requests: Sequence[Request]) -> list[Answer]:
        sampling = requests[0].sampling
        return generate_batch(
            self._model,
            self._tokenizer,
            prompts,
            ends=[end_of_turn_id(self._tokenizer)],
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=int(requests[0].key[:15], 16) + sampling.seed,
        )


def _raw(text: str, reason: str, prompt_tokens: int, count: int, detail: str = "") -> bytes:
    return orjson.dumps(
        {
            "text": text,
            "finish_reason": reason,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": count,
            "detail": detail,
        }
    )


def _identity(name: str) -> str:
    """In the request keys: a folder is known by its contents, wherever it lies."""
    hashes = model_hashes(name)
    return f"{Path(name).name}@{fingerprint(hashes)[:16]}" if hashes else name


def _too_long(length: int, limit: int) -> bytes:
    detail = f"the prompt has {length} tokens, the teacher's context leaves room for {limit}"
    return _raw("", "error", length, 0, detail)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
