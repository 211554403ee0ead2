"""A real HTTP server that scores given tokens with a transformers folder, as vLLM and SGLang do."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import torch
from aiohttp import web
from transformers import AutoModelForCausalLM

from tests.model_server import ModelServer

MAX_LOGPROBS = 20


class ScoreServer(ModelServer):
    """Answers chats too. Rows are scored one at a time.

    `troubles` are answered first, one a request: a status, or a pause in seconds before the answer.
    """

    max_logprobs = MAX_LOGPROBS

    def __init__(self, folder: Path, *, key: str | None = None) -> None:
        super().__init__(folder, key="")
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.key = key
        self.troubles: deque[int | float] = deque()
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/generate", self._generate)

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """[T - 1, V], of what follows each id but the last."""
        with torch.no_grad():
            logits_TV = self.model(input_ids=torch.tensor([ids])).logits[0, :-1]
        return logits_TV.float().log_softmax(1)

    async def _complete(self, request: web.Request) -> web.Response:
        body = await self._received(request)
        if isinstance(body, web.Response):
            return body
        if body["model"] not in self.models:
            return _refused(404, f"The model `{body['model']}` does not exist.")
        k, ids = body["prompt_logprobs"], body["prompt"]
        if k > self.max_logprobs:
            return _refused(
                400,
                f"Requested prompt logprobs of {k}, "
                f"which is greater than max allowed: {self.max_logprobs}",
            )
        if len(ids) + body["max_tokens"] > self.model.config.max_position_embeddings:
            return _refused(400, "This model's maximum context length is 512 tokens.")
        return self._answer(
            {
                "id": "cmpl-x",
                "object": "text_completion",
                "choices": [
                    {"index": 0, "text": "a", "prompt_logprobs": self.prompt_logprobs(ids, k)}
                ],
            }
        )

    def prompt_logprobs(self, ids: list[int], k: int) -> Any:
        scored: list[dict[str, Any] | None] = [None]
        for token, logp_V in zip(ids[1:], self.logprobs(ids), strict=True):
            best = logp_V.topk(k).indices.tolist()
            found = {}
            for one in dict.fromkeys([token, *best]):
                rank = int((logp_V > logp_V[one]).sum()) + 1
                logprob = max(float(logp_V[one]), -9999.0)
                found[str(one)] = {"logprob": logprob, "rank": rank, "decoded_token": "?"}
            scored.append(found)
        return scored

    async def _generate(self, request: web.Request) -> web.Response:
        body = await self._received(request)
        if isinstance(body, web.Response):
            return body
        ids, start, k = body["input_ids"], body["logprob_start_len"], body["top_logprobs_num"]
        own: list[Any] = [[None, ids[start], None]]
        best: list[Any] = [None]
        for token, logp_V in zip(ids[start + 1 :], self.logprobs(ids)[start:], strict=True):
            own.append([float(logp_V[token]), token, None])
            top = logp_V.topk(k)
            pairs = zip(top.values.tolist(), top.indices.tolist(), strict=True)
            best.append([[value, index, None] for value, index in pairs])
        meta = {"id": "x", "input_token_logprobs": own, "input_top_logprobs": best}
        return self._answer({"text": "", "meta_info": meta})

    def _answer(self, answer: dict[str, Any]) -> web.Response:
        self.in_flight -= 1
        return web.json_response(answer)

    async def _received(self, request: web.Request) -> dict[str, Any] | web.Response:
        body: dict[str, Any] = await request.json()
        self.bodies.append(body)
        trouble = self.troubles.popleft() if self.troubles else 0.0
        if isinstance(trouble, int):
            return _refused(trouble, "out of order")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(trouble)
        return body


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)
