"""A real HTTP server with the batch protocols of OpenAI, Azure and Anthropic, and with faults.

`done` counts how often each prompt was worked on, online or in a batch: what would be billed.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.loopback import LoopbackServer

Fault = Callable[[str, int], Any]
"""(operation, how often it was asked for) -> None, "drop", "drop after", "hang", "hang after", or
(status, body). Operations: upload, create, poll, list, results, cancel, chat."""
Fate = Callable[[str], Any]
"""prompt -> None for an answer, "expired", "missing", "malformed", or (status, body)."""

ROUTES = [
    ("upload", "POST", r"/files"),
    ("file", "GET", r"/files/([\w-]+)"),
    ("results", "GET", r"/files/([\w-]+)/content"),
    ("create", "POST", r"/batches"),
    ("list", "GET", r"/batches"),
    ("poll", "GET", r"/batches/([\w-]+)"),
    ("results", "GET", r"/batches/([\w-]+)/results"),
    ("cancel", "POST", r"/batches/([\w-]+)/cancel"),
    ("chat", "POST", r"/chat/completions"),
    ("chat", "POST", r""),
]
PREFIX = r"(?:/v1/messages|/openai/v1|/v1|/openai/deployments/\w+|/openai)"


@dataclass
class Batch:
    id: str
    lines: list[dict[str, Any]]
    metadata: dict[str, str] | None
    input_file: str
    polls_left: int
    created: float = field(default_factory=time.time)
    status: str = "running"
    outcomes: dict[str, Any] = field(default_factory=dict)  # custom id -> what `fate` said
    error: dict[str, str] | None = None


class BatchServer(LoopbackServer):
    """`polls`: how often a batch is found running; `at_cancel`: how many are done by then."""

    models = ("tiny", "tiny-batch")

    def __init__(
        self,
        *,
        fate: Fate | None = None,
        fault: Fault | None = None,
        refuse: Callable[[list[dict[str, Any]]], dict[str, str] | None] | None = None,
        polls: int = 1,
        at_cancel: int = 0,
        keeps_metadata: bool = True,
        answer: Callable[[str], str] = lambda prompt: f"echo {prompt}",
    ) -> None:
        super().__init__()
        self.fate = fate or (lambda prompt: None)
        self.fault = fault or (lambda operation, count: None)
        self.refuse = refuse or (lambda lines: None)
        self.polls = polls
        self.at_cancel = at_cancel
        self.keeps_metadata = keeps_metadata
        self.answer = answer
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.done: Counter[str] = Counter()
        self.online: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.urls: list[str] = []
        self.hanging = threading.Event()

    @property
    def home(self) -> str:
        return self.url.removesuffix("/v1")

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        for operation, method, path in ROUTES:
            match = re.fullmatch(PREFIX + path, request.path)
            if match and request.method == method:
                self.urls.append(f"{operation} {request.path_qs}")
                return await self._serve_one(operation, request, *match.groups())
        return await handler(request)

    async def _serve_one(
        self, operation: str, request: web.Request, *which: str
    ) -> web.StreamResponse:
        self.calls[operation] += 1
        body = b"".join([piece async for piece in request.content.iter_any()])
        fault = self.fault(operation, self.calls[operation])
        if isinstance(fault, tuple):
            return web.json_response(fault[1], status=fault[0])
        if fault in ("drop", "hang"):
            return await self._break(request, fault)
        anthropic = request.path.startswith("/v1/messages")
        if operation == "results":
            return await self._stream(request, self._results(which[0], anthropic))
        if operation in ("poll", "file", "cancel") and not (
            which[0] in self.batches or which[0] in self.files
        ):
            return web.json_response({"error": {"message": "no such thing"}}, status=404)
        reply = getattr(self, f"_do_{operation}")(body, anthropic, *which)
        if fault is not None:
            return await self._break(request, fault.removesuffix(" after"))
        return web.json_response(reply)

    async def _break(self, request: web.Request, how: str) -> web.StreamResponse:
        if how == "hang":
            self.hanging.set()
            while request.transport is not None and not request.transport.is_closing():
                await asyncio.sleep(0.01)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    # -- the operations -----------------------------------------------------------------------

    def _do_upload(self, body: bytes, anthropic: bool) -> dict[str, Any]:
        head, _, rest = body.partition(b"application/jsonl\r\n\r\n")
        assert b'name="purpose"\r\n\r\nbatch\r\n' in head
        name = re.findall(rb'filename="([^"]+)"', head)[0].decode()
        content = rest[: rest.rindex(b"\r\n--")]
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = (name, content)
        return {"id": file_id, "object": "file", "filename": name, "status": "pending"}

    def _do_file(self, body: bytes, anthropic: bool, file_id: str) -> dict[str, Any]:
        return {"id": file_id, "filename": self.files[file_id][0], "status": "processed"}

    def _do_create(self, body: bytes, anthropic: bool) -> dict[str, Any]:
        asked = json.loads(body)
        if anthropic:
            lines = [{"custom_id": r["custom_id"], "body": r["params"]} for r in asked["requests"]]
            batch = self._new(lines, None, "")
        else:
            assert asked["completion_window"] == "24h"
            lines = [json.loads(x) for x in self.files[asked["input_file_id"]][1].splitlines()]
            assert all(line["url"] == asked["endpoint"] for line in lines)
            metadata = asked["metadata"] if self.keeps_metadata else None
            batch = self._new(lines, metadata, asked["input_file_id"])
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert all("stream" not in line["body"] for line in lines)
        return self._shown(batch, anthropic)

    def _new(self, lines: list[dict[str, Any]], metadata: Any, file: str) -> Batch:
        batch = Batch(f"batch-{len(self.batches)}", lines, metadata, file, self.polls)
        batch.error = self.refuse(lines)
        self.batches[batch.id] = batch
        return batch

    def _do_list(self, body: bytes, anthropic: bool) -> dict[str, Any]:
        shown = [self._shown(batch, anthropic) for batch in reversed(self.batches.values())]
        return {"data": shown, "has_more": False}

    def _do_poll(self, body: bytes, anthropic: bool, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch.status == "running":
            batch.polls_left -= 1
            if batch.polls_left < 0:
                self._end(batch, "failed" if batch.error else "ended", len(batch.lines))
        return self._shown(batch, anthropic)

    def _do_cancel(self, body: bytes, anthropic: bool, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        if batch.status == "running":
            self._end(batch, "cancelled", self.at_cancel)
        return self._shown(batch, anthropic)

    def _end(self, batch: Batch, status: str, count: int) -> None:
        batch.status = status
        for number, line in enumerate(batch.lines if status != "failed" else []):
            prompt = line["body"]["messages"][-1]["content"]
            fate = self.fate(prompt) if number < count else "cancelled"
            batch.outcomes[line["custom_id"]] = fate
            self.done[prompt] += fate is None

    def _do_chat(self, body: bytes, anthropic: bool) -> dict[str, Any]:
        prompt = json.loads(body)["messages"][-1]["content"]
        self.done[prompt] += 1
        self.online[prompt] += 1
        return self._answer(prompt, anthropic)

    # -- what they look like ------------------------------------------------------------------

    def _answer(self, prompt: str, anthropic: bool) -> dict[str, Any]:
        text = self.answer(prompt)
        if anthropic:
            return {
                "id": "m",
                "type": "message",
                "model": "tiny",
                "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 7, "output_tokens": 3},
            }
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        return {"id": "x", "model": "tiny", "choices": [choice], "usage": usage}

    def _shown(self, batch: Batch, anthropic: bool) -> dict[str, Any]:
        fates = list(batch.outcomes.values())
        good = sum(fate is None for fate in fates)
        if anthropic:
            running = batch.status == "running"
            stamp = datetime.fromtimestamp(batch.created, UTC).isoformat()
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            counts |= {"processing": len(batch.lines)} if running else {"succeeded": good}
            counts["errored"] += 0 if running else len(batch.lines) - good
            return {
                "id": batch.id,
                "created_at": stamp,
                "archived_at": None,
                "processing_status": "in_progress" if running else "ended",
                "request_counts": counts,
                "results_url": None if running else "https://elsewhere.example/results",
            }
        names = {"running": "In_progress", "ended": "completed"}  # Azure's are capitalised
        over = batch.status in ("ended", "cancelled")
        return {
            "id": batch.id,
            "created_at": int(batch.created),
            "status": names.get(batch.status, batch.status),
            "metadata": batch.metadata,
            "input_file_id": batch.input_file,
            "errors": {"data": [batch.error]} if batch.error and not batch.polls_left + 1 else None,
            "output_file_id": f"{batch.id}_out" if over and good else None,
            "error_file_id": f"{batch.id}_err" if over and good < len(fates) else "",
            "request_counts": {
                "total": len(batch.lines),
                "completed": good if over else None,
                "failed": len(fates) - good if over else None,
            },
        }

    def _results(self, which: str, anthropic: bool) -> Iterator[bytes]:
        batch_id, _, part = which.partition("_")
        batch = self.batches[batch_id]
        for line in batch.lines:
            fate = batch.outcomes[line["custom_id"]]
            if fate == "missing" or (part and (part == "out") != (fate is None)):
                continue
            if fate == "malformed":
                yield b'{"custom_id": "' + line["custom_id"].encode()[:20] + b"\n"
                continue
            render = self._anthropic_line if anthropic else self._openai_line
            yield json.dumps(render(line, fate)).encode() + b"\n"

    def _openai_line(self, line: dict[str, Any], fate: Any) -> dict[str, Any]:
        prompt = line["body"]["messages"][-1]["content"]
        shown: dict[str, Any] = {"custom_id": line["custom_id"], "response": None, "error": None}
        if isinstance(fate, str):
            return shown | {"error": {"code": f"batch_{fate}", "message": f"it {fate}"}}
        status, body = fate or (200, self._answer(prompt, False))
        return shown | {"response": {"status_code": status, "body": body, "request_id": "r"}}

    def _anthropic_line(self, line: dict[str, Any], fate: Any) -> dict[str, Any]:
        prompt = line["body"]["messages"][-1]["content"]
        result: dict[str, Any] = {"type": "expired" if fate == "expired" else "canceled"}
        if fate is None:
            result = {"type": "succeeded", "message": self._answer(prompt, True)}
        elif isinstance(fate, tuple):
            result = {"type": "errored", "error": {"type": "error", "error": fate[1]["error"]}}
        return {"custom_id": line["custom_id"], "result": result}

    async def _stream(self, request: web.Request, lines: Iterator[bytes]) -> web.StreamResponse:
        """Through `fault("line", n)` it breaks off in the middle."""
        response = web.StreamResponse()
        await response.prepare(request)
        async for number, line in _counted(lines):
            fault = self.fault("line", number)
            if fault is not None:
                return await self._break(request, fault)
            await response.write(line)
        await response.write_eof()
        return response


async def _counted(lines: Iterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    for number, line in enumerate(lines):
        yield number, line
