"""The OpenAI wire against the written reference, against OpenAI's own SDK, and against noise."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.teachers.base import Completion, Request, Sampling, TokenLogprob, Usage
from mwalimu.teachers.openai_chat import OpenAIChat
from tests.teachers.golden_cases import (
    KEY,
    KEY_ENV,
    Case,
    as_lists,
    assert_means,
    assert_same_request,
    assert_sends,
    cases,
    ours,
    theirs,
)

CONFIG = TeacherConfig(model="m", kind="openai_compatible", base_url="http://h:1/v1")
WIRE = OpenAIChat()
MEANINGLESS = (ValueError, KeyError, TypeError, IndexError)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.mark.parametrize("case", cases("openai"))
def test_the_reference(case: Case) -> None:
    seen, completion = ours(case)
    assert_sends(seen, case)
    assert_means(completion, case)


@pytest.mark.parametrize("case", cases("openai"))
def test_the_sdk_sends_and_reads_the_same(case: Case) -> None:
    openai = pytest.importorskip("openai")

    def call(url: str) -> Any:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            return client.chat.completions.create(**case["sends"]["body"])

    seen, completion = ours(case)
    their_seen, answer = theirs(case, call)
    assert_same_request(seen, their_seen, {"authorization"})
    assert_reads_the_same(completion, answer)


def assert_reads_the_same(completion: Completion, answer: Any) -> None:
    """`answer`: the SDK's ChatCompletion."""
    choice, usage = answer.choices[0], answer.usage
    message = choice.message
    assert completion.text == (message.content or message.refusal or "")
    assert (completion.finish_reason == "refusal") == (message.refusal is not None)
    if completion.finish_reason != "refusal":
        by_them = {"tool_calls": "stop"}.get(choice.finish_reason, choice.finish_reason)
        assert completion.finish_reason == by_them
    assert completion.model == answer.model
    assert completion.usage.prompt_tokens == usage.prompt_tokens
    assert completion.usage.completion_tokens == usage.completion_tokens
    if usage.prompt_tokens_details is not None:
        assert completion.usage.cached_tokens == usage.prompt_tokens_details.cached_tokens
    assert completion.reasoning == (getattr(message, "reasoning_content", None) or "")
    calls = [call.model_dump(exclude_unset=True) for call in message.tool_calls or ()]
    assert list(completion.tool_calls) == calls
    their_logprobs = None
    if choice.logprobs is not None:
        their_logprobs = [
            [t.token, t.logprob, [[a.token, a.logprob] for a in t.top_logprobs]]
            for t in choice.logprobs.content
        ]
    assert as_lists(completion) == their_logprobs


def request(**sampling: Any) -> Request:
    return Request("id", (Message("user", "q"),), Sampling(**sampling))


def answer(content: object = "text", finish: object = "stop", **more: Any) -> bytes:
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    choice = {"message": message, "finish_reason": finish} | more.pop("choice", {})
    return orjson.dumps({"model": "tiny", "choices": [choice]} | more)


def parse(raw: bytes) -> Completion:
    return WIRE.parse(raw, CONFIG)


def test_addresses() -> None:
    def urls(base: str) -> tuple[str, str]:
        config = CONFIG.model_copy(update={"base_url": base})
        return str(WIRE.url(config)), str(WIRE.models_url(config))

    usual = ("http://h/v1/chat/completions", "http://h/v1/models")
    assert urls("http://h/v1") == usual
    assert urls("http://h/v1/") == usual
    assert urls("http://h/v1/chat/completions") == usual
    assert urls("http://h/v1?v=2") == (f"{usual[0]}?v=2", f"{usual[1]}?v=2")
    assert urls("http://[::1]:8000") == (
        "http://[::1]:8000/chat/completions",
        "http://[::1]:8000/models",
    )


def test_the_headers_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"api_key_env": "SOME_KEY"})
    monkeypatch.setenv("SOME_KEY", "  s3cret\n")
    wire = OpenAIChat()
    first = asyncio.run(wire.headers(config))
    assert first["Authorization"] == "Bearer s3cret"
    assert asyncio.run(wire.headers(config)) is first
    assert "Authorization" not in asyncio.run(OpenAIChat().headers(CONFIG))


def test_samples_differ_by_their_seed() -> None:
    messages = (Message("user", "q"),)
    bodies = [WIRE.body(Request("i", messages, Sampling(seed=5), n), CONFIG) for n in (0, 1)]
    assert [body["seed"] for body in bodies] == [5, 6]


def test_the_wires_model_is_not_the_identity() -> None:
    assert WIRE.body(request(), CONFIG)["model"] == "m"


def test_extra_body_adds_changes_and_removes() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 7, "top_p": 0.5, "never": None}
    body = WIRE.body(request(), CONFIG.model_copy(update={"extra_body": extra}))
    assert "max_tokens" not in body and "never" not in body
    assert (body["max_completion_tokens"], body["top_p"]) == (7, 0.5)


def test_arguments_that_are_an_object_go_out_as_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    turns = (Message("user", "q"), Message("assistant", "", (call,)), Message("tool", "1", (), "c"))
    body = WIRE.body(Request("i", turns, Sampling()), CONFIG)
    (sent,) = body["messages"][1]["tool_calls"]
    assert sent["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert '"arguments": {"a": 1}' in json.dumps(call)  # the record's own stays as it was


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        (None, "", ""),
        ("", "", ""),
        ("  kept as it is \n", "  kept as it is \n", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab", ""),
        (["a", {"type": "image"}, {"type": "text", "text": None}], "a", ""),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "a"},
            ],
            "a",
            "hm",
        ),
        ("<think>\nhm\n</think>\n\na", "a", "hm"),
        ("\n<think>hm</think>a", "a", "hm"),
        ("<think></think>a", "a", ""),
        ("<think>never ends", "", "never ends"),
        ("hm, the template opened it\n</think>\n\na", "a", "hm, the template opened it"),
        ("an answer about <think> tags", "an answer about <think> tags", ""),
    ],
)
def test_text_and_thought(content: object, text: str, reasoning: str) -> None:
    completion = parse(answer(content))
    assert (completion.text, completion.reasoning) == (text, reasoning)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_apart_from_the_content(name: str) -> None:
    completion = parse(answer("</think> is a tag", message={name: "hm"}))
    assert (completion.text, completion.reasoning) == ("</think> is a tag", "hm")


@pytest.mark.parametrize(
    ("finish", "ours"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("abort", "error"),
        (None, "error"),
        (7, "error"),
        (["stop"], "error"),
    ],
)
def test_finish_reasons(finish: object, ours: str) -> None:
    completion = parse(answer(finish=finish))
    assert completion.finish_reason == ours
    assert bool(completion.detail) == (ours == "error")


@pytest.mark.parametrize(
    "usage", [None, [], 3, {}, {"prompt_tokens": None}, {"prompt_tokens": "7"}]
)
def test_a_usage_that_tells_nothing(usage: object) -> None:
    assert parse(answer(usage=usage)).usage == Usage()


def test_a_choices_own_error_is_told() -> None:
    wrong = {"error": {"message": "upstream died"}}
    assert (
        parse(answer(finish="abort", choice=wrong)).detail == "finish_reason abort: upstream died"
    )


def test_an_old_function_call_is_a_tool_call() -> None:
    old = {"function_call": {"name": "f", "arguments": "{}"}}
    (call,) = parse(answer(None, "function_call", message=old)).tool_calls
    assert call["function"] == {"name": "f", "arguments": "{}"}


def test_logprobs_fit_the_text_without_its_thought() -> None:
    def logged(*tokens: str) -> Completion:
        content = [{"token": token, "logprob": None, "top_logprobs": None} for token in tokens]
        return parse(answer("".join(tokens), choice={"logprobs": {"content": content}}))

    told = logged("<think>", "hm", "</think>", "\n\n", "an", "swer")
    assert told.text == "answer"
    assert told.logprobs == (TokenLogprob("an", -9999.0), TokenLogprob("swer", -9999.0))
    assert logged("<think>hm</", "think>", "answer").logprobs is None  # cannot be told apart
    assert parse(answer(choice={"logprobs": {"tokens": ["a"]}})).logprobs is None


@pytest.mark.parametrize(
    "raw",
    [
        answer(),
        answer(None, "length"),
        answer(choice={"message": {}}),
        b'{"choices": [{"message": {}, "finish_reason": null}], "choices": [{"message": {}}]}',
        b'{"choices": [], "prompt_filter_results": '
        b'[{"content_filter_results": {"hate": {"filtered": true}}}]}',
    ],
)
def test_answers(raw: bytes) -> None:
    assert WIRE.is_answer(raw)
    parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html></html>",
        b"null",
        b"[]",
        b'"choices"',
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": "text"}]}',
        b'{"choices": [{"message": {"content": NaN}}]}',
        answer()[:-3],
        b"\xff" + answer(),
        orjson.dumps({"error": {"message": "no"}}),
        answer(finish="error"),
        answer(finish="insufficient_system_resource"),
    ],
)
def test_no_answers(raw: bytes) -> None:
    assert not WIRE.is_answer(raw)


FIELDS = """choices message content finish_reason usage prompt_tokens prompt_tokens_details
logprobs token logprob top_logprobs tool_calls function function_call reasoning refusal error code
model prompt_filter_results content_filter_results thinking text"""
KEYS = st.sampled_from(FIELDS.split())
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
CHOICE = st.dictionaries(KEYS, JSON) | st.fixed_dictionaries(
    {"message": st.dictionaries(KEYS, JSON)}
)
ANSWER = JSON | st.dictionaries(KEYS, JSON) | st.fixed_dictionaries({"choices": st.lists(CHOICE)})


@given(ANSWER)
def test_no_json_whatever_raises_anything_else(value: object) -> None:
    raw = orjson.dumps(value)
    WIRE.is_answer(raw)
    try:
        parse(raw)
    except MEANINGLESS:
        pass
    else:
        assert not isinstance(value, list)


@given(st.binary())
def test_no_bytes_whatever_raise_anything_else(raw: bytes) -> None:
    assert not WIRE.is_answer(raw)
    with pytest.raises(MEANINGLESS):
        parse(raw)
