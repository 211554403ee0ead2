"""Languages: a stand-in for the library, and the library itself on sentences of ours."""

import sys

import pytest

from mwalimu.config import LanguageConfig
from mwalimu.curation.checks.language import identifier, language, require_known, spoken
from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT
from mwalimu.errors import ConfigError, MissingDependency
from tests.curation.texts import SENTENCES

ANY = LanguageConfig(min_characters=10)


def test_only_what_is_surely_another_language_is_rejected() -> None:
    likely = {"en": 0.9, "sw": 0.06, "de": 0.04}

    def verdict(*expected: str) -> str:
        limits = LanguageConfig(min_characters=10, expected=expected)
        return language(Answered("generic", "", "x" * 10), limits, lambda _: likely).reason

    assert verdict("en") == verdict("sw") == ""
    assert verdict("de") == verdict("fr") == "another language"
    limits = LanguageConfig(min_characters=10, expected=("de", "fr"))
    assert language(Answered("generic", "", "x" * 10), limits, lambda _: likely).value == "en"


def test_short_texts_and_short_answers_are_not_judged() -> None:
    def unasked(_: str) -> dict[str, float]:
        raise AssertionError("it was asked")

    limits = LanguageConfig(min_characters=10, expected=("en",))
    assert language(Answered("generic", "", "x" * 9), limits, unasked) == KEPT
    assert language(Answered("qa", "", "x" * 90), limits, unasked) == KEPT
    assert language(Answered("generic", "", "```\n" + "x" * 90), limits, unasked) == KEPT
    assert language(Answered("generic", "short", "x" * 90), ANY, unasked) == KEPT


def test_what_has_no_language() -> None:
    assert spoken("See `f(x)` at https://a.b/c, 12 #3.\n```\ncode\n```\nDone") == "See at . Done"


@pytest.mark.parametrize("code", SENTENCES)
def test_the_library_tells_the_languages_apart(code: str) -> None:
    for other, sentences in SENTENCES.items():
        text = " ".join(sentences[-2:]).format(name="A", thing="lamp", place="B", number=3)
        limits = LanguageConfig(expected=(code,))
        found = language(Answered("generic", "", text), limits, identifier())
        assert found.keep is (code == other), (code, other, found)


def test_an_unknown_code_and_an_absent_library_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_known(["en", "sw"])
    with pytest.raises(ConfigError, match="expected: 'english' is no language that can be told"):
        require_known(["english"])
    identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[curate\]'"):
        identifier()
