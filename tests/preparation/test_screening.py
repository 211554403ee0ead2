import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from mwalimu.config import Config, build_config
from mwalimu.data.dataset import Dataset, open_dataset
from mwalimu.errors import ConfigError, DataError
from mwalimu.preparation.screening import Found, Sources, screen
from tests.preparation.planted import sentences
from tests.preparation.test_public_sets import DUCKS

REMOTE = {"model": "m", "base_url": "http://127.0.0.1:9/v1"}


def sources(folder: Path, **splits: list[Any]) -> Sources:
    held: dict[str, Dataset] = {}
    for split, rows in splits.items():
        path = folder / f"{split}.jsonl"
        given = [row if isinstance(row, dict) else {"prompt": row} for row in rows]
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in given))
        held[split] = open_dataset(path, task="generic", split=split)
    return Sources(**held)


def config_for(
    data: dict[str, Any] | None = None, teacher: dict[str, Any] | None = None, **changes: Any
) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "train.jsonl", **(data or {})},
        "teacher": teacher or {"model": "fake"},
        "student": {"model": "unused"},
    }
    return build_config(raw | changes, base=Path.cwd())


def screened(config: Config, given: Sources) -> tuple[dict[str, list[Found]], list[str]]:
    notes: list[str] = []
    matches = screen(config, given, notes.append)
    return {split: list(found) for split, found in matches.items()}, notes


def lines(matches: dict[str, list[Found]]) -> dict[str, list[tuple[int, str]]]:
    return {split: [(f.number, f.match.kind) for f in found] for split, found in matches.items()}


def test_an_equal_row_is_refused_with_both_places(tmp_path: Path) -> None:
    given = sources(tmp_path, train=["a b", "c d", "E F!", "g"], test=["x", "e  f", "c d"])
    with pytest.raises(DataError) as error:
        screened(config_for(), given)
    text = str(error.value)
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    assert f"{train}: 2 rows of it are held out as well" in text
    assert f"{train}:2: asks what {test}:3 asks" in text
    assert f"{train}:3: asks what {test}:2 asks" in text
    assert "set data.contamination to drop" in text


def test_validation_rows_are_held_to_the_same(tmp_path: Path) -> None:
    given = sources(tmp_path, train=["a"], validation=["b", "T"], test=["t"])
    with pytest.raises(DataError, match=re.escape("validation.jsonl:2: asks what")):
        screened(config_for(), given)


def test_many_rows_are_counted_and_twenty_are_shown(tmp_path: Path) -> None:
    rows = sentences(50)
    with pytest.raises(DataError) as error:
        screened(config_for(), sources(tmp_path, train=rows, test=rows))
    assert str(error.value).count(": asks what") == 20
    assert "50 rows" in str(error.value) and "and 30 more" in str(error.value)


def test_drop_finds_validation_rows_among_the_training_rows_too(tmp_path: Path) -> None:
    given = sources(tmp_path, train=["v", "t", "x"], validation=["v", "t"], test=["t"])
    matches, _ = screened(config_for({"contamination": "drop"}), given)
    assert lines(matches) == {"train": [(1, "equal"), (2, "equal")], "validation": [(2, "equal")]}


def test_allow_says_nothing_of_equal_rows(tmp_path: Path) -> None:
    rows = sentences(3)
    given = sources(tmp_path, train=rows, test=rows)
    assert screened(config_for({"contamination": "allow"}), given)[1] == []
    quiet = config_for({"contamination": "allow"}, prepare={"overlap": "off"})
    assert screened(quiet, given)[0] == {"train": []}


def test_an_overlap_is_told_with_the_limits_of_the_method(tmp_path: Path) -> None:
    test = sentences(3)
    given = sources(tmp_path, train=["new", f"{test[1]} and more"], test=test)
    matches, (note,) = screened(config_for(), given)
    assert lines(matches) == {"train": [(2, "overlap")]}
    assert note.startswith(
        "1 of 2 train rows share 13 words in a row with a held-out row (line 2 of"
    )
    assert "Paraphrases and translations are not found" in note
    assert screened(config_for(prepare={"overlap": "off"}), given) == ({"train": []}, [])


def test_a_public_set_is_kept_clear_of(tmp_path: Path) -> None:
    given = sources(tmp_path, train=["hello", DUCKS])
    assert screened(config_for(), given) == ({"train": []}, [])
    with pytest.raises(DataError, match=r"train\.jsonl:2: asks what a row of gsm8k asks"):
        screened(config_for(prepare={"public_sets": ["squad", "gsm8k"]}), given)
    with pytest.raises(ConfigError, match="no list of a public test set is called 'mmlu'"):
        screened(config_for(prepare={"public_sets": ["mmlu"]}), given)


PRIVATE = ["plain", {"prompt": "x", "system": "mail me@x.org"}, "call 415-234-5678 or me@x.org"]


def test_personal_data_is_refused_without_showing_it(tmp_path: Path) -> None:
    given = sources(tmp_path, train=PRIVATE)
    with pytest.raises(DataError) as error:
        screened(config_for({"privacy": "refuse"}, REMOTE), given)
    text = str(error.value)
    assert "train.jsonl:2: EMAIL\n" in text and "train.jsonl:3: EMAIL, PHONE" in text
    assert "me@x" not in text and "5678" not in text


def test_personal_data_is_warned_of_by_kind(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "ask boss@x.org"}}
    rows = [{"prompt": "q", "tools": [tool]}]
    given = sources(tmp_path, train=PRIVATE, test=rows)
    _, notes = screened(config_for({"privacy": "warn"}, REMOTE), given)
    assert notes == [
        "2 train rows hold personal data or keys: EMAIL in 2, PHONE in 1",
        "1 test rows hold personal data or keys: EMAIL in 1",
    ]
    unasked = config_for({"privacy": "warn"}, REMOTE, evaluate={"arms": ["distilled"]})
    assert len(screened(unasked, given)[1]) == 1


@pytest.mark.parametrize(
    ("privacy", "teacher"), [("refuse", {"model": "fake"}), ("off", REMOTE), ("mask", REMOTE)]
)
def test_what_stays_here_or_is_masked_is_not_looked_through(
    tmp_path: Path, privacy: str, teacher: dict[str, Any]
) -> None:
    given = sources(tmp_path, train=PRIVATE)
    assert screened(config_for({"privacy": privacy}, teacher), given)[1] == []
