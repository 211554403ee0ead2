import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mwalimu.data import inspecting
from mwalimu.data.formats.source import open_source
from mwalimu.data.inspecting import Lengths, inspect_rows


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lengths_are_nearest_rank_percentiles() -> None:
    chooser = random.Random(3)
    for size in (1, 2, 19, 20, 21, 100, 997):
        lengths = [chooser.randrange(50) for _ in range(size)]
        found = Lengths.of(Counter(lengths))
        wanted = np.percentile(lengths, [0, 50, 95, 100], method="inverted_cdf")
        assert [found.least, found.median, found.p95, found.most] == list(wanted)


def test_what_a_file_holds(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"prompt": "Is it wet or is it dry?", "completion": "wet", "task": "nli"},
        {"prompt": "Is it wet or is it dry?", "completion": "dry", "task": "nli"},
        {"prompt": "one two", "completion": "wet", "system": "s"},
        {"prompt": ""},
    ]
    found = inspect_rows(open_source(write(tmp_path, *rows), task="qa"))
    assert (found.format, found.rows, found.tasks) == ("mwalimu", 3, {"nli": 2, "qa": 1})
    assert found.turns == {2: 2, 3: 1}
    assert (found.with_system, found.with_answer, found.with_tools) == (1, 3, 0)
    assert found.labels == {"wet": 2, "dry": 1}
    assert found.repeated_prompts == 1
    assert found.lengths["prompt words"] == Lengths(3, 7, 7, 7)
    assert found.lengths["answer characters"] == Lengths(3, 3, 3, 3)
    assert found.problems_found == 1 and ":4: prompt: is empty" in found.problems[0]
    assert json.loads(json.dumps(found.to_json()))["labels"] == {"wet": 2, "dry": 1}


def test_texts_are_no_labels(tmp_path: Path) -> None:
    rows = [{"prompt": f"p {i}", "completion": f"answer {i}"} for i in range(inspecting.LABELS + 1)]
    assert inspect_rows(open_source(write(tmp_path, *rows))).labels == {}
    long = {"prompt": "p", "completion": "far more words than a label ever has"}
    assert inspect_rows(open_source(write(tmp_path, long))).labels == {}


def test_languages_where_the_library_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    german = {"prompt": "Wo ist meine Bestellung, die am Montag kommen sollte?"}
    english = {"prompt": "Where is the order that was due on Monday morning?"}
    path = write(tmp_path, german, english, english)
    assert inspect_rows(open_source(path)).languages == {"en": 2, "de": 1}

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(inspecting, "import_module", absent)
    assert inspect_rows(open_source(path)).languages == {}
