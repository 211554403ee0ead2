"""A real HTTP server that writes prompts, by what it is asked and nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp import web

from tests.synthesis.teacher_server import TeacherServer, completion

NOUNS = ("river", "hill", "lamp", "shoe", "order", "nurse", "baker", "mill", "cloud", "train")
VERBS = ("find", "paint", "return", "cancel", "describe", "compare", "sort", "count", "mend")


def chosen(digest: str, place: int) -> str:
    number = int(digest[2 * place : 2 * place + 6], 16)
    verb, noun, place = VERBS[number % 9], NOUNS[number // 11 % 10], NOUNS[number // 7 % 10]
    return f"Please {verb} the {noun} number {number % 1000} near {place}"


def written(body: dict[str, Any]) -> str:
    """A numbered list where the instruction wants one, else one prompt."""
    asked = repr([(m["role"], m["content"]) for m in body["messages"]]) + str(body["seed"])
    digest = hashlib.sha256(asked.encode()).hexdigest()
    instruction = " ".join(body["messages"][0]["content"].split())
    if "numbered list" not in instruction:
        label = "Rewritten prompt: " if "new prompt only" in instruction else ""
        return f"{label}{chosen(digest, 0)} for {chosen(digest, 9)}"
    lines = [f"{i + 1}. {chosen(digest, i)}" for i in range(4)]
    return "Sure, here they are:\n" + "\n".join([*lines, "5. Lamp"])


class WriterServer(TeacherServer):
    """`asked` counts requests by their whole body."""

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.asked[repr(body)] += 1
        return web.json_response(completion(written(body)))
