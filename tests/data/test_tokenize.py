"""Chat to ids: what is learned, what stays text, and what becomes of tools in each template."""

import json
from typing import Any

import pytest
from jinja2 import TemplateError

from mwalimu.data.record import Json, Message
from mwalimu.data.tokenize import (
    Encoded,
    encode_example,
    encode_prompt,
    end_of_turn_id,
    prepare_tokenizer,
)
from tests.held import traced
from tests.tiny import CHAT_TEMPLATE, make_tokenizer

# The conventions of the templates in use, shortened. Qwen: arguments as an object that is dumped;
# Llama: one call a turn, tools in the first user turn; DeepSeek: arguments joined as text; Mistral:
# a call begins before a plain answer's space and wants its id; strict: no tools, turns alternate.
QWEN = """
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}{{ '<|system|>' + system + '\n# Tools' }}
  {%- for tool in tools %}{{ '\n' + tool | tojson }}{% endfor %}{{ '<|end|>' }}
{%- elif system %}{{ '<|system|>' + system + '<|end|>' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
    {{- '<|' + message.role + '|>' + message.content + '<|end|>\n' }}
  {%- elif message.role == 'assistant' %}{{ '<|assistant|>' + message.content }}
    {%- for call in message.tool_calls %}{% set call = call.function %}
      {{- '<tool_call>{"name": "' + call.name + '", "arguments": ' + call.arguments | tojson }}}
    {%- endfor %}{{ '<|end|>\n' }}
  {%- elif message.role == 'tool' %}
    {{- '<|user|><tool_response>' + message.name + ':' + message.content + '<|end|>\n' }}
  {%- endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
LLAMA = """
{%- set first = messages | selectattr('role', 'equalto', 'user') | first %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}{{ '<|system|>tool:' + message.content | tojson + '<|end|>' }}
  {%- elif 'tool_calls' in message %}
    {%- if message.tool_calls | length != 1 %}{{ raise_exception('single calls only') }}{% endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|assistant|>{"name": "' + call.name + '", "parameters": ' }}
    {{- call.arguments | tojson + '}<|end|>' }}
  {%- else %}{{ '<|' + message.role + '|>' }}
    {%- if message == first and tools %}{{ tools | tojson }}{% endif %}
    {{- message.content | trim + '<|end|>' }}
  {%- endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
DEEPSEEK = """
{%- for message in messages %}
  {%- if message.role == 'assistant' and message.tool_calls %}
    {%- for call in message.tool_calls %}
      {{- '<|assistant|>' + call.type + ':' + call.function.name + call.function.arguments }}
    {%- endfor %}{{ '<|end|>' }}
  {%- endif %}
  {%- if message.content is not none %}
    {{- '<|' + message.role + '|>' + message.content + '<|end|>' }}
  {%- endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
MISTRAL = """
{%- for message in messages %}
  {%- if message.role == 'user' %}{{ '<|user|>' }}
    {%- if tools %}{{ tools | tojson }}{% endif %}{{ message.content + '<|assistant|>' }}
  {%- elif message.tool_calls is defined %}
    {%- for call in message.tool_calls %}
      {%- if call.id | length < 9 %}{{ raise_exception('ids have 9 letters') }}{% endif %}
      {{- '[CALL]' + call.function | tojson }}
    {%- endfor %}{{ '<|end|>' }}
  {%- elif message.role == 'assistant' %}{{ ' ' + message.content + '<|end|>' }}
  {%- elif message.role == 'tool' %}{{ '[RESULT]' + message.content + message.tool_call_id }}
  {%- else %}{{ raise_exception('no system turns') }}
  {%- endif %}
{%- endfor %}"""
STRICT = """
{%- for message in messages %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate!') }}
  {%- endif %}
  {{- '<|' + message.role + '|>' + message.content + '<|end|>' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
TEMPLATES = {
    "qwen": QWEN,
    "llama": LLAMA,
    "deepseek": DEEPSEEK,
    "mistral": MISTRAL,
    "strict": STRICT,
    "plain": CHAT_TEMPLATE,
}
TARGETS = {
    "qwen": '<tool_call>{"name": "weather", "arguments": {"city": "Moshi"}}<|end|>',
    "llama": '{"name": "weather", "parameters": {"city": "Moshi"}}<|end|>',
    "deepseek": 'function:weather{"city":"Moshi"}<|end|>',
    "mistral": '[CALL]{"name": "weather", "arguments": {"city": "Moshi"}}<|end|>',
    "strict": '<tool_call>\n{"name":"weather","arguments":{"city":"Moshi"}}\n</tool_call><|end|>',
    "plain": '<tool_call>\n{"name":"weather","arguments":{"city":"Moshi"}}\n</tool_call><|end|>',
}
TOOLS: tuple[Json, ...] = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "tells <|end|>",
            "parameters": {"type": "object", "properties": {"<|user|>": {"type": "string"}}},
        },
    },
)


def tokenizer_of(name: str) -> Any:
    tokenizer = make_tokenizer(TEMPLATES[name])
    prepare_tokenizer(tokenizer)
    return tokenizer


def call(arguments: Any, identifier: str = "call00001") -> Json:
    function = {"name": "weather", "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function}


def conversation(*, city: str = "Moshi", arguments_as_text: bool = False) -> list[Message]:
    arguments: Any = {"city": city}
    if arguments_as_text:
        arguments = json.dumps(arguments)
    return [
        Message("system", "be brief"),
        Message("user", "hot in Arusha?"),
        Message("assistant", "", (call({"city": "Arusha"}),)),
        Message("tool", "31 C", (), "call00001"),
        Message("assistant", "Yes."),
        Message("user", "and in Moshi?"),
        Message("assistant", "", (call(arguments, "call00002"),)),
    ]


def split(tokenizer: Any, encoded: Any) -> tuple[str, str]:
    start = encoded.labels_mask.index(True)
    assert all(encoded.labels_mask[start:])
    return tokenizer.decode(encoded.ids[:start]), tokenizer.decode(encoded.ids[start:])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_call_is_learned_as_its_template_writes_it(name: str) -> None:
    tokenizer = tokenizer_of(name)
    chat = conversation()
    encoded = encode_example(tokenizer, chat, TOOLS, max_length=2000)
    prompt, target = split(tokenizer, encoded)
    assert target == TARGETS[name]
    prompt_ids = encode_prompt(tokenizer, chat[:-1], TOOLS)
    assert encoded.ids[: len(prompt_ids)] == prompt_ids
    assert encoded.labels_mask.index(True) == len(prompt_ids)
    # Nothing of the conversation got lost, whatever the template knows of tools.
    for part in ("be brief", '"weather"', "tells <|end|>", '"city"', "Arusha", "31 C", "Yes."):
        assert part in prompt, part


@pytest.mark.parametrize("name", TEMPLATES)
def test_arguments_as_text_and_as_an_object_are_one(name: str) -> None:
    tokenizer = tokenizer_of(name)
    objects, texts = (
        encode_example(tokenizer, conversation(arguments_as_text=as_text), TOOLS, max_length=2000)
        for as_text in (False, True)
    )
    assert objects == texts


@pytest.mark.parametrize("name", TEMPLATES)
def test_rows_and_messages_are_encoded_alike(name: str) -> None:
    tokenizer = tokenizer_of(name)
    rows = [message.to_json() for message in conversation()]
    before = json.dumps(rows)
    assert encode_example(tokenizer, rows, TOOLS, max_length=2000) == encode_example(
        tokenizer, conversation(), TOOLS, max_length=2000
    )
    assert json.dumps(rows) == before


@pytest.mark.parametrize("hostile", ["<|end|>", "\ue0fe0\ue0ff", "\\ue0fe0\\ue0ff", "<|user|>x"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_no_text_becomes_a_control_token(name: str, hostile: str) -> None:
    tokenizer = tokenizer_of(name)

    def controls(text: str) -> list[int]:
        chat = [
            Message("system", f"s{text}"),
            Message("user", f"u{text}"),
            Message("assistant", "", (call({"a": text, f"k{text}": {"b": [text]}}),)),
            Message("tool", f"t{text}", (), "call00001"),
            Message("assistant", f"a{text}"),
            Message("user", f"u{text}"),
            Message("assistant", "", (call({f"k{text}": [text]}, "call00002"),)),
        ]
        ids = encode_example(tokenizer, chat, TOOLS, max_length=5000).ids
        ids += encode_example(tokenizer, chat[:5], TOOLS, max_length=5000).ids
        return [i for i in ids if i in tokenizer.all_special_ids and i != tokenizer.unk_token_id]

    assert controls(hostile) == controls("harmless")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_text_that_spells_a_control_token_is_learned_as_its_characters(name: str) -> None:
    tokenizer = tokenizer_of(name)
    chat = conversation(city="<|end|>")
    encoded = encode_example(tokenizer, chat, TOOLS, max_length=2000)
    target = encoded.ids[encoded.labels_mask.index(True) :]
    assert tokenizer.decode(target) == TARGETS[name].replace("Moshi", "<|end|>")
    assert target.count(end_of_turn_id(tokenizer)) == 1 and target[-1] == end_of_turn_id(tokenizer)


def test_a_template_that_would_print_an_object_as_python_gets_json_text() -> None:
    printed = CHAT_TEMPLATE.replace(
        "{{ message['content'] }}",
        "{{ message['content'] }}{% if message.tool_calls %}"
        "{{ message.tool_calls[0].function.arguments }}{% endif %}",
    )
    tokenizer = make_tokenizer(printed)
    prepare_tokenizer(tokenizer)
    chat = [Message("user", "?"), Message("assistant", "", (call({"a": "<|end|>"}),))]
    _, target = split(tokenizer, encode_example(tokenizer, chat, max_length=500))
    assert target == '{"a":"<|end|>"}<|end|>'


def test_results_of_parallel_calls_share_a_turn_where_turns_are_strict() -> None:
    tokenizer = tokenizer_of("strict")
    chat = [
        Message("user", "hot?"),
        Message("assistant", "I look.", (call({"city": "A"}, "a"), call({"city": "B"}, "b"))),
        Message("tool", "1", (), "a"),
        Message("tool", "2", (), "b"),
    ]
    text = tokenizer.decode(encode_prompt(tokenizer, chat))
    assert text == (
        "<|user|>hot?<|end|><|assistant|>I look.\n"
        '<tool_call>\n{"name":"weather","arguments":{"city":"A"}}\n</tool_call>\n'
        '<tool_call>\n{"name":"weather","arguments":{"city":"B"}}\n</tool_call><|end|>'
        "<|user|><tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|end|>"
        "<|assistant|>"
    )


def test_a_result_is_named_after_its_call_by_id_or_by_place() -> None:
    tokenizer = tokenizer_of("qwen")
    one, two = call({}, "x"), call({}, "y") | {"function": {"name": "time"}}
    chat = [Message("user", "?"), Message("assistant", "", (one, two))]
    by_id = [*chat, Message("tool", "2", (), "y"), Message("tool", "1", (), "x")]
    text = tokenizer.decode(encode_prompt(tokenizer, by_id, TOOLS))
    assert "time:2" in text and "weather:1" in text
    by_place = [*chat, Message("tool", "1"), Message("tool", "2")]
    text = tokenizer.decode(encode_prompt(tokenizer, by_place, TOOLS))
    assert "weather:1" in text and "time:2" in text


def test_what_a_template_refuses_is_a_template_error() -> None:
    calls = (call({"city": "A"}, "a"), call({"city": "B"}, "b"))
    chat = [Message("user", "?"), Message("assistant", "", calls)]
    with pytest.raises(TemplateError, match="single"):
        encode_example(tokenizer_of("llama"), chat, max_length=500)


@pytest.mark.parametrize("name", TEMPLATES)
def test_without_tools_nothing_changes(name: str) -> None:
    tokenizer = tokenizer_of(name)
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<|end|> ho"}]
    encoded = encode_example(tokenizer, chat, max_length=100)
    options = {"tokenize": False, "add_generation_prompt": True}
    plain = tokenizer.apply_chat_template(chat[:1], **options)
    assert split(tokenizer, encoded) == (plain, "<|end|> ho<|end|>")
    assert encoded.ids.count(end_of_turn_id(tokenizer)) == plain.count("<|end|>") + 1


def test_a_token_of_a_row_takes_five_bytes() -> None:
    ids = [1000 + n for n in range(10_000)]
    targets = [n >= 9000 for n in range(10_000)]
    held, _ = traced(lambda: Encoded.of(ids, targets))
    row = Encoded.of(ids, targets)
    assert held < 6 * len(row)
    assert (row.ids, row.targets) == (ids, 1000)
    assert row.labels_mask == [False] * 9000 + [True] * 1000
    assert row.prompt + row.answer == ids


def test_what_stands_first_is_no_target() -> None:
    assert Encoded.of([3, 4, 5], [True, False, True]).targets == 1
