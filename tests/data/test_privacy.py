import builtins
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.data.privacy import KINDS, Masking, find, mask, unmask
from mwalimu.errors import MissingDependency
from tests.data.personal_data import MAKERS, harmless
from tests.preparation.planted import sentence

PLANTED, CLEAN = 1000, 2500


@pytest.mark.parametrize("kind", KINDS)
def test_every_planted_value_is_found_whole(kind: str) -> None:
    rng = random.Random(kind)
    ends = [". ", ", ", " ", "\n", "; ", ") "]
    missed = []
    for _ in range(PLANTED // len(KINDS)):
        value = MAKERS[kind](rng)
        before, after = sentence(rng, 3, 12), sentence(rng, 3, 12)
        text = f"{before} {rng.choice(['', '(', ': '])}{value}{rng.choice(ends)}{after}"
        found = [(one.kind, text[one.start : one.end]) for one in find(text)]
        if found != [(kind, value)]:
            missed.append((value, found))
    assert missed == []


@pytest.mark.parametrize("seed", range(4))
def test_ordinary_text_holds_nothing(seed: int) -> None:
    rng = random.Random(seed)
    texts = [f"{sentence(rng, 5, 15)} {harmless(rng)}, {harmless(rng)}." for _ in range(CLEAN)]
    false = [text for text in texts if find(text)]
    print(f"{len(false)} of {CLEAN} clean rows are found", false[:5])
    assert len(false) <= CLEAN / 1000


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # a wrong check digit
        "9999 9999 9999 9995",  # no network's
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456",
        "666-12-3456",
        "127.0.0.1 ::1 0.0.0.0 999.1.1.1",
        "sk-short",
        "name@localhost",
        "1234567",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_a_value_has_one_placeholder_and_comes_back() -> None:
    text = "Mail a@b.com or c@d.org; a@b.com is faster, or call (415) 555-2671."
    masked, mapping = mask(text)
    assert masked == "Mail [EMAIL_1] or [EMAIL_2]; [EMAIL_1] is faster, or call [PHONE_1]."
    assert mapping == {
        "[EMAIL_1]": "a@b.com",
        "[EMAIL_2]": "c@d.org",
        "[PHONE_1]": "(415) 555-2671",
    }
    assert unmask(masked, mapping) == text
    assert (
        unmask("Write to [EMAIL_2], not [EMAIL_3].", mapping) == "Write to c@d.org, not [EMAIL_3]."
    )


def test_a_placeholder_of_the_user_is_never_given_out() -> None:
    text = "In the form [EMAIL_1] stands for a@b.com."
    masked, mapping = mask(text)
    assert masked == "In the form [EMAIL_1] stands for [EMAIL_2]."
    assert unmask(masked, mapping) == text


def test_texts_of_one_masking_share_their_placeholders() -> None:
    masking = Masking()
    assert masking.mask("a@b.com") == "[EMAIL_1]"
    assert masking.mask("c@d.com and a@b.com") == "[EMAIL_2] and [EMAIL_1]"


def test_what_holds_another_is_masked_as_a_whole() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nme@x.org 8.8.8.8\n-----END PRIVATE KEY-----"
    assert mask(f"{key} and 8.8.4.4")[0] == "[PRIVATE_KEY_1] and [IP_1]"
    cut = "-----BEGIN RSA PRIVATE KEY-----\nMIIE"  # its end was cut off
    assert mask(cut)[0] == "[PRIVATE_KEY_1]"


def test_phones_without_a_prefix_are_of_the_region() -> None:
    assert [one.kind for one in find("ring 020 7946 0958", "GB")] == ["PHONE"]
    assert find("ring 020 7946 0958", "US") == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*MAKERS, "text"]), max_size=6), st.randoms(), st.text(max_size=20))
def test_unmasking_undoes_masking(kinds: list[str], rng: random.Random, noise: str) -> None:
    parts = [noise if kind == "text" else MAKERS[kind](rng) for kind in kinds]
    text = " ".join(parts)
    masked, mapping = mask(text)
    assert unmask(masked, mapping) == text


@pytest.mark.parametrize(
    ("package", "text"), [("phonenumbers", "call 415-234-5678"), ("stdnum", "078-15-1120")]
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, text: str
) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith(package):
            raise ImportError(name)
        return real(name, *rest, **named)

    def no_module(name: str, *_: Any) -> Any:
        return refusing(name)

    monkeypatch.setattr(builtins, "__import__", refusing)
    monkeypatch.setattr("importlib.import_module", no_module)
    with pytest.raises(MissingDependency, match=r"mwalimu\[curate\]"):
        find(text)
