"""Templates that do not come to an end are refused; the others render as in transformers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jinja2 import TemplateError

from mwalimu.data import sandbox
from mwalimu.data.sandbox import bounded
from mwalimu.data.template import render
from tests.tiny import make_tokenizer

CHAT = [
    {"role": "system", "content": "be short"},
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
]
ORDINARY = {
    "loops": "{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m.content }}"
    "{{ '' if loop.last else ', ' }}{% else %}none{% endfor %}",
    "white space": "{% for m in messages -%}\n  {{- m.content }}\n{% endfor %}\n  end\n",
    "a newline behind the tag": "{% for m in messages %}\n{{ m.content }}\n{% endfor %}",
    "macros": "{% macro f(x, y='!') %}\n{{ x }}{{ y }}\n{% endmacro %}"
    "{{ f('a') }}{{ f('b', y='?') }}",
    "a call block": "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{% endcall %}",
    "break and continue": "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
    "{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "a recursive loop": "{% for x in [[1, [2]], 3] recursive %}"
    "{{ loop(x) if x is sequence else x }}{% endfor %}",
    "arithmetic": "{{ 3 * 4 }} {{ 2 ** 10 }} {{ '-' * 5 }} {{ [1] * 3 }} {{ 1.5 * 2 }}",
    "a filtered loop": "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
    "generation": "{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% endgeneration %}",
    "padding": "{{ 'x' | center(7) }}|{{ 'a\nb' | indent(3) }}|{{ 'x'.ljust(4) }}|",
}
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "slow steps": "{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
}


@pytest.fixture
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_template_writes_what_it_wrote(name: str, tokenizer: Any) -> None:
    from transformers.utils import chat_template_utils

    template = ORDINARY[name]
    plain = chat_template_utils._cached_compile_jinja_template(template).render(messages=CHAT)
    tokenizer.chat_template = template
    assert render(tokenizer, CHAT, add_generation_prompt=False) == plain


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_template_is_refused_in_time(
    name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 1.0)
    tokenizer.chat_template = ENDLESS[name]
    began = time.monotonic()
    with pytest.raises(TemplateError, match="does not come to an end"):
        render(tokenizer, CHAT, add_generation_prompt=False)
    assert time.monotonic() - began < 20  # of a busy machine


def test_each_rendering_has_a_budget_of_its_own(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "STEPS", 1000)
    tokenizer.chat_template = "{% for a in range(600) %}{% endfor %}"
    for _ in range(3):
        render(tokenizer, CHAT, add_generation_prompt=False)
    tokenizer.chat_template = "{% for a in range(1001) %}{% endfor %}"
    with pytest.raises(TemplateError, match="does not come to an end"):
        render(tokenizer, CHAT, add_generation_prompt=False)


def test_what_others_render_inside_is_bounded_too(tokenizer: Any) -> None:
    tokenizer.chat_template = ENDLESS["loops"]
    with bounded(), pytest.raises(TemplateError):
        tokenizer.apply_chat_template(CHAT, tokenize=False)
