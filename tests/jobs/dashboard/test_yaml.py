"""What the dashboard writes as YAML is what PyYAML reads."""

from __future__ import annotations

import random
from typing import Any

import yaml

from tests.jobs.dashboard.conftest import Opener
from tests.jobs.service import Running

WRITE = """async (values) => {
  const { yaml } = await import("/static/yaml.js");
  return values.map((value) => yaml(value));
}"""
TEXTS = (
    *("", " ", "a", "a b", " lead", "trail ", "yes", "No", "on", "y", "null", "~", "true", "TRUE"),
    *("1", "-1", "1e5", "1_000", "0x1F", "0o17", "12:30:45", "2026-01-01", ".5", ".inf", "NaN"),
    *("# c", "a #b", "a: b", "a:", "- x", "? x", "[x", "{x", "*a", "&a", "!a", "|", ">", "%", "@"),
    *("'", '"', "\\", "a\nb", "a\n", "\t", "\r", "\x00", "\x7f", "\x85", "\u2028", "\ufeff"),
    *("é", "😀", "مرحبا", "dataset:tickets@2", "phi-4-mini", "a/b_c.jsonl", "<<", "="),
)
NUMBERS = (0, 1, -7, 2**53, 0.5, -0.25, 2e-5, 1e-7, 1e21, 1.5e300, 5e-324)


def value(draw: random.Random, depth: int) -> Any:
    if depth == 0 or draw.random() < 0.3:
        return draw.choice([draw.choice(TEXTS), draw.choice(NUMBERS), True, False, None])
    count = draw.randrange(4)
    if draw.random() < 0.5:
        return [value(draw, depth - 1) for _ in range(count)]
    return {draw.choice(TEXTS): value(draw, depth - 1) for _ in range(count)}


def test_values_of_every_kind_are_read_back(desk: Running, opened: Opener) -> None:
    draw = random.Random(0)
    values = [*TEXTS, *NUMBERS, [], {}, *(value(draw, 4) for _ in range(400))]
    written = opened(desk).open("/models").evaluate(WRITE, values)
    for wanted, text in zip(values, written, strict=True):
        assert yaml.safe_load(text) == wanted, text
