"""The same stage 1, played through event by event: nothing of the model's mathematics is in it.

Each of the nodes' places takes the next row, asks the teacher, whose latencies scatter, and hands
the answer to the driver, which serves first come, first served. A provider's quota is a bucket that
fills evenly; nodes may die, and their places are gone for `away_s`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random

from model import Costs, Site


@dataclass(frozen=True)
class Played:
    """`answers_s` a second between the first and the last fifth; `repeated` were asked twice."""

    answers_s: float
    repeated: int


def simulate(
    costs: Costs,
    site: Site,
    *,
    answers: int,
    spread: float = 0.3,
    seed: int = 0,
    deaths_s: tuple[float, ...] = (),
    away_s: float = 10.0,
) -> Played:
    """`spread` is the standard deviation of the logarithm of a latency; the mean stays.

    At each of `deaths_s` one node dies: those that are left ask again what it had in flight.
    """
    play = _Play(costs, site, spread, Random(seed))
    for number, moment in enumerate(deaths_s):
        play.at(moment, "dies", number % site.nodes)
        play.at(moment + away_s, "returns", number % site.nodes)
    return play.run(answers)


class _Play:
    def __init__(self, costs: Costs, site: Site, spread: float, chance: Random) -> None:
        self.costs, self.site, self.spread, self.chance = costs, site, spread, chance
        self.events: list[tuple[float, int, str, int, int]] = []
        self.number = 0
        self.free_at = 0.0  # the driver
        self.quota_at = 0.0  # when the next request may go out
        self.life = [0] * site.nodes  # counts deaths: what was asked in an earlier life is lost
        self.flying = [0] * site.nodes
        self.repeated = 0

    def at(self, moment: float, kind: str, node: int, life: int = 0) -> None:
        self.number += 1
        heapq.heappush(self.events, (moment, self.number, kind, node, life))

    def run(self, answers: int) -> Played:
        ends: list[float] = []
        for node in range(self.site.nodes):
            self._fill(0.0, node)
        while len(ends) < answers:
            now, _, kind, node, life = heapq.heappop(self.events)
            if kind == "dies":
                self.repeated += self.flying[node]
                self.life[node] += 1
                self.flying[node] = 0
            elif kind == "returns":
                self._fill(now, node)
            elif life == self.life[node] and kind == "answers":
                self.free_at = max(now, self.free_at) + self.costs.driver_s
                self.at(self.free_at, "settled", node, life)
            elif life == self.life[node]:
                ends.append(now)
                self.flying[node] -= 1
                self._ask(now, node)
        first, last = answers // 5, answers - answers // 5
        rate = (last - first) / (ends[last - 1] - ends[first - 1])
        return Played(rate, self.repeated)

    def _fill(self, now: float, node: int) -> None:
        for _ in range(self.site.in_flight):
            self._ask(now, node)

    def _ask(self, now: float, node: int) -> None:
        """The quota is taken when the request goes out; the wait for it is before the teacher's."""
        tokens = self.costs.prompt_tokens + self.costs.answer_tokens
        quotas = (1 / self.site.requests_per_minute, tokens / self.site.tokens_per_minute)
        gap = 60 * max(quotas)
        self.quota_at = max(now, self.quota_at + gap) if gap else now
        self.flying[node] += 1
        self.at(self.quota_at + self._latency(), "answers", node, self.life[node])

    def _latency(self) -> float:
        drawn = self.chance.lognormvariate(-(self.spread**2) / 2, self.spread)
        return self.costs.latency_s * drawn
