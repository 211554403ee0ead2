from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.errors import ConfigError, DataError
from mwalimu.synthesis.prompts.documents import passages, spans
from mwalimu.synthesis.prompts.personas import read_personas
from mwalimu.synthesis.prompts.templates import fill, load_templates

PARTS = st.sampled_from(["one two three.", "four five!", "six", "\n", "\n\n", " ", "a b c d e f g"])


def parts(text: str, most: int) -> list[str]:
    return [text[start:end] for start, end in spans(text, most)]


def test_paragraphs_are_put_together_and_cut_at_sentences() -> None:
    text = "a b\n\nc d\n\n" + "e f g. h i j? k l m n o p q\n\nr"
    assert parts(text, 4) == ["a b\n\nc d", "e f g.", "h i j?", "k l m n o p q", "r"]
    assert parts(text, 100) == [text]
    assert parts(" \n\n ", 4) == []


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=20).map("".join), st.integers(1, 12))
def test_spans_cover_all_words_once_and_in_order(text: str, most: int) -> None:
    found = spans(text, most)
    assert " ".join(text[a:b] for a, b in found).split() == text.split()
    assert all(a < b for a, b in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert all(text[a:b] == text[a:b].strip() for a, b in found)


def test_documents_of_a_folder(tmp_path: Path) -> None:
    words = "one two three four five six seven eight"
    (tmp_path / "b.txt").write_text(words)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.md").write_text(f"# Title\n\n{words} nine")
    (tmp_path / "c.pdf").write_bytes(b"\xff")
    found = list(passages(tmp_path, 9))
    assert [(p.document, p.start, p.text) for p in found] == [
        ("b.txt", 0, words),
        ("below/a.md", 9, f"{words} nine"),
    ]
    (tmp_path / "d.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"d\.txt: cannot be read"):
        list(passages(tmp_path, 9))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no documents with text"):
        list(passages(tmp_path / "empty", 9))


def test_personas(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text('A nurse\n\n{"persona": "A baker", "id": 1}\n', encoding="utf-8")
    assert list(read_personas(path)) == ["A nurse", "A baker"]
    path.write_text('A nurse\n{"name": "x"}\n')
    with pytest.raises(DataError, match=r"people\.txt:2: persona: is missing"):
        list(read_personas(path))
    path.write_text("\n")
    with pytest.raises(DataError, match="has no personas"):
        list(read_personas(path))


def test_templates_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("personas: 'Give {count} questions, as {\"a\": 1}.'\n")
    found = load_templates(path)
    assert fill(found["personas"], count=3) == 'Give 3 questions, as {"a": 1}.'
    assert found["documents"] == load_templates(None)["documents"]
    assert fill("{passage} {count}", passage="{count}", count=2) == "{count} 2"
    for text, problem in (
        ("person: x", "'person' is no template; one of self_instruct"),
        ("personas: none", "personas does not say where count goes; put {count} into it"),
        ("[1]", "is no mapping"),
        ("personas: [", "cannot be read as YAML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_templates(path)
        assert problem in str(caught.value)
