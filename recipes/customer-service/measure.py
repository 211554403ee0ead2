"""What an answer takes: servers side by side, asked in turns, so that a busy machine is fair.

Seconds are taken by the clock and as the server's own processor time. With one thread a model the
second is what the first would be on an idle core, whatever else runs on the machine.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job import MAX_ANSWER
from servers import SLOTS, Arm, Server

from mwalimu.data.tokenize import encode_prompt
from mwalimu.evaluation.load import closed_loop
from mwalimu.progress import Progress
from mwalimu.serving.opening import open_served
from mwalimu.shipping.launch import in_subprocess
from mwalimu.shipping.trial import Job

Chats = Sequence[Sequence[dict[str, Any]]]

WARM_UP = 3
CLIENTS = 8
LADDER = (1, 2, 4, 8, 16)
P95_FACTOR = 2.0
"""The bound that all have to keep: so many times the first arm's 95th percentile, asked alone."""


@dataclass(frozen=True)
class Effort:
    """How much is asked: rows one at a time, rounds under load, requests of each."""

    rows: int = 200
    rounds: int = 6
    requests: int = 96


def measure(
    arms: Sequence[Arm], chats: Chats, effort: Effort, logs: Path, note: Progress
) -> dict[str, Any]:
    """By arm: `latency` (a row each), `load` and `within` a common p95 (a round each), memory.

    The first arm is the one whose latency sets the bound.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(arm, logs / f"{arm.name}.log")) for arm in arms]
        loaded = [server.memory_mib("VmRSS") for server in servers]
        latency = _one_at_a_time(servers, chats, effort, note)
        load = _under_load(servers, chats, effort, note)
        bound = P95_FACTOR * _p95(latency[arms[0].name]["clock_s"])
        within = _within(servers, chats, effort, bound, note)
        peak = [server.memory_mib() for server in servers]
    alone = [_alone_mib(arm, chats[: effort.requests], logs / "alone" / arm.name) for arm in arms]
    return {
        "bound_p95_s": bound,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[1],
        "arms": {
            arm.name: {
                "parameters": arm.parameters,
                "weights_mib": arm.weights_mib,
                "loaded_mib": loaded[i],
                "peak_mib": peak[i],
                "alone_mib": alone[i],
                "latency": latency[arm.name],
                "load": load[arm.name],
                "within": within[arm.name],
            }
            for i, arm in enumerate(arms)
        },
    }


def _alone_mib(arm: Arm, chats: Chats, out: Path) -> float:
    """The peak of a process that holds the runtime alone: ids in, ids out, no HTTP, no text."""
    found = open_served(arm.folder, None)
    shutil.rmtree(out, ignore_errors=True)
    trial = Job(
        folder=str(arm.folder),
        file_mib=arm.weights_mib,
        parameters=arm.parameters,
        prompts=[encode_prompt(found.encoding, chat) for chat in chats],
        ends=sorted(found.ends),
        max_tokens=MAX_ANSWER,
        slots=SLOTS,
        threads=1,
        parity=(),
        logits="",
        wanted=arm.name,
        out=str(out),
    )
    return float(in_subprocess(trial, lambda done: None).performance.peak_memory_mib or 0)


def _one_at_a_time(
    servers: Sequence[Server], chats: Chats, effort: Effort, note: Progress
) -> dict[str, dict[str, list[float]]]:
    """Each row is put to every arm, one after another, so pairs share the machine's mood."""
    asks = {server.arm.name: server.asking(chats) for server in servers}
    for ask in asks.values():
        for number in range(WARM_UP):
            ask(number)
    found: dict[str, dict[str, list[float]]] = {name: {"clock_s": [], "cpu_s": []} for name in asks}
    for row in range(effort.rows):
        for server in servers:
            name = server.arm.name
            cpu, clock = server.cpu_seconds(), time.perf_counter()
            asks[name](row)
            found[name]["clock_s"].append(time.perf_counter() - clock)
            found[name]["cpu_s"].append(server.cpu_seconds() - cpu)
        note("one at a time", row + 1, effort.rows, "")
    return found


def _under_load(
    servers: Sequence[Server], chats: Chats, effort: Effort, note: Progress
) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {server.arm.name: [] for server in servers}
    for done in range(effort.rounds):
        for server in servers:
            found[server.arm.name].append(_round(server, chats, effort.requests, CLIENTS))
        note("under load", done + 1, effort.rounds, "")
    return found


def _within(
    servers: Sequence[Server], chats: Chats, effort: Effort, bound: float, note: Progress
) -> dict[str, list[dict[str, float]]]:
    """As many clients as each arm bears within the bound, then rounds with so many, in turns."""
    clients = {server: _clients_within(server, chats, effort, bound, note) for server in servers}
    found: dict[str, list[dict[str, float]]] = {server.arm.name: [] for server in servers}
    for done in range(effort.rounds):
        for server in servers:
            one = _round(server, chats, effort.requests, clients[server])
            found[server.arm.name].append(one)
        note(f"with p95 within {bound:.3f} s", done + 1, effort.rounds, "")
    return found


def _clients_within(
    server: Server, chats: Chats, effort: Effort, bound: float, note: Progress
) -> int:
    """Of the ladder's numbers the one with the most answers a second; one where none fits."""
    best, most = 1, 0.0
    for done, clients in enumerate(LADDER, 1):
        found = _round(server, chats, effort.requests, clients)
        if found["p95_s"] <= bound and found["per_s"] > most:
            best, most = clients, found["per_s"]
        note(f"how many clients: {server.arm.name}", done, len(LADDER), "")
    return best


def _round(server: Server, chats: Chats, requests: int, clients: int) -> dict[str, float]:
    """Clients that ask again when they are answered; answers a second, processor time of one."""
    cpu = server.cpu_seconds()
    found = closed_loop(server.asking(chats), requests, clients)
    if found["failed"]:
        raise OSError(f"{found['failed']} of {requests} requests to {server.arm.name} failed")
    # closed_loop warms up with two requests that it does not count.
    answered = requests + min(requests, 2)
    return {
        "clients": clients,
        "per_s": found["requests_per_s"],
        "p95_s": found["latency_s"]["p95"],
        "cpu_s": (server.cpu_seconds() - cpu) / answered,
    }


def _p95(seconds: Sequence[float]) -> float:
    import numpy as np

    return float(np.percentile(seconds, 95))
