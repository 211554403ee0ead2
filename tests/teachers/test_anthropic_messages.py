"""The Anthropic wire against the written reference, Anthropic's own SDK, and noise."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Json, Message
from mwalimu.teachers.anthropic_messages import AnthropicMessages
from mwalimu.teachers.base import Completion, Request, RowError, Sampling
from tests.teachers.golden_cases import (
    KEY,
    KEY_ENV,
    Case,
    assert_means,
    assert_same_request,
    assert_sends,
    cases,
    ours,
    theirs,
)

CONFIG = TeacherConfig(model="claude-x", kind="anthropic")
WIRE = AnthropicMessages()
MEANINGLESS = (ValueError, KeyError, TypeError, IndexError)
STOPS = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "stop", "max_tokens": "length"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.mark.parametrize("case", cases("anthropic"))
def test_the_reference(case: Case) -> None:
    seen, completion = ours(case)
    assert_sends(seen, case)
    assert_means(completion, case)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", cases("anthropic"))
def test_the_sdk_sends_and_reads_the_same(case: Case) -> None:
    anthropic = pytest.importorskip("anthropic")

    def call(url: str) -> Any:
        with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
            # The newest releases know no sampling parameters; older models still take them.
            body = dict(case["sends"]["body"])
            known = inspect.signature(client.messages.create).parameters
            extra = {name: body.pop(name) for name in list(body) if name not in known}
            return client.messages.create(**body, extra_body=extra)

    seen, completion = ours(case)
    their_seen, answer = theirs(case, call)
    # The SDK moved the key to Authorization in 2.0; the API and most gateways read x-api-key too.
    bearer = their_seen.headers.get("authorization", "").removeprefix("Bearer ")
    assert seen.headers["x-api-key"] == their_seen.headers.get("x-api-key", bearer) == KEY
    if "temperature" in case["sends"]["body"] or anthropic.__version__ < "2":
        assert_same_request(seen, their_seen, set())  # it has one version for all models
    else:
        assert_same_request(seen, their_seen, {"anthropic-version"})
    assert_reads_the_same(completion, answer)


def assert_reads_the_same(completion: Completion, answer: Any) -> None:
    """`answer`: the SDK's Message."""
    uses = [block for block in answer.content if block.type == "tool_use"]
    structured = [use for use in uses if use.name == "structured_answer"]
    if structured:
        assert orjson.loads(completion.text) == structured[0].input
    else:
        assert completion.text == "".join(b.text for b in answer.content if b.type == "text")
        calls = [(use.id, use.name, use.input) for use in uses]
        assert calls == [
            (c["id"], c["function"]["name"], orjson.loads(c["function"]["arguments"]))
            for c in completion.tool_calls
        ]
    thoughts = [block.thinking for block in answer.content if block.type == "thinking"]
    assert completion.reasoning == "\n".join(thoughts)
    expected = STOPS | {"model_context_window_exceeded": "length", "refusal": "refusal"}
    assert completion.finish_reason == expected[answer.stop_reason]
    assert completion.model == answer.model
    usage, counted = answer.usage, completion.usage
    cached = usage.cache_read_input_tokens
    assert counted.cached_tokens == cached
    whole = usage.input_tokens + cached + usage.cache_creation_input_tokens
    assert (counted.prompt_tokens, counted.completion_tokens) == (whole, usage.output_tokens)


def body(*messages: Message, **more: Any) -> Json:
    sampling = more.pop("sampling", Sampling())
    return WIRE.body(Request("id", messages, sampling, **more), CONFIG)


def call(name: str = "f", arguments: object = "{}", given: object = None) -> Json:
    named = {} if given is None else {"id": given}
    return {**named, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_addresses() -> None:
    def url(base: str | None) -> str:
        return str(WIRE.url(CONFIG.model_copy(update={"base_url": base})))

    assert url(None) == "https://api.anthropic.com/v1/messages"
    assert url("http://h") == url("http://h/") == url("http://h/v1") == "http://h/v1/messages"
    assert url("https://r.services.ai.azure.com/anthropic").endswith("/anthropic/v1/messages")
    assert str(WIRE.models_url(CONFIG)) == "https://api.anthropic.com/v1/models?limit=1000"


def test_there_is_no_seed_and_top_p_only_where_it_says_something() -> None:
    plain = body(Message("user", "q"), sampling=Sampling(seed=7))
    assert "seed" not in plain and "top_p" not in plain and "stop_sequences" not in plain
    assert body(Message("user", "q"), sampling=Sampling(top_p=0.9))["top_p"] == 0.9


@pytest.mark.parametrize(
    ("model", "older"),
    [
        ("claude-3-5-sonnet-20241022", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-opus-4-6", True),
        ("claude-haiku-4-5@20251001", True),
        ("some-model-of-vllm", True),
        ("claude-opus-4-7", False),
        ("claude-opus-4-8-20260601", False),
        ("claude-sonnet-5", False),
        ("claude-opus-5-5", False),
    ],
)
def test_later_models_are_not_sent_the_default_temperature(model: str, older: bool) -> None:
    config = CONFIG.model_copy(update={"model": model})

    def sent(temperature: float) -> Json:
        asked = Request("id", (Message("user", "q"),), Sampling(temperature=temperature))
        return WIRE.body(asked, config)

    assert ("temperature" in sent(0.0)) == older
    assert sent(0.7)["temperature"] == 0.7  # never dropped in silence: the server says no


def test_every_system_turn_is_split_out() -> None:
    sent = body(Message("system", "a"), Message("user", "q"), Message("system", "b"))
    assert sent["system"] == "a\n\nb"
    assert sent["messages"] == [{"role": "user", "content": "q"}]
    assert "system" not in body(Message("user", "q"))


def test_calls_without_ids_are_numbered_and_met_by_their_results_in_order() -> None:
    sent = body(
        Message("user", "q"),
        Message("assistant", "", (call("f"), call("g", {"a": 1}))),
        Message("tool", "of f"),
        Message("tool", "of g"),
    )
    uses, results = sent["messages"][1]["content"], sent["messages"][2]["content"]
    assert [use["id"] for use in uses] == ["call_1", "call_2"]
    assert [use["input"] for use in uses] == [{}, {"a": 1}]
    assert [(r["tool_use_id"], r["content"]) for r in results] == [
        ("call_1", "of f"),
        ("call_2", "of g"),
    ]


def test_ids_hold_only_what_anthropic_allows() -> None:
    sent = body(
        Message("user", "q"),
        Message("assistant", "", (call(given="call:1/é"),)),
        Message("tool", "x", (), "call:1/é"),
    )
    (use,), (result,) = sent["messages"][1]["content"], sent["messages"][2]["content"]
    assert use["id"] == result["tool_use_id"] == "call_1__"


def test_an_answer_in_text_and_an_empty_one() -> None:
    sent = body(Message("user", "q"), Message("assistant", "a"), Message("user", "q"))
    assert sent["messages"][1] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "bad", [call(arguments="no json"), call(arguments="[1]"), {"function": None}, {"id": "x"}]
)
def test_a_call_that_cannot_be_told_is_a_bad_row(bad: Json) -> None:
    with pytest.raises(RowError):
        body(Message("user", "q"), Message("assistant", "", (bad,)), Message("tool", "x"))


def test_tools() -> None:
    config = CONFIG.model_copy(update={"model": "claude-haiku-4-5"})
    bare = {"name": "f", "parameters": {"type": "object"}}
    nested = {"type": "function", "function": {"name": "g"}}
    turns, schema = (Message("user", "q"),), {"type": "object"}
    request = Request("id", turns, Sampling(), tools=(bare, nested), schema=schema)
    sent = WIRE.body(request, config)
    assert sent["tools"][0] == {"name": "f", "input_schema": {"type": "object"}}
    assert sent["tools"][1] == {"name": "g", "input_schema": {"type": "object", "properties": {}}}
    assert sent["tools"][2]["name"] == "structured_answer"
    assert sent["tool_choice"] == {"type": "any"}  # another tool may come first
    assert "tool_choice" not in body(Message("user", "q"), tools=(bare,))
    later = WIRE.body(request, CONFIG)
    assert len(later["tools"]) == 2 and "tool_choice" not in later
    with pytest.raises(RowError):
        body(Message("user", "q"), tools=({"type": "web_search"},))


def answer(**more: Any) -> bytes:
    return orjson.dumps({"type": "message", "content": [], "stop_reason": "end_turn"} | more)


@pytest.mark.parametrize("stop", ["pause_turn", None, 3, "new"])
def test_a_stop_that_is_no_end_is_an_error(stop: object) -> None:
    completion = WIRE.parse(answer(stop_reason=stop), CONFIG)
    assert (completion.finish_reason, completion.detail) == ("error", f"stop_reason {stop}")


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "too\nrisky"}
    completion = WIRE.parse(answer(stop_reason="refusal", stop_details=details), CONFIG)
    assert (completion.finish_reason, completion.detail) == ("refusal", "too risky")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"content": "text", "stop_reason": "end_turn"}',
        b'{"content": []}',
        b'{"type": "error", "error": {"type": "api_error", "message": "no"}}',
        answer()[:-2],
    ],
)
def test_no_answers(raw: bytes) -> None:
    assert not WIRE.is_answer(raw)


FIELDS = """content type text thinking tool_use id name input stop_reason usage input_tokens
cache_read_input_tokens stop_details explanation model"""
KEYS = st.sampled_from(FIELDS.split())
WORDS = st.sampled_from(["text", "thinking", "tool_use", "structured_answer", "end_turn"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"content": st.lists(st.dictionaries(KEYS, JSON)) | JSON}))
def test_no_json_whatever_raises_anything_else(value: object) -> None:
    raw = orjson.dumps(value)
    WIRE.is_answer(raw)
    with suppress(*MEANINGLESS):
        WIRE.parse(raw, CONFIG)
