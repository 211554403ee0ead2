import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.data.tokenize import encode_prompt
from mwalimu.errors import TeacherError, UnknownTeacherModel
from mwalimu.teachers.base import Completion, Reply, Request, Sampling
from mwalimu.teachers.local import LocalTeacher
from mwalimu.teachers.on_machine import parse_answer
from tests.tiny import make_tiny_model

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def send(folder: Path, requests: list[Request], **settings: Any) -> list[Completion]:
    teacher = LocalTeacher(TeacherConfig(model=str(folder), **settings))

    async def go() -> list[Completion]:
        await teacher.check()
        replies = await teacher.send(requests)
        assert all(isinstance(reply, Reply) and reply.limits is None for reply in replies)
        return [teacher.parse(reply.raw) for reply in replies]

    return asyncio.run(go())


def question(text: str, sampling: Sampling, **more: Any) -> Request:
    return Request("teacher", (Message("user", text),), sampling, **more)


def ask(
    folder: Path, texts: list[str], *, temperature: float = 0.0, tokens: int = 8
) -> list[Completion]:
    sampling = Sampling(temperature=temperature, max_tokens=tokens)
    return send(folder, [question(text, sampling) for text in texts])


@pytest.mark.parametrize("arch", ["llama", "phi3", "qwen2"])
def test_padding_does_not_change_an_answer(tmp_path: Path, arch: str) -> None:
    folder = make_tiny_model(tmp_path, arch=arch)
    short, long = "hi", "a much longer question than the other one"
    together = [c.text for c in ask(folder, [short, long])]
    alone = [ask(folder, [short])[0].text, ask(folder, [long])[0].text]
    assert together == alone


def test_an_answer_that_does_not_end_is_truncated(tmp_path: Path) -> None:
    (completion,) = ask(make_tiny_model(tmp_path), ["hello"], tokens=3)
    assert completion.finish_reason == "length" and completion.usage.completion_tokens == 3


def test_a_prompt_over_the_context_fails_alone(tmp_path: Path) -> None:
    long, short = ask(make_tiny_model(tmp_path), ["x" * 600, "hello"])
    assert long.finish_reason == "error" and "context leaves room for 504" in long.detail
    assert short.finish_reason in ("length", "stop")


def test_sampling_is_repeatable_and_differs_from_greedy(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    first, second = (ask(folder, ["hello"], temperature=1.0, tokens=20)[0] for _ in range(2))
    assert first == second
    assert first.text != ask(folder, ["hello"], tokens=20)[0].text


@pytest.mark.parametrize("content", [None, "", "{", '{"model_type": "nonsense"}'])
def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UnknownTeacherModel) as caught:
        ask(tmp_path, ["hello"])
    assert "\n" not in str(caught.value)


def test_a_teacher_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    make_tiny_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(TeacherError, match="no chat template"):
        ask(tmp_path, ["hello"])


def test_samples_of_one_question_differ_and_repeat(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    sampling = Sampling(temperature=1.0, max_tokens=20)
    batches = [[question("hello", sampling, sample=i)] for i in range(4)]
    apart = [send(folder, batch)[0].text for batch in batches]
    assert len(set(apart)) == 4
    assert [send(folder, batch)[0].text for batch in batches] == apart
    together = [c.text for c in send(folder, [request for (request,) in batches])]
    assert len(set(together)) == 4


def test_log_probabilities_are_stored_and_read_again(tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=6, top_logprobs=3)
    plain, scored = (
        send(make_tiny_model(tmp_path), [question("hello", s)])[0]
        for s in (Sampling(max_tokens=6), sampling)
    )
    assert plain.logprobs is None and scored.logprobs is not None
    spelled = "".join(score.token for score in scored.logprobs).replace("<unk>", "")
    assert spelled.strip() == scored.text == plain.text
    for score in scored.logprobs:
        assert len(score.top) == 3 and score.top[0] == (score.token, score.logprob)  # greedy
        assert score.logprob <= 0 and score.logprob == round(score.logprob, 6)


def test_a_stop_string_is_an_end(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    (free,) = ask(folder, ["hello"], tokens=20)
    stop = free.text[5:7]
    (completion,) = send(folder, [question("hello", Sampling(max_tokens=20, stop=(stop,)))])
    assert completion.finish_reason == "stop" and completion.usage.completion_tokens < 20
    assert free.text.startswith(completion.text + stop)


def test_requests_of_different_sampling_in_one_batch(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    lengths = [3, 9, 3, 5]
    requests = [question(f"q{i}", Sampling(max_tokens=n)) for i, n in enumerate(lengths)]
    answers = send(folder, requests)
    assert [a.usage.completion_tokens for a in answers] == lengths
    assert answers == [send(folder, [request])[0] for request in requests]


def test_tools_are_in_the_prompt_and_a_schema_changes_nothing(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    teacher = LocalTeacher(TeacherConfig(model=str(folder)))
    assert teacher.capabilities.tools and not teacher.capabilities.schema
    sampling = Sampling(max_tokens=5)
    plain, tooled, bound = send(
        folder,
        [
            question("hello", sampling),
            question("hello", sampling, tools=(TOOL,)),
            question("hello", sampling, schema={"type": "object"}),
        ],
    )
    from transformers import AutoTokenizer

    ids = encode_prompt(AutoTokenizer.from_pretrained(folder), [Message("user", "hello")], [TOOL])
    assert tooled.usage.prompt_tokens == len(ids) > plain.usage.prompt_tokens
    assert bound == plain


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('I see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>', "I see."),
        ('{"name": "add", "parameters": {"a": 1}}', ""),
        ('[{"name": "add", "arguments": "{\\"a\\": 1}"}]', ""),
    ],
)
def test_a_call_in_the_text_is_a_call(text: str, rest: str) -> None:
    row = {"text": text, "finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 9}
    raw = json.dumps(row | {"detail": "", "tools": ["add"]}).encode()
    completion = parse_answer(raw, "m")
    assert completion.text == rest
    function = {"name": "add", "arguments": '{"a":1}'}
    assert completion.tool_calls == ({"id": "call00000", "type": "function", "function": function},)
    for row_tools in ({}, {"tools": ["other"]}):
        raw = json.dumps(row | {"detail": ""} | row_tools).encode()
        assert parse_answer(raw, "m").text == text
        assert parse_answer(raw, "m").tool_calls == ()


def test_a_conversation_that_the_template_refuses_fails_alone(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    template = folder / "chat_template.jinja"
    refuse = "{% if 'bad' in messages[-1].content %}{{ raise_exception('not this') }}{% endif %}"
    template.write_text(refuse + template.read_text(encoding="utf-8"), encoding="utf-8")
    bad, good = ask(folder, ["bad", "good"])
    assert bad.finish_reason == "error" and "refuses the conversation (not this)" in bad.detail
    assert good.finish_reason == "length"


def test_an_identity_of_the_config_is_the_name_in_the_store(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "some")
    request = question("hello", Sampling(max_tokens=1))
    assert send(folder, [request])[0].model.startswith("some@")
    assert send(folder, [request], identity="the teacher")[0].model == "the teacher"


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = make_tiny_model(tmp_path) / "model.safetensors"
    tensors = load_file(file)
    save_file({n: t for n, t in tensors.items() if "layers.1" not in n}, file, {"format": "pt"})
    with pytest.raises(UnknownTeacherModel, match="weights are missing"):
        ask(tmp_path, ["hello"])
