"""What must not be said, in every form; and what must be left as it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwalimu.telemetry import redaction
from mwalimu.telemetry.redaction import HIDDEN, SHORTEST, hide, redact, redacted, secrets_in
from tests.figures import record

KEYS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]),
    min_size=8,
    max_size=40,
)
AROUND = st.text(st.sampled_from("abc:/ =&\"'{}"), max_size=5)
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": lambda text: quote(text, safe=""),
    "url with slashes": quote,
    "form": quote_plus,
    "json": json.dumps,
    "repr": repr,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}
LOOKS = [
    "sk-abcdefghijklmnopqrstuvwxyz",
    "sk-proj-abc_def-ghijklmnopqrstuvw",
    "hf_abcdefghijklmnopqrstuvwxyz0123",
    "mw_abcdefghijklmnopqrstuvwxyz-_01",
    "ghp_abcdefghijklmnopqrstuvwxyz0123",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0",
]
HARMLESS = [
    "train-000001",
    "sk-000123",
    "pk-000123",
    "task-classification-of-tickets-1234567",
    "23caf8c398b95ff6c2779a9d910a73e76ce1fcabe3b3dc256ee6d0d24bef25cf",
    "tiny@localhost",
    "meta-llama/Llama-3.2-1B-Instruct@api.example.com",
    "3 tokens: ok",
    "HTTP 503",
    "the bearer of news",
    "http://localhost:8000/v1/chat/completions",
]


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_known", {})
    monkeypatch.setattr(redaction, "_forms", ())
    yield


@settings(deadline=None)
@given(key=KEYS, before=AROUND, after=AROUND)
def test_a_known_secret_is_found_in_every_form(key: str, before: str, after: str) -> None:
    redaction._known.clear()
    hide(key)
    for name, encode in ENCODINGS.items():
        said = redact(f"a {encode(before + key + after)} z")
        assert HIDDEN in said, (name, said)
        rest = said.replace(HIDDEN, "").removeprefix("a ").removesuffix(" z")
        # In base64 the key's ends may remain, in characters that others have a part in.
        assert len(rest) <= len(encode(before)) + len(encode(after)) + 4, (name, said)
        assert key not in rest and quote(key, safe="") not in rest, (name, said)


def test_every_place_in_base64_is_found() -> None:
    """Whatever stands before it moves it against the groups of three bytes."""
    hide(key := "a-key-of-24-characters-!")
    for before in range(9):
        for after in range(9):
            packed = base64.b64encode(b"x" * before + key.encode() + b"y" * after).decode()
            for text in (packed, quote(packed, safe="")):
                kept = redact(text).replace(HIDDEN, "")
                # At its ends a character may remain that what stands beside it has a part in.
                assert len(kept) <= len(quote(packed[: before * 2 + after * 2 + 8], safe=""))
                assert base64.b64encode(key.encode()).decode()[4:-4] not in kept
    record("O2", "places of a key in base64", tried=162)


@pytest.mark.parametrize("secret", LOOKS)
@pytest.mark.parametrize("around", ["{}", "key {} refused", '{{"a":"{}"}}', "x={}&b", "({})"])
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(
    secret: str, around: str
) -> None:
    assert secret not in redact(around.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdef123",
        "{'Authorization': 'Bearer abcdef123'}",
        "authorization=Basic%20abcdef123",
        "{'x-api-key': 'abcdef123'}",
        "api_key=abcdef123&x=1",
        "https://host/v1?key=abcdef123",
        "http://user:abcdef123@proxy:3128",
        'password="abcdef123"',
        "POST https://host?access_token=abcdef123 401",
    ],
)
def test_what_a_name_says_is_a_secret_is_hidden(text: str) -> None:
    said = redact(text)
    assert "abcdef123" not in said and HIDDEN in said


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_placeholder_is_a_word_like_others() -> None:
    hide("EMPTY", "x" * (SHORTEST - 1), None, "")
    assert redact("EMPTY xxxxx") == "EMPTY xxxxx"


def test_secrets_inside_of_everything_that_is_said() -> None:
    hide("the-secret")
    said = redacted({"a": ["the-secret", {"the-secret": ("x the-secret",)}], "n": 1, "none": None})
    assert "the-secret" not in json.dumps(said)
    assert said["n"] == 1 and said["none"] is None

    class Odd:
        def __str__(self) -> str:
            return "odd the-secret"

    assert redacted(Odd()) == f"odd {HIDDEN}"


def test_the_environments_secrets_are_those_that_their_names_say() -> None:
    found = set(
        secrets_in(
            {
                "OPENAI_API_KEY": "one-secret",
                "MWALIMU_SERVE_KEYS": "two-secret,three-secret",
                "HF_TOKEN": "four-secret",
                "http_proxy": "http://user:five-secret@proxy:1",
                "PATH": "/usr/bin",
                "KEYBOARD": "qwerty-layout",
                "MONKEY": "not-a-secret",
            }
        )
    )
    assert {"one-secret", "two-secret", "three-secret", "four-secret", "five-secret"} <= found
    assert not found & {"/usr/bin", "qwerty-layout", "not-a-secret"}
