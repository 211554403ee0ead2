"""The registry for people (rich, loaded when asked for) and for programs (JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mwalimu.registry.catalogue import Model, Price, Route

if TYPE_CHECKING:
    from rich.table import Table


def as_json(models: Sequence[Model]) -> str:
    return json.dumps(
        [asdict(model) for model in models], default=str, ensure_ascii=False, indent=2
    )


def table(models: Sequence[Model]) -> Table:
    """One row a model; the price is that of the first route that has one."""
    from rich.table import Table

    result = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "context", "$ a million", "as of", "logprobs", "training", "routes"):
        right = title in ("context", "logprobs")
        result.add_column(title, justify="right" if right else "left", no_wrap=title != "routes")
    for model in models:
        price = next((route.price for route in model.routes if route.price), None)
        result.add_row(
            model.name,
            _tokens(model.context),
            _amount(price) if price else "",
            f"{price.date:%Y-%m}" if price else "",
            str(max(route.top_logprobs for route in model.routes)),
            model.licence.training,
            " ".join(route.name for route in model.routes),
        )
    return result


def details(model: Model) -> Iterator[str]:
    """Everything about one model in lines, each price with its date and source."""
    others = dict.fromkeys(name for name in model.names() if name != model.name)
    yield f"{model.name}: {model.family}, {model.context:,} tokens of context"
    yield f"licence: {model.licence.name}, {model.licence.url}"
    yield f"training on its output: {model.licence.training}; {model.licence.terms}"
    yield f"also called: {', '.join(others)}"
    if model.note:
        yield f"note: {model.note}"
    for route in model.routes:
        key = f"key ${route.api_key_env}" if route.api_key_env else "no key"
        logprobs = f"{route.top_logprobs} logprobs a token" if route.top_logprobs else "no logprobs"
        yield ""
        yield f"route {route.name}: {route.kind}, {route.model}, {key}, text, {logprobs}"
        yield from (f"  {remark}" for remark in _remarks(route))


def _remarks(route: Route) -> Iterator[str]:
    if place := route.base_url or route.needs:
        yield place
    if price := route.price:
        cached = "" if price.cached is None else f", {price.cached:g} cached"
        batch = "" if price.batch_factor is None else f", times {price.batch_factor:g} in a batch"
        yield f"USD a million tokens: {_amount(price)}{cached}{batch}"
        yield f"as of {price.date}, {price.source}{f' ({price.note})' if price.note else ''}"
    if route.retired:
        yield f"answers until {route.retired}"


def _tokens(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count / 1000:.0f} k"


def _amount(price: Price) -> str:
    return f"{price.input:g} in, {price.output:g} out"
