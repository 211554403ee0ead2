import asyncio
from pathlib import Path

import pytest

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.errors import TeacherError, UnknownTeacherModel
from mwalimu.teachers.base import Completion, Request, Sampling
from mwalimu.teachers.local import LocalTeacher
from tests.tiny import make_tiny_model


def ask(
    folder: Path, texts: list[str], *, temperature: float = 0.0, tokens: int = 8
) -> list[Completion]:
    teacher = LocalTeacher(TeacherConfig(model=str(folder)))
    sampling = Sampling(temperature=temperature, max_tokens=tokens)
    requests = [Request(str(folder), (Message("user", text),), sampling) for text in texts]

    async def go() -> list[Completion]:
        await teacher.check()
        return [teacher.parse(raw) for raw in await teacher.send(requests)]

    return asyncio.run(go())


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
