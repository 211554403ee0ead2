"""An estimate as people and as programs read it: every number with what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mwalimu.config import TeacherConfig
from mwalimu.estimate.memory_text import memory_json, memory_lines
from mwalimu.estimate.plan import ON_MACHINE
from mwalimu.estimate.signal_side import Kept
from mwalimu.estimate.spans import Span
from mwalimu.estimate.teacher_side import Cost, PlaceCost
from mwalimu.estimate.training_side import Training
from mwalimu.finetune.footprint import gib

HOURS = 120.0  # minutes from which hours are shown
FREE = ON_MACHINE | {"fake"}


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe did now; `usd` is None where a price is unknown.

    `kept`: the answers are in the answer store.
    """

    rows: int
    sent: int
    reused: int
    usd: float | None
    outcomes: dict[str, int]
    kept: bool


@dataclass(frozen=True, slots=True)
class Cap:
    """One of the budget's: `needed` on top of what the run has `spent`; None where unknown."""

    name: str
    cap: float
    spent: float
    needed: Span | None

    @property
    def verdict(self) -> str:
        if self.needed is None:
            return "the price is unknown, so the run will refuse to begin"
        if self.spent + self.needed.high <= self.cap:
            return "the high end fits"
        fate = "a run stops there and keeps what it bought"
        if self.spent + self.needed.low <= self.cap:
            return f"may not be enough, the high end does not fit; {fate}"
        return f"not enough; {fate}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """`rows` by split; `repeated` of them have the prompt of another; `cost` is of all `places`."""

    rows: dict[str, int]
    repeated: int
    places: tuple[PlaceCost, ...]
    cost: Cost
    caps: tuple[Cap, ...]
    signals: tuple[Kept, ...]
    training: Training
    terms: tuple[str, ...]
    probed: Probed | None = None

    def lines(self) -> list[str]:
        """For people."""
        lines = [_line("rows", self._rows())]
        if self.probed is not None:
            lines.append(_line("probe", _probe(self.probed, self.places[0].teacher)))
        for place in self.places:
            lines += _place_lines(place)
        if len(self.places) > 1:
            lines.append(_line("all teachers", _all(self.cost)))
        lines += [_line(f"budget.{cap.name}", _cap(cap)) for cap in self.caps]
        lines += [_line("signals", _signals(kept)) for kept in self.signals]
        lines += _training_lines(self.training)
        lines += [_line("terms", notice) for notice in self.terms]
        return lines

    def to_json(self) -> dict[str, Any]:
        """For programs: every range as {mid, low, high}, every unknown as null."""
        memory = self.training.memory
        return {
            "rows": self.rows,
            "repeated": self.repeated,
            "teachers": [
                {
                    "stage": place.stage,
                    "place": place.key,
                    "model": place.teacher.model,
                    "planned": place.planned,
                    "stored": place.stored,
                    "basis": place.basis,
                }
                | _cost_json(place.cost)
                for place in self.places
            ],
            "total": _cost_json(self.cost),
            "budget": [
                {
                    "name": cap.name,
                    "cap": cap.cap,
                    "spent": cap.spent,
                    "needed": _span_json(cap.needed),
                    "verdict": cap.verdict,
                }
                for cap in self.caps
            ],
            "signals": [
                {"encoding": kept.encoding, "bytes": _span_json(kept.bytes)}
                for kept in self.signals
            ],
            "training": {
                "tokens": self.training.tokens.to_json(),
                "basis": self.training.basis,
                "parameters": self.training.parameters,
                "memory": memory and memory_json(memory),
            },
            "terms": list(self.terms),
            "probe": None if self.probed is None else _probe_json(self.probed),
        }

    def _rows(self) -> str:
        text = ", ".join(f"{count:,} {split}" for split, count in self.rows.items())
        if not self.repeated:
            return text
        return f"{text}; {self.repeated:,} repeat an earlier prompt and cost nothing"


def dollars(usd: Span) -> str:
    """`$12.40 (9.80 to 15.10)`; four digits below a dollar."""
    if not usd.high:
        return "$0"
    return usd.shown(",.2f" if usd.high >= 1 else ",.4f", unit="$")


def _place_lines(place: PlaceCost) -> Iterator[str]:
    cost, basis = place.cost, place.basis
    stage = "" if place.stage == "generate" else f" in stage {place.stage}"
    route = place.teacher.route or place.teacher.resolved_kind
    yield _line(f"{place.key}{stage}", f"{place.teacher.model} ({route})")
    requests = cost.requests.shown()
    if place.stored:
        requests += f", as at least {place.stored:,} of {place.planned:,} are answered in the store"
    yield _part("requests", requests, basis["requests"])
    yield _part("prompt tokens", cost.prompt_tokens.shown(), basis["prompt"])
    yield _part("answer tokens", cost.answer_tokens.shown(), basis["answer"])
    yield _part("cost", _usd(place), _price_basis(place))
    yield _part("time", _time(cost.minutes), basis["time"])


def _usd(place: PlaceCost) -> str:
    if place.cost.usd is not None:
        return dollars(place.cost.usd)
    prices = f"{place.key}.usd_per_million_input and _output"
    return f"unknown: set {prices} (0 for a server of your own)"


def _price_basis(place: PlaceCost) -> str:
    teacher = place.teacher
    if teacher.resolved_kind in FREE:
        return "on this machine"
    if teacher.usd_per_million_input is None or teacher.usd_per_million_output is None:
        return ""
    prices = (
        f"${teacher.usd_per_million_input:g} in and ${teacher.usd_per_million_output:g} out a "
        f"million tokens{_listed(teacher)}"
    )
    if not place.in_batches:
        return prices
    if teacher.batch_factor is None:
        return f"{prices}, the full price, for teacher.batch_factor is not known"
    return f"{prices}, x{teacher.batch_factor:g} in batches; what they leave out costs it all"


def _listed(teacher: TeacherConfig) -> str:
    """When the registry's price was stated."""
    from mwalimu.registry import find

    known = find(teacher.identity or teacher.model)
    for route in known.routes if known else ():
        price = route.price
        if route.name == teacher.route and price and price.input == teacher.usd_per_million_input:
            return f", as listed on {price.date}"
    return ""


def _time(minutes: Span | None) -> str:
    if minutes is None:
        return "unknown"
    if minutes.mid >= HOURS:
        return f"{(minutes * (1 / 60)).shown(',.1f')} h"
    return f"{minutes.shown(',.0f' if minutes.mid >= 10 else ',.1f')} min"


def _all(cost: Cost) -> str:
    usd = "unknown cost" if cost.usd is None else dollars(cost.usd)
    return f"{cost.requests.shown()} requests, {usd}, {_time(cost.minutes)}"


def _cap(cap: Cap) -> str:
    form, unit = (",.2f", "$") if cap.name == "usd" else (",.0f", "")
    spent = f", {unit}{format(cap.spent, form)} spent by this run" if cap.spent else ""
    return f"{unit}{format(cap.cap, form)}{spent}: {cap.verdict}"


def _probe(probed: Probed, teacher: TeacherConfig) -> str:
    usd = "at an unknown price" if probed.usd is None else f"for ${probed.usd:,.4f}"
    usd += ", online at the full price" if teacher.mode == "batch" else ""
    outcomes = ", ".join(f"{n:,} {status}" for status, n in sorted(probed.outcomes.items()))
    fate = "the answers are in the store, and are not bought again"
    if not probed.kept:
        fate = "the answers of a model on this machine are not kept"
    return (
        f"{probed.rows:,} rows asked now ({outcomes}): {probed.sent:,} requests sent {usd}, "
        f"{probed.reused:,} were answered before; {fate}"
    )


def _signals(kept: Kept) -> str:
    if kept.bytes is None:
        return f"{kept.encoding}, unknown: the teacher's shape is not known here"
    size = (kept.bytes * (1 / 2**20)).shown(",.1f")
    return f"{kept.encoding}, {size} MiB on the disk, by how sure the teacher is"


def _training_lines(training: Training) -> Iterator[str]:
    count = training.parameters
    size = "" if count is None else f" by a student of {count / 1e6:,.1f} M parameters"
    told = f"{training.tokens.shown()} over all epochs{size}; {training.basis}"
    yield _line("training tokens", told)
    if training.memory is None:
        yield _line("training memory", _least(training))
        return
    whole, *parts = memory_lines(training.memory)
    yield _line("training memory", whole[1])
    yield from (_part(label, text, "") for label, text in parts)


def _least(training: Training) -> str:
    if training.least is None:
        return "unknown: the student is not on this machine"
    what = "what it computes on its way is not known for a model of this kind"
    return f"more than {gib(training.least)}, for weights, gradients and moments; {what}"


def _line(label: str, text: str) -> str:
    return f"{label + ':':<18}{text}"


def _part(label: str, text: str, basis: str) -> str:
    return _line(f"  {label}", f"{text}; {basis}" if basis else text)


def _cost_json(cost: Cost) -> dict[str, Any]:
    return {
        "requests": cost.requests.to_json(),
        "prompt_tokens": cost.prompt_tokens.to_json(),
        "answer_tokens": cost.answer_tokens.to_json(),
        "usd": _span_json(cost.usd),
        "minutes": _span_json(cost.minutes),
    }


def _span_json(span: Span | None) -> dict[str, float] | None:
    return None if span is None else span.to_json()


def _probe_json(probed: Probed) -> dict[str, Any]:
    return {
        "rows": probed.rows,
        "sent": probed.sent,
        "reused": probed.reused,
        "usd": probed.usd,
        "outcomes": probed.outcomes,
        "kept": probed.kept,
    }
