import json
from pathlib import Path

import pytest

from mwalimu.data.formats.source import open_source
from mwalimu.data.traffic import read_traffic, traffic_file
from mwalimu.errors import DataError


def row(text: str) -> dict[str, object]:
    return {
        "id": f"traffic-{text}",
        "task": "generic",
        "messages": [{"role": "user", "content": text}],
        "metadata": {"source": "escalated", "confidence": 0.2, "probability": 1.0},
        "student": "s",
        "teacher": "t",
        "model": "big",
        "time": "2026-11-28T10:00:00+00:00",
    }


def write(folder: Path, number: int, *rows: object, end: str = "") -> Path:
    path = traffic_file(folder, number)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows) + end)
    return path


def test_questions_come_in_the_order_of_the_files_without_an_answer(tmp_path: Path) -> None:
    write(tmp_path, 2, row("c"))
    write(tmp_path, 1, row("a"), row("b"))
    notes: list[str] = []
    found = list(read_traffic(tmp_path, task="qa", note=notes.append))
    assert [record.messages[0].content for record in found] == ["a", "b", "c"]
    assert found[0].reference is None
    assert found[0].task == "generic"
    assert found[0].metadata["probability"] == 1.0
    assert notes == []


def test_a_torn_last_line_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = write(tmp_path, 1, row("a"), end='{"id": "x", "mess')
    notes: list[str] = []
    assert len(list(read_traffic(tmp_path, task="qa", note=notes.append))) == 1
    assert notes == [f"{path}:2: is torn, its server was stopped in it; left out"]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [("{", "is no JSON"), ("[]", "is no JSON object"), ('{"id": "a"}', "messages: is missing")],
)
def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path, bad: str, problem: str) -> None:
    path = write(tmp_path, 1, row("a"), end=f"{bad}\n" + json.dumps(row("b")) + "\n")
    with pytest.raises(DataError, match=problem) as raised:
        list(read_traffic(tmp_path, task="qa", note=print))
    assert f"{path}:2" in str(raised.value)


def test_a_folder_without_traffic(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no traffic"):
        list(read_traffic(tmp_path / "none", task="qa", note=print))


def test_the_data_commands_read_it_as_rows(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, 1, row("a")))
    assert source.format.name == "mwalimu"
    ((_, record),) = source.records()
    assert record.to_json()["messages"] == [{"role": "user", "content": "a"}]  # type: ignore[union-attr]
