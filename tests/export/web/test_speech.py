"""The page turns chat into the ids that training learned, for every family's tokenizer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.tokenize import FALLBACK_TEMPLATE, encode_prompt, prepare_tokenizer
from mwalimu.export.web import PAGE
from mwalimu.export.web.npm import vendor
from mwalimu.export.web.speech import speech
from tests.data import tokenizers_by_kind
from tests.export.web.browser import missing
from tests.families.families import FAMILIES, gemma_tokenizer_of_plain_tokens, tokenizer_of
from tests.families.templates import GEMMA2, PHI3_FIRST

pytestmark = pytest.mark.skipif(bool(missing(browser=False)), reason=missing(browser=False))

TEXTS = (
    "Two and two?",
    "  led by spaces, and\tfollowed \n\n",
    "Grüße an 東京 🙂👩‍👩‍👧 e\u0301 \u00e9 \ufb01",
    "def f(x):\n    return {'a': x ** 2, \"b\": [1.5e-3]}  # 100 % \\ <b>&amp;</b>",
    "<img src=x onerror=alert(1)>",
    "\ue0fe0\ue0ff \\ue0fe0\\ue0ff \ue0fe",
    "{{ messages }} {% for x in y %} {# no #}",
    "constructor __proto__ toString",
    "a" * 300,
)


def chats_of(tokenizer: Any) -> list[list[dict[str, str]]]:
    """Every text alone, then all control tokens spelled in every turn of a conversation."""
    tokens = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    forged = "".join(tokens) + " x ".join(tokens) + " ".join(tokens)
    turns = [
        {"role": "system", "content": f"Be brief. {forged}"},
        {"role": "user", "content": forged},
        {"role": "assistant", "content": f" {forged} "},
        {"role": "user", "content": TEXTS[2] + forged},
    ]
    return [*([{"role": "user", "content": text}] for text in TEXTS), turns[1:], turns]


def of_family(name: str) -> Any:
    return tokenizer_of(FAMILIES[name])


def with_template(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    return tokenizer


def of_kind(kind: str) -> Any:
    """Of a real vocabulary with merges, which the families' tiny ones have not."""
    return with_template(tokenizers_by_kind.tokenizer_of(kind), FALLBACK_TEMPLATE)


TOKENIZERS = {
    **{name: lambda name=name: of_family(name) for name in FAMILIES},
    "no system turn": lambda: with_template(of_family("phi-3-mini-4k"), PHI3_FIRST),
    "turns that are not special": lambda: with_template(gemma_tokenizer_of_plain_tokens(), GEMMA2),
    **{kind: lambda kind=kind: of_kind(kind) for kind in tokenizers_by_kind.LOSSLESS},
    "word pieces": lambda: of_kind("word pieces"),
    "unigram": lambda: of_kind("unigram"),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    vendor(folder / "vendor")
    return folder


def ask(page: Path, jobs: list[Any]) -> list[Any]:
    """What node makes of them, all in one process."""
    lines = "".join(json.dumps(job | {"page": str(page / "speech.js")}) + "\n" for job in jobs)
    script = Path(__file__).with_name("ids.mjs")
    ran = subprocess.run(["node", script], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def job_of(tokenizer: Any, chats: list[Any]) -> Any:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return {"tokenizer": state, "speech": speech(tokenizer), "chats": chats}


@pytest.fixture(scope="module")
def spoken(page: Path) -> dict[str, tuple[Any, list[Any], Any]]:
    """Each tokenizer, its chats and the page's answer."""
    made = {name: make() for name, make in TOKENIZERS.items()}
    for tokenizer in made.values():
        prepare_tokenizer(tokenizer)
    chats = {name: chats_of(tokenizer) for name, tokenizer in made.items()}
    answers = ask(page, [job_of(made[name], chats[name]) for name in made])
    return {name: (made[name], chats[name], answers[i]) for i, name in enumerate(made)}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_and_texts_are_those_of_python(
    spoken: dict[str, tuple[Any, list[Any], Any]], name: str
) -> None:
    tokenizer, chats, answer = spoken[name]
    assert "error" not in answer, answer["error"]
    for chat, ids, text in zip(chats, answer["made"], answer["texts"], strict=True):
        assert ids == encode_prompt(tokenizer, chat), chat
        if name != "byte level":  # the tokenizers library breaks its added token "é!"; see below
            assert text == tokenizer.decode(ids, skip_special_tokens=True), chat


def test_an_added_token_with_an_accent_is_read_whole_here_alone(
    spoken: dict[str, tuple[Any, list[Any], Any]],
) -> None:
    tokenizer, _, answer = spoken["byte level"]
    assert "é!" in answer["texts"][-1]
    assert "é!" not in tokenizer.decode(answer["made"][-1], skip_special_tokens=True)


def test_a_tokenizer_that_works_otherwise_is_refused(page: Path) -> None:
    tokenizer = of_family("qwen2.5")
    prepare_tokenizer(tokenizer)
    other_ids, other_text, unknown = (job_of(tokenizer, []) for _ in range(3))
    other_ids["speech"]["probes"][3]["ids"][5] += 1
    other_text["speech"]["probes"][3]["text"] += "!"
    unknown["tokenizer"]["pre_tokenizer"] = {"type": "UnicodeScripts"}
    refused = [answer["error"] for answer in ask(page, [other_ids, other_text, unknown])]
    assert "works otherwise here than in training" in refused[0] and "at place 5" in refused[0]
    assert "is read as" in refused[1]
    assert "UnicodeScripts" in refused[2]
