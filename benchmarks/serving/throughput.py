"""The server under concurrent clients against the same decoder asked directly.

    python benchmarks/serving/throughput.py FOLDER --clients 1 8 32 --requests 64 --tokens 64
    python benchmarks/serving/throughput.py FOLDER --endless --stream --peer

The server runs in this process, its clients in another; in each round the decoder alone (greedy,
as many slots as the clients can fill) and the server take turns. Shares are medians over rounds:
of tokens a second by the clock, and by this process's processor time, which other work on the
machine does not move. Both runtimes have one thread. `--endless` takes the ends of turns away, so
that every answer has --tokens.
`--peer` also asks plain transformers behind FastAPI: `generate`, one request at a time.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Response

from mwalimu.data.loading import load_causal_lm
from mwalimu.data.tokenize import encode_prompt
from mwalimu.runtimes import Decoder, load_decoder
from mwalimu.runtimes.generation import greedy
from mwalimu.serving.app import create_app
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.opening import Served, open_served
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.server import Server
from mwalimu.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Load:
    clients: int
    requests: int
    tokens: int
    stream: bool


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second, by the clock and by the processor time of the one who made them."""

    clock: float
    processor: float


def question(i: int) -> str:
    return f"Question {i}: what is {i} + {i}?"


def messages(i: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": question(i)}]


async def asked(url: str, load: Load) -> tuple[int, float, list[float]]:
    """Generated tokens, the seconds of all, and those of each request."""
    left, seconds, total = iter(range(load.requests)), [], 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal total
        for i in left:
            body = {"model": "m", "messages": messages(i), "temperature": 0}
            body |= {"max_tokens": load.tokens, "stream": load.stream}
            if load.stream:
                body["stream_options"] = {"include_usage": True}
            start = time.perf_counter()
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                response.raise_for_status()
                answer = await response.read()
            seconds.append(time.perf_counter() - start)
            last = answer.rsplit(b"data: ", 2)[1] if load.stream else answer
            total += orjson.loads(last)["usage"]["completion_tokens"]

    async with aiohttp.ClientSession() as session:
        start = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(load.clients)))
        return total, time.perf_counter() - start, seconds


def clients(url: str, load: Load) -> tuple[int, float, list[float]]:
    return asyncio.run(asked(url, load))


@contextmanager
def served(folder: Path, found: Served, slots: int, port: int) -> Iterator[str]:
    load = partial(load_decoder, folder, slots=slots, threads=1)
    engine = Engine(load, found.decoding, found.ends, queue=256, metrics=Metrics())
    app = create_app(engine, found.encoding, Settings("m"))
    server = Server(app, engine, host="127.0.0.1", port=port, queue=256)
    with _running(partial(server.serve_until_drained, on_started=lambda: None)):
        while engine.state != "serving":
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        engine.drain()


@contextmanager
def plain(folder: Path, found: Served, port: int) -> Iterator[str]:
    """What one would write in an afternoon: `generate` behind FastAPI, in its thread pool."""
    model, tokenizer = load_causal_lm(str(folder))
    app, turn = FastAPI(), threading.Lock()

    @app.post("/v1/chat/completions")
    def chat(body: dict[str, Any]) -> Response:
        inputs = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with turn:
            ids = model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=body["max_tokens"],
                eos_token_id=sorted(found.ends) or None,
            )
        own = ids[0, inputs["input_ids"].shape[1] :]
        text = tokenizer.decode(own, skip_special_tokens=True)
        answer = {"choices": [{"message": {"content": text}}]}
        return Response(orjson.dumps(answer | {"usage": {"completion_tokens": len(own)}}))

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    with _running(server.run):
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True


@contextmanager
def _running(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def alone(decoder: Decoder, found: Served, load: Load) -> Speed:
    prompts = [encode_prompt(found.encoding, messages(i)) for i in range(load.requests)]
    clock, processor = time.perf_counter(), time.process_time()
    answers = greedy(decoder, prompts, ends=found.ends, max_tokens=load.tokens)
    total = sum(map(len, answers))
    return Speed(total / (time.perf_counter() - clock), total / (time.process_time() - processor))


def measured(pool: Any, url: str, load: Load) -> tuple[Speed, list[float]]:
    processor = time.process_time()
    total, clock, seconds = pool.apply(clients, (url, load))
    return Speed(total / clock, total / (time.process_time() - processor)), seconds


def compare(pool: Any, decoder: Decoder, found: Served, url: str, load: Load, rounds: int) -> str:
    pairs, seconds = [], []
    for _ in range(rounds):
        own = alone(decoder, found, load)
        speed, each = measured(pool, url, load)
        pairs.append((speed, own))
        seconds += each
    clock = statistics.median(one.clock / own.clock for one, own in pairs)
    processor = statistics.median(one.processor / own.processor for one, own in pairs)
    speed, own = (statistics.median(pair[i].clock for pair in pairs) for i in (0, 1))
    at = statistics.quantiles(seconds, n=100, method="inclusive")
    return (
        f"{speed:.0f} tokens/s, decoder alone {own:.0f}: {clock:.0%} by the clock, "
        f"{processor:.0%} by processor time; "
        f"p50/p95/p99 {1000 * at[49]:.1f}/{1000 * at[94]:.1f}/{1000 * at[98]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--port", type=int, default=8767)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--endless", action="store_true")
    parser.add_argument("--peer", action="store_true")
    given = parser.parse_args()
    found = open_served(given.folder, "m")
    if given.endless:
        found = Served(found.folder, found.name, found.encoding, found.decoding, frozenset())
    servers = {"mwalimu": partial(served, given.folder, found, given.slots)}
    if given.peer and not given.stream:
        servers["transformers behind FastAPI"] = partial(plain, given.folder, found)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for name, start in servers.items():
            with start(given.port) as url:
                for count in given.clients:
                    load = Load(count, given.requests, given.tokens, given.stream)
                    pool.apply(clients, (url, load))
                    slots = min(count, given.slots)
                    decoder = load_decoder(given.folder, slots=slots, threads=1)
                    alone(decoder, found, load)
                    line = compare(pool, decoder, found, url, load, given.rounds)
                    print(f"{name}, {count} clients: {line}", flush=True)


if __name__ == "__main__":
    main()
