"""How fast the job service answers, and what open event streams cost.

    python benchmarks/service/answers.py [--jobs 1000] [--streams 200] [--asked 100]

The server is a process of its own over a socket on loopback; the workspace holds `--jobs` jobs of
which one in ten has a whole run folder. Every page is asked `--asked` times on one connection. Then
`--streams` event streams are opened by another process, and the seconds from the commit of an
event to its arrival at each of them are told, with the server's memory before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx2
from tests.jobs.dashboard import seeding
from tests.jobs.service import running

from mwalimu.config import build_config
from mwalimu.jobs.records import Role

EVENTS = 50
PAGES = (
    *(
        "/v1/me",
        "/v1/jobs",
        "/v1/jobs?limit=500",
        "/v1/jobs?state=Completed",
        "/v1/jobs?owner=sam",
    ),
    *("/v1/jobs?limit=100&before={middle}", "/v1/jobs/{job}", "/v1/jobs/{job}/config"),
    *("/v1/jobs/{job}/logs", "/v1/jobs/{job}/metrics", "/v1/jobs/{job}/progress"),
    *("/v1/jobs/{job}/funnel", "/v1/jobs/{job}/spend", "/v1/jobs/{job}/samples"),
    *("/v1/jobs/{job}/scores", "/v1/jobs/{job}/artefacts", "/v1/compare?jobs={job},{other}"),
    *("/v1/models", "/v1/datasets", "/v1/registry", "/v1/schema", "/v1/audit", "/v1/tokens"),
    *("/v1/events?after={newest}", "/", "/health"),
)


def serve(folder: str, jobs: int, pipe: Connection) -> None:
    with running(Path(folder)) as place:
        service = place.service
        config = build_config(seeding.CONFIG, base=Path(folder)).model_dump(mode="json")
        for i in range(jobs):
            name = f"job-{i:05}"
            if i % 10 == 0:
                seeding.completed(service, name, f"job {i}", config=config)
            else:
                service.store.cancel(seeding.queued(service, name, f"job {i}", config=config))
            if i % 5 == 0:
                service.models.add(f"model-{i:05}", job=name, folder=f"models/m/{name}")
        middle = service.store.jobs(limit=1, before=time.time())[0].created
        facts = {
            "url": place.url,
            "token": place.tokens[Role.ADMIN],
            "middle": middle,
            "newest": service.store.newest_event() - 100,
        }
        pipe.send(facts)
        lease = None
        while (order := pipe.recv()) != "end":
            if order == "memory":
                pipe.send(memory())
            else:  # speak
                lease = lease or seeding.started(service, "speaking", "a job that speaks")
                # The time of the commit goes along in the event itself.
                service.store.report(
                    lease, "progress", seeding.progress("finetune", order, EVENTS, str(time.time()))
                )
                pipe.send(None)


def memory() -> float:
    """MiB of this process that are in memory now."""
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def pages(facts: dict[str, Any], asked: int) -> list[tuple[str, float, float, int]]:
    """(page, median, 95th percentile in ms, bytes)."""
    names = {"job": "job-00000", "other": "job-00010"} | facts
    headers = {"Authorization": f"Bearer {facts['token']}"}
    found = []
    with httpx2.Client(base_url=facts["url"], headers=headers, timeout=60) as client:
        for page in PAGES:
            path, times, size = page.format(**names), [], 0
            for _ in range(asked):
                begun = time.perf_counter()
                answer = client.get(path)
                times.append((time.perf_counter() - begun) * 1000)
                assert answer.status_code == 200, f"{path}: {answer.text[:200]}"
                size = len(answer.content)
            found.append(
                (page, statistics.median(times), sorted(times)[math.ceil(asked * 0.95) - 1], size)
            )
    return found


def listen(facts: dict[str, Any], streams: int, pipe: Connection) -> None:
    """Opens the streams, says so, then tells how late each event came to each."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    pipe.send(asyncio.run(_listen(facts, streams, pipe)))


async def _listen(facts: dict[str, Any], streams: int, pipe: Connection) -> list[float]:
    host, port = facts["url"].removeprefix("http://").split(":")
    late: list[float] = []
    opened = asyncio.Semaphore(0)

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        request = f"GET /v1/events?follow=true HTTP/1.1\r\nHost: {host}:{port}\r\n"
        writer.write(f"{request}Authorization: Bearer {facts['token']}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        opened.release()
        last = False
        while not last:
            line = await reader.readline()
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if event.get("kind") == "progress":
                late.append(time.time() - float(event["data"]["note"]))
                last = event["data"]["done"] == EVENTS - 1
        writer.close()

    listeners = [asyncio.create_task(one()) for _ in range(streams)]
    for _ in listeners:
        await opened.acquire()
    pipe.send("open")
    await asyncio.wait_for(asyncio.gather(*listeners), 60)
    return late


def streamed(facts: dict[str, Any], streams: int, server: Connection) -> None:
    before = asked(server, "memory")
    ours, theirs = multiprocessing.Pipe()
    listener = multiprocessing.Process(target=listen, args=(facts, streams, theirs))
    listener.start()
    theirs.close()
    assert ours.recv() == "open"
    time.sleep(1)
    during = asked(server, "memory")
    for number in range(EVENTS):
        asked(server, number)
        time.sleep(0.35)  # longer than the service's own look at the store
    late = sorted(ours.recv())
    listener.join()
    print(f"\n{streams} event streams open, {EVENTS} events: {len(late)} of", end=" ")
    print(f"{streams * EVENTS} arrived (the store keeps the newest of progress)")
    print(f"  server's memory {before:.0f} -> {during:.0f} MiB,", end=" ")
    print(f"{(during - before) * 1024 / streams:.0f} KiB a stream")
    for share in (0.5, 0.95, 0.99, 1.0):
        at = late[min(len(late) - 1, int(len(late) * share))]
        print(f"  {share:4.0%} of events arrive within {at * 1000:.0f} ms of their commit")


def asked(pipe: Connection, order: Any) -> Any:
    pipe.send(order)
    return pipe.recv()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--asked", type=int, default=100, help="times, each page")
    parser.add_argument("--streams", type=int, default=200)
    given = parser.parse_args(arguments)
    multiprocessing.set_start_method("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(
            target=serve, args=(folder, given.jobs, theirs), daemon=True
        )
        server.start()
        facts = ours.recv()
        print(f"{given.jobs} jobs in the store, {given.asked} requests a page")
        print(f"{'page':42} {'median ms':>10} {'p95 ms':>8} {'KiB':>8}")
        for page, median, high, size in pages(facts, given.asked):
            print(f"{page:42} {median:10.1f} {high:8.1f} {size / 1024:8.1f}", flush=True)
        streamed(facts, given.streams, ours)
        ours.send("end")
        server.join()


if __name__ == "__main__":
    main()
