"""Holds a server at saturation, with clients that behave and clients that do not: what breaks?

    python benchmarks/serving/soak.py FOLDER --minutes 10

The server is a process of its own. Beside clients that read whole answers and streams there are
those that hang up (before the answer, and in the middle of a stream), send garbage, stop in the
middle of a head or a body, and read a stream slowly or not at all. Exits with 1 where memory or
descriptors or threads grow, a slot or a place in the queue is not given back, tokens stop coming,
or a response is a 5xx other than 503.
"""

import argparse
import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

SETTLES = 45.0  # seconds: a reader that does not read is given up after 30
STALLED = 10.0  # seconds without a token, at saturation
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@dataclass
class Seen:
    """What clients saw, as (kind, status); `answers` holds each question's greedy answers."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: dict[str, Counter[str]] = field(default_factory=dict)

    def unwanted(self) -> list[str]:
        return [s for _, s in self.statuses if s.startswith("5") and s != "503"]


@dataclass(frozen=True)
class Sample:
    at: float
    rss: float  # MB
    descriptors: int
    threads: int
    slots: int
    queued: int
    tokens: int


@dataclass(frozen=True)
class World:
    port: int
    session: aiohttp.ClientSession
    seen: Seen
    chance: random.Random

    def body(self, **options: Any) -> dict[str, Any]:
        number = self.chance.randrange(20)
        messages = [{"role": "user", "content": f"Question {number}: what is {number}?"}]
        tokens = self.chance.randint(1, 48)
        return {"model": "m", "messages": messages, "max_tokens": tokens} | options

    def post(self, body: dict[str, Any]) -> Any:
        return self.session.post(f"http://127.0.0.1:{self.port}/v1/chat/completions", json=body)

    async def connect(self, buffer: int | None = None) -> tuple[Any, Any]:
        raw = socket.socket()
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=raw, limit=1024)

    def head(self, length: int) -> bytes:
        text = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        return f"{text}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


async def whole(world: World) -> str:
    body = world.body(temperature=0, max_tokens=24)
    async with world.post(body) as response:
        found = await response.json(content_type=None) if response.status == 200 else None
    if found:
        question = body["messages"][0]["content"]
        text = found["choices"][0]["message"]["content"]
        world.seen.answers.setdefault(question, Counter())[text] += 1
    return str(response.status)


async def schema(world: World) -> str:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    async with world.post(world.body(response_format=form)) as response:
        await response.read()
    return str(response.status)


async def stream(world: World) -> str:
    async with world.post(world.body(stream=True, n=world.chance.randint(1, 3))) as response:
        async for _ in response.content:
            pass
    return str(response.status)


async def hangs_up_early(world: World) -> str:
    payload = json.dumps(world.body(max_tokens=200)).encode()
    _, writer = await world.connect()
    writer.write(world.head(len(payload)) + payload)
    await asyncio.sleep(world.chance.random() * 0.1)
    writer.transport.abort()
    return "-"


async def hangs_up_midway(world: World) -> str:
    async with world.post(world.body(stream=True, max_tokens=200)) as response:
        async for _ in response.content:
            if world.chance.random() < 0.3:
                response.close()
                break
    return str(response.status)


async def garbage(world: World) -> str:
    noise = world.chance.randbytes(world.chance.randrange(1, 4000))
    payload = json.dumps(world.body()).encode()
    cut = world.chance.randrange(len(payload))
    sent = world.chance.choice(
        [
            noise,
            world.head(len(noise)) + noise,
            world.head(cut) + payload[:cut],
            world.head(len(payload))[:40],
            world.head(2 * len(payload)) + payload,
            world.head(1 << 40),
        ]
    )
    reader, writer = await world.connect()
    try:
        writer.write(sent)
        status = await asyncio.wait_for(reader.read(12), world.chance.choice([0.2, 12]))
        return status[9:12].decode("ascii", "replace") or "closed"
    except TimeoutError:
        return "-"
    finally:
        writer.transport.abort()


async def reads_slowly(world: World) -> str:
    """A little at a time; some stop reading and only hold on."""
    much: dict[str, Any] = {"max_tokens": 200, "temperature": 2, "n": 2}
    much |= {"logprobs": True, "top_logprobs": 20}
    payload = json.dumps(world.body(stream=True, **much)).encode()
    reader, writer = await world.connect(buffer=2048)
    try:
        writer.write(world.head(len(payload)) + payload)
        first = await reader.read(12)
        if world.chance.random() < 0.2:
            await asyncio.sleep(35)
        while await reader.read(512):
            await asyncio.sleep(0.02)
        return first[9:12].decode("ascii", "replace")
    finally:
        writer.transport.abort()


KINDS: dict[Callable[[World], Awaitable[str]], int] = {
    whole: 16,
    schema: 3,
    stream: 16,
    hangs_up_early: 6,
    hangs_up_midway: 6,
    garbage: 6,
    reads_slowly: 12,
}


async def client(world: World, kind: Callable[[World], Awaitable[str]]) -> None:
    while True:
        try:
            status = await kind(world)
        except (aiohttp.ClientError, OSError):
            status = "closed"
        world.seen.statuses[kind.__name__, status] += 1
        await asyncio.sleep(0.05 if status == "200" else 0.2)


async def metrics(world: World) -> list[str]:
    """Asked for again where all connections are taken, which is a plain 503."""
    while True:
        async with world.session.get(f"http://127.0.0.1:{world.port}/metrics") as response:
            if response.status == 200:
                return (await response.text()).splitlines()
        await asyncio.sleep(0.05)


async def sample(process: int, world: World, start: float) -> Sample:
    lines = await metrics(world)
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    kept = {line.partition(":")[0]: line.split()[1] for line in status if len(line.split()) > 1}
    return Sample(
        at=time.monotonic() - start,
        rss=int(kept["VmRSS"]) / 1000,
        descriptors=sum(1 for _ in Path(f"/proc/{process}/fd").iterdir()),
        threads=int(kept["Threads"]),
        slots=int(float(values["mwalimu_slots_in_use"])),
        queued=int(float(values["mwalimu_queue_depth"])),
        tokens=int(float(values["mwalimu_completion_tokens_total"])),
    )


async def soak(process: int, port: int, seconds: float) -> tuple[list[Sample], Seen]:
    """The first sample is of the idle server, the last of the server left alone again."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        world = World(port, session, Seen(), random.Random(0))
        while not await is_healthy(world):
            await asyncio.sleep(0.1)
        start = time.monotonic()
        samples = [await sample(process, world, start)]
        kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
        clients = [asyncio.ensure_future(client(world, kind)) for kind in kinds]
        while time.monotonic() - start < seconds:
            await asyncio.sleep(1)
            samples.append(await sample(process, world, start))
            if len(samples) % 30 == 0:
                print(samples[-1], dict(world.seen.statuses), flush=True)
        for one in clients:
            one.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    async with aiohttp.ClientSession() as session:
        alone = World(port, session, world.seen, world.chance)
        await asyncio.sleep(SETTLES)
        return [*samples, await sample(process, alone, start)], world.seen


async def is_healthy(world: World) -> bool:
    with suppress(aiohttp.ClientError):
        async with world.session.get(f"http://127.0.0.1:{world.port}/health") as response:
            return response.status == 200
    return False


def harm(samples: list[Sample], seen: Seen) -> list[str]:
    """What is wrong, a line each."""
    before, busy, after = samples[0], samples[1:-1], samples[-1]
    fifth = max(1, len(busy) // 5)
    early = statistics.median(one.rss for one in busy[fifth : 2 * fifth] or busy)
    late = statistics.median(one.rss for one in busy[-fifth:])
    found = [f"a response was {status}" for status in seen.unwanted()]
    if late > 1.05 * early:
        found.append(f"memory grew from {early:.0f} to {late:.0f} MB")
    if after.slots or after.queued:
        found.append(f"{after.slots} slots and {after.queued} places in the queue were not freed")
    if after.descriptors > before.descriptors + 4:
        found.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if after.threads > before.threads + 4:
        found.append(f"threads grew from {before.threads} to {after.threads}")
    moved = busy[0].at
    for last, one in pairwise(busy):
        moved = one.at if one.tokens > last.tokens else moved
        if one.at - moved > STALLED:
            found.append(f"no token came for {STALLED:.0f} s after {moved:.0f} s")
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--queue", type=int, default=16)
    parser.add_argument("--port", type=int, default=8766)
    given = parser.parse_args()
    command = [sys.executable, "-m", "mwalimu", "serve", str(given.folder), "--name", "m"]
    command += ["--port", str(given.port), "--slots", str(given.slots)]
    command += ["--queue", str(given.queue)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            samples, seen = asyncio.run(soak(server.pid, given.port, 60 * given.minutes))
        finally:
            server.terminate()
    busy, most = samples[1:-1], max(one.rss for one in samples)
    print("idle   ", samples[0])
    print("early  ", busy[len(busy) // 5])
    print("late   ", busy[-1])
    print("settled", samples[-1])
    full = statistics.mean(one.slots for one in busy) / given.slots
    print(f"{full:.0%} of slots in use, at most {most:.0f} MB, {samples[-1].tokens} tokens")
    for (kind, status), count in sorted(seen.statuses.items()):
        print(f"  {kind:16} {status:8} {count}")
    print(f"questions with more than one greedy answer: {_several(seen)} of {len(seen.answers)}")
    found = harm(samples, seen)
    if server.returncode:
        found.append(f"the server ended with {server.returncode}")
    print("\n".join(f"HARM: {line}" for line in found) or "no harm")
    sys.exit(bool(found))


def _several(seen: Seen) -> int:
    return sum(len(one) > 1 for one in seen.answers.values())


if __name__ == "__main__":
    main()
