"""The registry for people (rich, loaded when asked for) and for programs (JSON)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mwalimu.registry.catalogue import Model, Price, Route, Student
from mwalimu.registry.shape import Shape

if TYPE_CHECKING:
    from rich.table import Table

# Bytes of weights, gradients and optimiser, by method.
METHODS: dict[str, Callable[[Shape], float]] = {
    "full": lambda shape: shape.full_bytes,
    "lora": lambda shape: shape.adapted_bytes(16),
    "qlora": lambda shape: shape.adapted_bytes(4),
}


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


def students_as_json(students: Sequence[Student]) -> str:
    """With what follows from the shape: parameters, and bytes by method without activations."""
    found = [
        asdict(student)
        | {
            "parameters": student.shape.parameters,
            "bytes": {method: round(needed(student.shape)) for method, needed in METHODS.items()},
        }
        for student in students
    ]
    return json.dumps(found, ensure_ascii=False, indent=2)


def student_table(students: Sequence[Student]) -> Table:
    """One row a student; its shape is layers x hidden size."""
    from rich.table import Table

    result = Table(box=None, pad_edge=False, header_style="bold", caption=_MEMORY)
    for title in ("student", "size", "context", "vocab", "shape", *METHODS, "licence"):
        right = title not in ("student", "licence")
        result.add_column(title, justify="right" if right else "left", no_wrap=title != "licence")
    for student in students:
        shape = student.shape
        result.add_row(
            student.name,
            _parameters(shape.parameters),
            _tokens(student.context),
            _tokens(shape.vocab_size),
            f"{shape.num_hidden_layers} x {shape.hidden_size}",
            *(f"{needed(shape) / 2**30:.1f}" for needed in METHODS.values()),
            student.licence.name,
        )
    return result


def details(model: Model) -> Iterator[str]:
    """Everything about one model in lines, each price with its date and source."""
    yield f"{model.name}: {model.family}, {model.context:,} tokens of context"
    yield f"licence: {model.licence.name}, {model.licence.url}"
    yield f"training on its output: {model.licence.training}; {model.licence.terms}"
    yield f"also called: {_other_names(model)}"
    if model.note:
        yield f"note: {model.note}"
    for route in model.routes:
        key = f"key ${route.api_key_env}" if route.api_key_env else "no key"
        logprobs = f"{route.top_logprobs} logprobs a token" if route.top_logprobs else "no logprobs"
        yield ""
        yield f"route {route.name}: {route.kind}, {route.model}, {key}, text, {logprobs}"
        yield from (f"  {remark}" for remark in _remarks(route))


def student_details(student: Student) -> Iterator[str]:
    """Everything about one student in lines."""
    shape = student.shape
    tied = "shares its weights with" if shape.tie_word_embeddings else "is apart from"
    yield f"{student.name}: {student.weights}, {student.family}, {shape.parameters:,} parameters"
    yield f"licence: {student.licence.name}, {student.licence.url}"
    if student.licence.derivatives:
        yield f"a model made from it: {student.licence.derivatives}"
    yield f"also called: {_other_names(student)}"
    if student.note:
        yield f"note: {student.note}"
    yield f"context: {student.context:,} tokens"
    yield (
        f"shape: {shape.model_type}, {shape.num_hidden_layers} layers of {shape.hidden_size}, "
        f"MLP of {shape.intermediate_size:,}, {shape.num_attention_heads} heads of "
        f"{shape.head_dim} over {shape.num_key_value_heads} of keys and values"
    )
    yield f"vocabulary: {shape.vocab_size:,}; the head {tied} the embedding"
    for method, needed in METHODS.items():
        yield f"memory, {method}: {needed(shape) / 2**30:.1f} GiB"
    yield _MEMORY


_MEMORY = (
    "Memory is GiB of weights, gradients and optimiser (adapters of rank 16); activations come on "
    "top: see 'mwalimu estimate'."
)


def _other_names(known: Model | Student) -> str:
    return ", ".join(dict.fromkeys(name for name in known.names() if name != known.name))


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


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2f} G" if count >= 999.5e6 else f"{count / 1e6:.0f} M"


def _amount(price: Price) -> str:
    return f"{price.input:g} in, {price.output:g} out"
