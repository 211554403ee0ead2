"""Who is asked under load: the student in this process, or a server that speaks OpenAI's wire."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from mwalimu.config import LoadConfig
from mwalimu.data.record import Record
from mwalimu.errors import ConfigError
from mwalimu.evaluation.generate import Answerer
from mwalimu.evaluation.load import Ask, Served, closed_loop, open_loop

KEY = "MWALIMU_LOAD_KEY"
TIMEOUT_S = 120.0


def under_load(settings: LoadConfig, ask: Ask, *, seed: int) -> list[dict[str, Any]]:
    """One closed loop for each number of clients, then the open one where there is a rate."""
    found = [closed_loop(ask, settings.requests, clients) for clients in settings.clients]
    if settings.rate:
        found.append(open_loop(ask, settings.requests, settings.rate, seed))
    return found


def local_ask(answerer: Answerer, records: Sequence[Record]) -> Ask:
    """One model answers one request at a time: who comes meanwhile waits."""
    prompts = answerer.encode(records)
    fitting = [prompts[i] for i in answerer.fitting(prompts)]
    if not fitting:
        raise ConfigError("no test row fits the student's context", where="evaluate.load")
    lock = threading.Lock()

    def ask(number: int) -> Served:
        with lock:
            (answer,) = answerer.answer([fitting[number % len(fitting)]])
        return Served(None, answer.tokens)

    return ask


def server_ask(settings: LoadConfig, records: Sequence[Record], *, max_tokens: int) -> Ask:
    """Streamed, greedy; the key, if there is one, is in $MWALIMU_LOAD_KEY.

    Tokens are counted as pieces of the stream that hold text.
    """
    url = f"{settings.url}/chat/completions"
    if not url.startswith(("http://", "https://")):
        raise ConfigError("is no http address", where="evaluate.load.url", fix="as http://host/v1")
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {key}"

    def ask(number: int) -> Served:
        record = records[number % len(records)]
        body = {
            "model": settings.model,
            "messages": [message.to_json() for message in record.messages],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
        }
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return _read_stream(response, started)

    return ask


def _read_stream(response: Any, started: float) -> Served:
    first, tokens = None, 0
    for line in response:
        piece = line.strip().removeprefix(b"data:").strip()
        if not piece or piece == b"[DONE]":
            continue
        try:
            choices = json.loads(piece).get("choices") or [{}]
        except ValueError:
            raise OSError("the server's stream is no JSON") from None
        if (choices[0].get("delta") or {}).get("content"):
            first = first or time.perf_counter() - started
            tokens += 1
    return Served(first, tokens)
