"""Which tokenizer counts, and that it counts what the teacher will be sent."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.data.tokenize import encode_prompt
from mwalimu.estimate.spans import ONE, Span
from mwalimu.estimate.tokens import Counter, size_of, student_counter, teacher_counter
from tests.tiny import make_tokenizer

CHAT = (Message("system", "Be brief."), Message("user", "Why <|end|> so?"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def save_tokenizer(folder: Path, chat_template: bool = True) -> str:
    tokenizer = make_tokenizer() if chat_template else make_tokenizer(chat_template=None)
    tokenizer.save_pretrained(folder)
    return str(folder)


def cached(cache: Path, hub_id: str) -> None:
    repo = cache / f"models--{hub_id.replace('/', '--')}"
    save_tokenizer(repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc", encoding="utf-8")


def counter_of(model: str, student: str = "none", **settings: str) -> Counter:
    return teacher_counter(TeacherConfig(model=model, **settings), student)


def test_a_folder_counts_what_the_teacher_is_asked(tmp_path: Path) -> None:
    counter = counter_of(save_tokenizer(tmp_path / "t"))
    assert counter.chat(CHAT, ()) == len(encode_prompt(make_tokenizer(), CHAT))
    assert counter.text("four") == 4 and counter.factor == ONE
    assert counter.basis == "the teacher's own tokenizer and chat template"


def test_without_a_template_its_tokens_are_assumed(tmp_path: Path) -> None:
    counter = counter_of(save_tokenizer(tmp_path / "t", chat_template=False))
    assert counter.chat((Message("user", "four"),), ()) == 4 + 2 * 4
    assert "4 tokens around a message" in counter.basis


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai/gpt-oss-20b", {}),
        ("gpt-oss-20b", {}),
        ("mine", {"identity": "gpt-oss-20b", "base_url": "http://gpu:8000/v1"}),
    ],
)
def test_a_hub_id_or_its_names_count_from_the_local_cache(
    empty_cache: Path, model: str, settings: dict[str, str]
) -> None:
    assert "bytes a token" in counter_of(model, **settings).basis
    cached(empty_cache, "openai/gpt-oss-20b")
    counter = counter_of(model, **settings)
    assert counter.chat(CHAT, ()) == len(encode_prompt(make_tokenizer(), CHAT))
    assert "the teacher's own" in counter.basis


def test_the_student_s_tokenizer_stands_in_with_a_wider_range(tmp_path: Path) -> None:
    student = save_tokenizer(tmp_path / "s")
    counter = counter_of("unheard-of", student)
    assert counter.factor == Span(1.0, 0.8, 1.25) and "the student's" in counter.basis
    assert student_counter(student).factor == ONE


def test_bytes_are_the_last_resort_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "tokenizer.json").write_text("{", encoding="utf-8")
    for counter in (counter_of("not a: hub id!"), counter_of(str(tmp_path / "t"))):
        assert counter.text("x" * 40) == 10 and counter.text("") == 0
        assert counter.factor == Span(1.0, 0.8, 4 / 3)
        assert counter.chat((Message("user", "x" * 40),), ()) == 18
        assert "4 bytes a token (3 to 5)" in counter.basis


def test_tools_and_calls_are_counted() -> None:
    tools = ({"type": "function", "function": {"name": "look", "parameters": {}}},)
    call = Message("assistant", "", ({"id": "1", "function": {"name": "look", "arguments": ""}},))
    plain = (Message("user", "ä"),)
    assert size_of(plain) == 2 and size_of(plain, tools) > 50 and size_of((call,)) > 40
    counter = counter_of("unheard-of")
    assert counter.chat((call,), tools) > counter.chat((call,), ()) > counter.chat(plain, ())
