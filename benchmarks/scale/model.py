"""Stage 1 as a closed network of queues: what it can do, and what holds it back.

Every place in flight (`nodes` times `in_flight`) takes a row, waits for the teacher (a delay:
answers do not queue behind each other there), and passes the driver, which does one thing at a
time. Exact mean value analysis gives such a network's throughput (Reiser and Lavenberg,
"Mean-Value Analysis of Closed Multichain Queuing Networks", J. ACM 27(2), 1980); a provider's
quotas, the nodes' own cores and the disk only cut it off.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Costs:
    """What one answer costs. `driver_s` and `node_s` are seconds of one core there.

    `stored` is bytes in the answer store and in the run's files, `kept` bytes of the driver's
    memory; `latency_s` is the teacher's.
    """

    driver_s: float
    node_s: float
    latency_s: float
    stored: float
    kept: float
    prompt_tokens: float
    answer_tokens: float


@dataclass(frozen=True)
class Site:
    """Where it runs: quotas are a provider's, for all nodes; `disk` is bytes a second."""

    nodes: int
    in_flight: int
    cores: int = 4
    requests_per_minute: float = inf
    tokens_per_minute: float = inf
    disk: float = 200e6
    teacher_tokens_s: float = inf
    """Of one node's own teacher on its GPU; inf where the teacher is served elsewhere."""


@dataclass(frozen=True)
class Capacity:
    """`answers_s` a second; `limits` is what each part alone would allow, the least first."""

    answers_s: float
    limits: dict[str, float]

    @property
    def bottleneck(self) -> str:
        return next(iter(self.limits))


def capacity(costs: Costs, site: Site) -> Capacity:
    """Of one stage 1 that has been going for a while: no start, no rest at the end."""
    tokens = costs.prompt_tokens + costs.answer_tokens
    limits = {
        "answers in flight": site.nodes * site.in_flight / (costs.latency_s + costs.driver_s),
        "driver's core": 1 / costs.driver_s,
        "nodes' cores": site.nodes * site.cores / costs.node_s if costs.node_s else inf,
        "requests per minute": site.requests_per_minute / 60,
        "tokens per minute": site.tokens_per_minute / 60 / tokens,
        "nodes' GPUs": site.nodes * site.teacher_tokens_s / costs.answer_tokens,
        "disk": site.disk / costs.stored if costs.stored else inf,
    }
    network = throughput(site.nodes * site.in_flight, costs.latency_s, costs.driver_s)
    outside = min(limit for name, limit in limits.items() if name != "answers in flight")
    ranked = dict(sorted(limits.items(), key=lambda item: item[1]))
    return Capacity(min(network, outside), ranked)


def throughput(customers: int, think_s: float, service_s: float) -> float:
    """Answers a second of `customers` that wait `think_s` and then queue for one server.

    Exact for exponential services; for constant ones, as a driver's nearly are, a little low near
    the knee, where both limits are alike.
    """
    if service_s == 0:
        return customers / think_s
    queue = 0.0
    rate = 0.0
    for present in range(1, customers + 1):
        response = service_s * (1 + queue)
        rate = present / (think_s + response)
        queue = rate * response
    return rate
