"""The dashboard's files as text: what is in them, and what never is."""

from __future__ import annotations

import re

import httpx2
import pytest

from mwalimu.jobs.dashboard import HEADERS, INDEX, TYPES, packaged
from mwalimu.jobs.states import VERBS, State
from mwalimu.run import STAGES
from tests.jobs.service import Running

TEXTS = {name: file.content.decode() for name, file in packaged().items()}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser"
    r"|setHTML|srcdoc|\beval\b|new Function|setTimeout\(\s*[\"'`]|javascript:|\.style\b"
)
WORD = re.compile(r'^  "([^"]+)":\s+"((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def words(language: str) -> dict[str, str]:
    found = WORD.findall(SCRIPTS[f"{language}.js"])
    assert len(found) == len(dict(found)) == SCRIPTS[f"{language}.js"].count('":')
    return dict(found)


def used() -> set[str]:
    return {key for text in SCRIPTS.values() for key in re.findall(r'\bt\("([^"]+)"', text)}


def made() -> set[str]:
    """The beginnings of keys that are put together, such as `state.`."""
    patterns = (r"\bt\(`([a-z.]+)\$\{", r'\bnamed\("([a-z]+)"')
    found = {key for text in SCRIPTS.values() for one in patterns for key in re.findall(one, text)}
    return {key if key.endswith(".") else f"{key}." for key in found}


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_reads_markup_or_code_from_text(name: str) -> None:
    assert not SINKS.search(SCRIPTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_one_room_and_names_no_other_host(name: str) -> None:
    text = TEXTS[name]
    addresses = set(re.findall(r"https?://[^\"'\s]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert name in ("en.js", "sw.js") or text.count("\n") <= 300


def test_the_page_has_no_inline_script_or_style() -> None:
    page = TEXTS[INDEX]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert set(re.findall(r'(?:href|src)="([^"#]+)"', page)) <= {f"/static/{n}" for n in TEXTS}


def test_both_languages_have_the_same_words() -> None:
    english, swahili = words("en"), words("sw")
    assert list(english) == list(swahili)
    same = {key for key in english if english[key] == swahili[key]}
    assert same <= {"scores.bleu", "scores.rouge_l"}
    for key, text in english.items():
        holes = re.findall(r"\{\w+\}", text)
        assert sorted(holes) == sorted(re.findall(r"\{\w+\}", swahili[key])), key


def test_every_word_that_is_used_is_there_and_every_other_is_not() -> None:
    english = set(words("en"))
    assert used() <= english
    assert {key for key in english - used() if not key.startswith(tuple(made()))} == set()


def test_states_and_stages_have_names_in_both_languages() -> None:
    wanted = {f"state.{state}" for state in State} | {f"stage.{stage}" for stage in STAGES}
    assert wanted <= set(words("en")) & set(words("sw"))


def test_what_may_be_asked_in_which_state_is_the_services_to_say() -> None:
    """The pages name no state but by which a new job, and a student that can be asked, is known."""
    named = {
        name: {state for state in State if re.search(rf"[\"'`]{state}[\"'`]", text)}
        for name, text in SCRIPTS.items()
        if name not in ("en.js", "sw.js")
    }
    assert set().union(*named.values()) == {State.NOT_STARTED, State.COMPLETED}
    marks = SCRIPTS["widgets.js"].partition("const MARKS = {")[2].partition("};")[0]
    assert set(re.findall(r"(\w+):", marks)) == set(State)
    assert {f"action.{verb}" for verb in VERBS} <= set(words("en")) & set(words("sw"))


def test_files_are_served_by_exact_name_and_asked_for_once(here: Running) -> None:
    with httpx2.Client(base_url=here.url) as client:
        for name, file in packaged().items():
            answer = client.get(f"/static/{name}")
            assert answer.content == file.content
            assert answer.headers["content-type"] == TYPES[name.rpartition(".")[2]]
            assert all(answer.headers[key] == value for key, value in HEADERS.items())
            again = client.get(f"/static/{name}", headers={"If-None-Match": file.etag})
            assert (again.status_code, again.content) == (304, b"")
        assert client.get("/").content == packaged()[INDEX].content
        for other in ("/static/", "/static/pages", "/static/none.js", "/static/..%2f__init__.py"):
            assert client.get(other).status_code == 404
