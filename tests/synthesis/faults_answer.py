"""Faults of a chat answer of the right form: its text, its end, its counts."""

from __future__ import annotations

from tests.synthesis.faults import LONGER, NOTHING, body, row
from tests.synthesis.faulty_server import Exchange, answer_to

Json = dict[str, object]
EMPTY = row("invalid", stored=True)
NO_MEANING = row("failed", stored=True)

# The text


@body(EMPTY)
def content_missing(x: Exchange) -> Json:
    return x.completion(choice={"message": {"role": "assistant"}})


@body(EMPTY)
def content_null(x: Exchange) -> Json:
    return x.completion({"content": None})


@body(EMPTY)
def content_empty(x: Exchange) -> Json:
    return x.completion({"content": ""})


@body(EMPTY)
def content_blank(x: Exchange) -> Json:
    return x.completion({"content": " \n\t\u00a0\u2003 "})


@body(EMPTY)
def content_only_a_thought(x: Exchange) -> Json:
    return x.completion({"content": "<think>and so on and so on"})


@body(NOTHING)
def content_of_parts(x: Exchange) -> Json:
    parts = [{"type": "text", "text": "answer "}, {"type": "image"}, None]
    return x.completion({"content": [*parts, answer_to(x.prompt).removeprefix("answer ")]})


@body(NO_MEANING)
def content_a_number(x: Exchange) -> Json:
    return x.completion({"content": 42})


@body(NO_MEANING)
def content_an_object(x: Exchange) -> Json:
    return x.completion({"content": {"text": answer_to(x.prompt)}})


@body(NOTHING)
def text_with_nul_and_controls(x: Exchange) -> Json:
    return x.completion({"content": answer_to(x.prompt) + "\x00\x1b[31m\r\u2028\u202e\ufeff\uffff"})


@body(NOTHING)
def text_of_five_megabytes(x: Exchange) -> Json:
    return x.completion({"content": answer_to(x.prompt) + "x" * (5 << 20)})


@body(NOTHING)
def text_that_looks_like_json(x: Exchange) -> Json:
    return x.completion({"content": answer_to(x.prompt) + '"}]}\n{"error": {"code": 401}}'})


@body(NOTHING)
def role_missing(x: Exchange) -> Json:
    return x.completion(choice={"message": {"content": answer_to(x.prompt)}})


@body(NOTHING)
def two_choices(x: Exchange) -> Json:
    first = x.completion()["choices"][0]
    other = {"index": 1, "message": {"content": "other"}, "finish_reason": "length"}
    return x.completion(choices=[first, other])


# The end


@body(LONGER)
def finish_length(x: Exchange) -> Json:
    return x.completion(choice={"finish_reason": "length"})


@body(LONGER)
def stop_at_the_limit(x: Exchange) -> Json:
    """Mislabelled: nothing stops by itself at exactly the limit."""
    limit = x.body["max_tokens"]
    return x.completion(usage={"prompt_tokens": 7, "completion_tokens": limit})


@body(row("filtered", stored=True))
def finish_content_filter(x: Exchange) -> Json:
    return x.completion(choice={"finish_reason": "content_filter"})


@body(row("filtered", stored=True))
def prompt_filtered(x: Exchange) -> Json:
    results = [{"content_filter_results": {"hate": {"filtered": True}}}]
    return x.completion(choices=[], prompt_filter_results=results)


@body(row("refused", stored=True))
def refusal(x: Exchange) -> Json:
    return x.completion({"content": None, "refusal": "I cannot"})


@body(NO_MEANING)
def finish_missing(x: Exchange) -> Json:
    choice = dict(x.completion()["choices"][0])
    del choice["finish_reason"]
    return x.completion(choices=[choice])


@body(NO_MEANING)
def finish_null(x: Exchange) -> Json:
    return x.completion(choice={"finish_reason": None})


@body(NO_MEANING)
def finish_unknown(x: Exchange) -> Json:
    return x.completion(choice={"finish_reason": "abort\n" + "x" * 5000})


@body(NO_MEANING)
def finish_an_object(x: Exchange) -> Json:
    return x.completion(choice={"finish_reason": {"type": "stop"}})


@body(EMPTY)
def tool_calls_that_nobody_offered(x: Exchange) -> Json:
    call = {"id": "1", "type": "function", "function": {"name": "rm", "arguments": "{}"}}
    return x.completion({"content": None, "tool_calls": [call]}, {"finish_reason": "tool_calls"})


@body(EMPTY)
def tool_calls_of_odd_types(x: Exchange) -> Json:
    return x.completion({"content": None, "tool_calls": [None, "x", {"function": 3}]})


# The counts and labels


@body(NOTHING)
def usage_null(x: Exchange) -> Json:
    return x.completion(usage=None)


@body(NOTHING)
def usage_missing(x: Exchange) -> Json:
    return {k: v for k, v in x.completion().items() if k != "usage"}


@body(NOTHING)
def usage_negative(x: Exchange) -> Json:
    return x.completion(usage={"prompt_tokens": -7, "completion_tokens": -3})


@body(NOTHING)
def usage_huge(x: Exchange) -> Json:
    return x.completion(usage={"prompt_tokens": 10**30, "completion_tokens": 3})


@body(NOTHING)
def usage_above_32_bits(x: Exchange) -> Json:
    return x.completion(usage={"prompt_tokens": 2**32, "completion_tokens": 3})


@body(NOTHING)
def usage_of_strings(x: Exchange) -> Json:
    return x.completion(usage={"prompt_tokens": "7", "completion_tokens": "3"})


@body(NOTHING)
def usage_of_odd_types(x: Exchange) -> Json:
    details = {"cached_tokens": [1]}
    counts = {"prompt_tokens": 7.9, "completion_tokens": True}
    return x.completion(usage=counts | {"prompt_tokens_details": details})


@body(NOTHING)
def usage_a_list(x: Exchange) -> Json:
    return x.completion(usage=[7, 3])


@body(NOTHING)
def wrong_model(x: Exchange) -> Json:
    return x.completion(model="another-2025-01-01")


@body(NOTHING)
def model_of_odd_type(x: Exchange) -> Json:
    return x.completion(model={"name": "tiny"})


@body(NOTHING)
def wrong_id(x: Exchange) -> Json:
    return x.completion(id=None, object="embedding", created="yesterday")


@body(NOTHING)
def logprobs_that_nobody_asked_for(x: Exchange) -> Json:
    return x.completion(choice={"logprobs": {"content": [{"tok": 1}], "tokens": ["a"]}})
