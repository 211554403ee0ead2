"""Marks around texts that a model is shown: the code is of every text, by hand and by hashlib."""

from hashlib import sha256

from mwalimu.data.marks import code_of, marked


def test_the_code_depends_on_every_text_and_its_place() -> None:
    assert code_of("a", "b") == sha256(b"a\x00b").hexdigest()[:12]
    assert len({code_of("a", "b"), code_of("b", "a"), code_of("ab"), code_of("a", "c")}) == 4
    assert code_of("\ud800")  # half of a pair, which a server may send


def test_a_text_stands_between_its_marks() -> None:
    assert marked("answer", "c0de", "Yes.") == "<<<answer c0de>>>\nYes.\n<<<end of answer c0de>>>"
