"""The server as OpenAI's own client sees it, against the decoder asked directly."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from mwalimu.data.batched_generation import read_ids
from mwalimu.data.tokenize import encode_prompt
from mwalimu.runtimes import load_decoder
from mwalimu.runtimes.generation import greedy
from tests.serving.running import Running

QUESTIONS = ["hello", "what is 2 + 2?", "a", "tell me more <|end|> please", "zz top", "why not"]
MOST = 24


def said(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def alone(server: Running, question: str, stop: tuple[str, ...] = ()) -> Any:
    prompt = encode_prompt(server.tokenizer, said(question))
    decoder = load_decoder(server.folder)
    ids = greedy(decoder, [prompt], ends=server.ends, max_tokens=MOST)[0]
    return read_ids(server.tokenizer, ids, server.ends, stop)


def test_greedy_is_the_decoder_asked_directly(server: Running, client: openai.OpenAI) -> None:
    for question in QUESTIONS:
        answer = client.chat.completions.create(
            model="tiny", messages=said(question), temperature=0, max_tokens=MOST
        )
        expected = alone(server, question)
        choice = answer.choices[0]
        assert choice.message.content == expected.text
        assert choice.finish_reason == ("stop" if expected.stopped else "length")
        assert answer.usage.completion_tokens == expected.tokens
        prompt = encode_prompt(server.tokenizer, said(question))
        assert answer.usage.prompt_tokens == len(prompt)


def test_many_at_once_answer_as_each_alone(server: Running) -> None:
    """More than there are slots, streaming or not, through the asynchronous client."""

    async def ask(client: openai.AsyncOpenAI, question: str, stream: bool) -> str:
        options: Any = {"model": "tiny", "temperature": 0, "max_tokens": MOST}
        if not stream:
            answer = await client.chat.completions.create(messages=said(question), **options)
            return str(answer.choices[0].message.content)
        parts = await client.chat.completions.create(
            messages=said(question), stream=True, **options
        )
        return "".join([part.choices[0].delta.content or "" async for part in parts])

    async def everyone() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
            asked = [(q, i % 2 == 0) for i, q in enumerate(QUESTIONS * 2)]
            return await asyncio.gather(*(ask(client, q, s) for q, s in asked))

    expected = [alone(server, question).text for question in QUESTIONS]
    assert asyncio.run(everyone()) == expected * 2
    assert server.settles()


def test_a_seed_gives_the_same_answer_under_load(server: Running, client: openai.OpenAI) -> None:
    def ask(**more: Any) -> list[str]:
        answer = client.chat.completions.create(
            model="tiny", messages=said("hello"), temperature=0.9, top_p=0.9, max_tokens=16, **more
        )
        return [str(choice.message.content) for choice in answer.choices]

    quiet = ask(seed=7, n=3)
    assert len(set(quiet)) > 1, "the choices are draws of their own"

    async def loaded() -> list[list[str]]:
        return await asyncio.gather(
            *(asyncio.to_thread(ask, seed=s, n=3) for s in (7, 8, 7, 9, 10, 7))
        )

    answers = asyncio.run(loaded())
    assert answers[0] == answers[2] == answers[5] == quiet
    assert answers[1] != quiet
    assert ask() != ask(), "without a seed every request draws anew"


def test_a_stream_adds_up_to_the_whole(server: Running, client: openai.OpenAI) -> None:
    options: Any = {"model": "tiny", "messages": said("hello"), "temperature": 0, "n": 2}
    options |= {"max_tokens": MOST, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**options)
    parts = list(
        client.chat.completions.create(
            stream=True, stream_options={"include_usage": True}, **options
        )
    )
    assert parts[-1].usage == whole.usage and not parts[-1].choices
    for index, choice in enumerate(whole.choices):
        mine = [p.choices[0] for p in parts[:-1] if p.choices[0].index == index]
        assert mine[0].delta.role == "assistant"
        assert "".join(part.delta.content or "" for part in mine) == choice.message.content
        spelled = [t for part in mine if part.logprobs for t in part.logprobs.content or []]
        assert choice.logprobs and spelled == choice.logprobs.content
        assert [p.finish_reason for p in mine if p.finish_reason] == [choice.finish_reason]


def test_log_probabilities_are_the_models_own(server: Running, client: openai.OpenAI) -> None:
    """At temperature 1 and without the nucleus, whatever is sampled with."""
    import torch

    from mwalimu.data.loading import load_causal_lm

    model, _ = load_causal_lm(str(server.folder))
    answer = client.chat.completions.create(
        model="tiny",
        messages=said("hello"),
        temperature=1.5,
        top_p=0.5,
        seed=3,
        max_tokens=8,
        logprobs=True,
        top_logprobs=2,
    )
    rows = answer.choices[0].logprobs.content
    vocabulary = server.tokenizer.get_vocab()
    prompt = encode_prompt(server.tokenizer, said("hello"))
    ids = [vocabulary[row.token] for row in rows]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0].double()
    expected = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    for place, (row, token) in enumerate(zip(rows, ids, strict=True)):
        assert row.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
        best = expected[place].topk(2)
        assert [one.logprob for one in row.top_logprobs] == pytest.approx(
            best.values.tolist(), abs=1e-4
        )
        assert row.bytes is None or bytes(row.bytes).decode() == row.token


def test_a_stop_string_ends_and_is_cut_off(server: Running, client: openai.OpenAI) -> None:
    whole = alone(server, "hello").text
    stop = whole[3:5]
    expected = alone(server, "hello", (stop,))
    options: Any = {"model": "tiny", "messages": said("hello"), "temperature": 0}
    options |= {"max_tokens": MOST, "stop": ["never this", stop]}
    answer = client.chat.completions.create(**options)
    assert answer.choices[0].message.content == expected.text == whole[: whole.find(stop)].strip()
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == expected.tokens < MOST
    parts = client.chat.completions.create(stream=True, **options)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected.text


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_schema_is_kept(server: Running, client: openai.OpenAI, temperature: int) -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
        "required": ["label", "sure"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="tiny",
        messages=said("hello"),
        temperature=temperature,
        seed=1,
        n=3,
        max_tokens=120,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    for choice in answer.choices:
        found = json.loads(choice.message.content)
        assert found["label"] in ("yes", "no") and isinstance(found["sure"], bool)
        assert choice.finish_reason == "stop"


def test_json_alone_is_an_object(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=said("hello"),
        temperature=0,
        max_tokens=400,
        response_format={"type": "json_object"},
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(str(answer.choices[0].message.content)), dict)
    assert str(answer.choices[0].message.content).startswith("{")


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"model": "other"}, openai.NotFoundError, "no model 'other', only 'tiny'"),
        ({"temperature": 3}, openai.BadRequestError, "temperature: "),
        ({"logit_bias": {"1": 2}}, openai.BadRequestError, "logit_bias: "),
        ({"extra_body": {"odd": 1}}, openai.BadRequestError, "odd: Extra inputs"),
        ({"messages": []}, openai.BadRequestError, "messages: "),
        (
            {"messages": [{"role": "assistant", "content": "hi"}]},
            openai.BadRequestError,
            r"messages\[0\]\.role is 'assistant' where 'user' must stand",
        ),
        (
            {"messages": [*said("a"), {"role": "assistant", "content": "b"}]},
            openai.BadRequestError,
            "there is nothing to answer",
        ),
        ({"messages": said("long " * 200)}, openai.BadRequestError, "the model's context has 512"),
        ({"max_tokens": 5000}, openai.BadRequestError, "this server writes at most 1024"),
        ({"top_logprobs": 2}, openai.BadRequestError, "needs logprobs: true"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            openai.BadRequestError,
            "needs a schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "odd"}},
                }
            },
            openai.BadRequestError,
            "this schema cannot be enforced",
        ),
    ],
)
def test_what_is_wrong_is_said_in_openai_s_shape(
    client: openai.OpenAI, wrong: dict[str, Any], error: type[openai.APIStatusError], says: str
) -> None:
    options: dict[str, Any] = {"model": "tiny", "messages": said("hello"), "max_tokens": 4} | wrong
    with pytest.raises(error, match=says) as caught:
        client.chat.completions.create(**options)
    assert caught.value.type == "invalid_request_error"


def test_tools_stand_in_the_prompt_and_calls_come_back(
    server: Running, client: openai.OpenAI, tmp_path: Path
) -> None:
    tools: Any = [
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    ]
    options: Any = {"model": "tiny", "temperature": 0, "max_tokens": 4, "tools": tools}
    answer = client.chat.completions.create(messages=said("hello"), **options)
    assert answer.usage.prompt_tokens == len(encode_prompt(server.tokenizer, said("hello"), tools))
