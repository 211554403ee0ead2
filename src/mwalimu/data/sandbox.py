"""Chat templates bounded in time: a template is a program that came with a model.

transformers renders them in Jinja's immutable sandbox, which limits what they touch and not how
long they take. Here every round of a loop and every call of a macro is counted, and what makes one
step long (powers, products, padding) is bounded too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

from jinja2 import TemplateError, nodes

STEPS = 1_000_000  # rounds of loops and calls of macros; a long chat takes some thousands
SECONDS = 10.0
SIZE = 10_000_000  # characters, items or bits that one operation may make

_COUNTED = (nodes.For, nodes.Macro, nodes.CallBlock)
_PADDING = ("center", "indent")
_BUDGET: ContextVar[_Budget | None] = ContextVar("budget", default=None)


class _Budget:
    def __init__(self) -> None:
        self.steps = 0
        self.end = time.monotonic() + SECONDS

    def step(self) -> None:
        self.steps += 1
        if self.steps > STEPS or time.monotonic() > self.end:
            raise TemplateError("the template does not come to an end")


@contextmanager
def bounded() -> Iterator[None]:
    """What transformers renders inside ends, or raises TemplateError."""
    _install()
    token = _BUDGET.set(_Budget())
    try:
        yield
    finally:
        _BUDGET.reset(token)


@cache
def _install() -> None:
    """transformers has no public way to render in another environment than its own."""
    from transformers.utils import chat_template_utils

    theirs: Any = chat_template_utils._compile_jinja_template
    bare = theirs("").environment  # a hostile template is not compiled there: that folds constants

    @cache
    def compiled(template: str) -> Any:
        return _compiled(bare, template)

    chat_template_utils._compile_jinja_template = compiled


def _compiled(bare: Any, template: str) -> Any:
    environment = bare.overlay()
    environment.step = _step
    environment.intercepted_binops = frozenset(("*", "**"))
    environment.call_binop = _operation
    environment.call = _call(environment.call)
    padding = {name: _sized(environment.filters[name]) for name in _PADDING}
    environment.filters = environment.filters | padding
    tree = environment.parse(template)
    for node in tree.find_all(_COUNTED):
        # An attribute of the environment is nothing that a template can give another meaning.
        step = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(step).set_lineno(node.lineno))
    tree.set_environment(environment)
    return environment.from_string(tree)


def _step() -> None:
    if (budget := _BUDGET.get()) is not None:
        budget.step()


def _operation(context: Any, operator: str, left: Any, right: Any) -> Any:
    if operator == "**":
        if isinstance(left, int) and isinstance(right, int):
            _require(left.bit_length() * abs(right))
        return left**right
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | bytes | list | tuple) and isinstance(times, int):
            _require(len(one) * times)
    if isinstance(left, int) and isinstance(right, int):
        _require(left.bit_length() + right.bit_length())
    return left * right


def _call(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def call(context: Any, function: Any, *given: Any, **named: Any) -> Any:
        _require_small(*given, *named.values())
        return real(context, function, *given, **named)

    return call


def _sized(real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def filtered(value: Any, *given: Any, **named: Any) -> Any:
        _require_small(*given, *named.values())
        return real(value, *given, **named)

    return filtered


def _require_small(*given: Any) -> None:
    """A number that is given to a function may be a width."""
    for one in given:
        if isinstance(one, int):
            _require(one)


def _require(size: int) -> None:
    if size > SIZE:
        raise TemplateError(f"the template makes something of more than {SIZE:,} parts")
