import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from mwalimu.errors import ConfigError, DataError
from mwalimu.preparation.contamination import match, overlap_grams
from mwalimu.preparation.public_sets import (
    WINDOW,
    describe,
    make_set,
    read_set,
    shipped_sets,
    winnow,
)
from tests.preparation.planted import record, rewritten, sentence, sentences

SHIPPED = ["banking77", "conjnli", "dialogsum", "gsm8k", "squad"]
# Two rows of public test sets, with their licences: GSM8K (MIT), SQuAD v1.1 dev (CC BY-SA 4.0).
DUCKS = (
    "Janet\u2019s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes "
    "muffins for her friends every day with four. She sells the remainder at the farmers' market "
    "daily for $2 per fresh duck egg. How much in dollars does she make every day at the farmers' "
    "market?"
)
SOCAL = (
    "Southern California, often abbreviated SoCal, is a geographic and cultural region that "
    "generally comprises California's southernmost 10 counties."
)


def make(folder: Path, texts: list[str]) -> Path:
    rows = folder / "test.jsonl"
    rows.write_bytes(b"".join(orjson.dumps({"prompt": one}) + b"\n" for one in texts))
    out = folder / "mine.hashes"
    make_set([rows], out, name="mine", licence="none", source="here")
    return out


def test_the_shipped_lists_are_small_and_say_whose_they_are() -> None:
    assert shipped_sets() == SHIPPED
    headers = {name: describe(name) for name in SHIPPED}
    assert all(headers[name]["name"] == name for name in SHIPPED)
    assert all(header["licence"] and header["source"] for header in headers.values())
    assert headers["gsm8k"]["rows"] == 1319
    size = sum(8 * (one["prompts"] + one["grams"]) for one in headers.values())
    assert size < 1.5e6


def test_rows_of_public_test_sets_are_recognised_under_any_system_prompt() -> None:
    gsm8k, squad = read_set("gsm8k"), read_set("squad")
    row = record(DUCKS.upper(), system="You are a calculator.")
    assert match(row, [squad, gsm8k], overlaps=False) == ("equal", "gsm8k", "")
    asked = record(f"Read this. {SOCAL} What is it abbreviated to?")
    assert match(asked, [gsm8k, squad], overlaps=True) == ("overlap", "squad", "")
    assert match(record("What is the weather?"), [gsm8k, squad], overlaps=True) is None


def test_clean_rows_are_in_no_shipped_list() -> None:
    lists = [read_set(name) for name in SHIPPED]
    assert all(match(record(one), lists, overlaps=True) is None for one in sentences(1000))


def test_every_run_of_fourteen_words_is_found(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = sentences(300)
    held_out = [read_set(str(make(tmp_path, texts)))]
    for text in texts:
        assert match(record(rewritten(text, rng)), held_out, overlaps=True).kind == "equal"  # type: ignore[union-attr]
        words = text.split()
        at = rng.randrange(len(words) - 13)
        planted = f"{sentence(rng)} {' '.join(words[at : at + 14])} {sentence(rng)}"
        assert match(record(planted), held_out, overlaps=True) is not None


def test_winnowing_keeps_one_of_every_window() -> None:
    hashes = overlap_grams(sentences(1)[0])
    kept = set(winnow(hashes).tolist())
    assert kept < set(hashes.tolist())
    for at in range(len(hashes) - WINDOW + 1):
        assert kept & set(hashes[at : at + WINDOW].tolist())
    assert winnow(hashes[:1]).tolist() == hashes[:1].tolist()
    assert len(winnow(hashes[:0])) == 0


def test_the_list_is_made_from_the_command_line_and_names_no_text(tmp_path: Path) -> None:
    made = make(tmp_path, sentences(20))
    out = tmp_path / "again.hashes"
    command = [sys.executable, "-W", "ignore", "-m", "mwalimu.preparation.public_sets"]
    options = ["--name", "mine", "--licence", "none", "--source", "here", "--out", str(out)]
    shown = subprocess.run(
        [*command, str(tmp_path / "test.jsonl"), *options], check=True, capture_output=True
    )
    assert b"20 prompts" in shown.stdout
    assert out.read_bytes() == made.read_bytes()
    assert not any(word.encode() in made.read_bytes() for word in sentences(1)[0].split())


def test_an_unknown_name_and_a_damaged_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take banking77, conjnli"):
        read_set("gsm9k")
    made = make(tmp_path, sentences(3))
    whole = made.read_bytes()
    for damaged in (
        whole[:-8],
        whole[:-3],
        b"",
        b"{}\n",
        whole.replace(b'"format": 1', b'"format": 2'),
    ):
        made.write_bytes(damaged)
        with pytest.raises(DataError, match="no list of hashes"):
            read_set(str(made))


def test_the_hashes_are_sorted(tmp_path: Path) -> None:
    for name in SHIPPED:
        rows = read_set(name)
        for hashes in (rows.prompts, rows.grams):
            assert bool((np.diff(hashes.astype(object)) > 0).all())
