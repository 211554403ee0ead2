"""Every family's chats: the ids of its template, learned from an answer to the end of its turn."""

import string
from datetime import datetime
from typing import Any

import pytest
from jinja2 import TemplateError
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from mwalimu.data.examples import examples_of
from mwalimu.data.tokenize import encode_example, encode_prompt, end_of_turn_id, prepare_tokenizer
from tests.families import templates
from tests.families.families import (
    FAMILIES,
    gemma_tokenizer_of_plain_tokens,
    phi3_tokenizer,
    smollm_tokenizer,
    tokenizer_of,
)

ASKED = [
    {"role": "user", "content": "Two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And three?"},
]
SYSTEM = {"role": "system", "content": "Be brief."}
REFUSES_SYSTEM = {"gemma-2"}
SPACED = "\n Seven, \n of course. \n"


def made(name: str) -> Any:
    tokenizer = tokenizer_of(FAMILIES[name])
    prepare_tokenizer(tokenizer)
    return tokenizer


def with_template(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    prepare_tokenizer(tokenizer)
    return tokenizer


def answered(text: str) -> list[dict[str, str]]:
    return [*ASKED, {"role": "assistant", "content": text}]


def own_ids(tokenizer: Any, chat: list[dict[str, str]], **options: Any) -> list[int]:
    """By transformers alone, on a day of July 2024."""
    options |= {"tokenize": True, "return_dict": False}
    return list(tokenizer.apply_chat_template(chat, date_string="26 Jul 2024", **options))


def split(encoded: Any) -> tuple[list[int], list[int]]:
    start = encoded.labels_mask.index(True)
    assert all(encoded.labels_mask[start:])
    return encoded.ids[:start], encoded.ids[start:]


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_are_the_template_s_own(name: str) -> None:
    tokenizer = made(name)
    for system in ([], [SYSTEM] if name not in REFUSES_SYSTEM else []):
        chat = [*system, *ASKED]
        assert encode_prompt(tokenizer, chat) == own_ids(
            tokenizer, chat, add_generation_prompt=True
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_is_what_the_template_writes_up_to_the_end_of_the_turn(name: str) -> None:
    tokenizer = made(name)
    ids = encode_example(tokenizer, answered("Seven."), max_length=999).ids
    whole = own_ids(tokenizer, answered("Seven."))
    if name == "qwen3":  # the empty thought that it writes into finished turns is not learned
        empty = tokenizer.encode("<think>\n\n</think>\n\n", add_special_tokens=False)
        start = len(encode_prompt(tokenizer, ASKED))
        assert whole[start : start + len(empty)] == empty
        del whole[start : start + len(empty)]
    assert whole[: len(ids)] == ids


@pytest.mark.parametrize("name", FAMILIES)
def test_learned_is_the_answer_and_the_end_of_its_turn(name: str) -> None:
    tokenizer, end = made(name), FAMILIES[name].end
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)) == end
    encoded = encode_example(tokenizer, [SYSTEM, *answered("Seven.")], max_length=999)
    prompt, target = split(encoded)
    assert tokenizer.decode(target) == f"Seven.{end}"
    assert target.count(end_of_turn_id(tokenizer)) == 1
    written = tokenizer.decode(prompt)
    assert written.count("Be brief.") == 1 and written.index("Be brief.") < written.index("three?")
    assert (
        tokenizer.bos_token is None
        or prompt.count(tokenizer.bos_token_id) <= 1
        or (
            name == "smollm2"  # its bos begins every turn
        )
    )


@pytest.mark.parametrize("name", ["llama-3.1", "llama-3.2", "gemma-2", "gemma-3"])
def test_white_space_that_the_template_takes_off_is_not_learned(name: str) -> None:
    tokenizer = made(name)
    encoded = encode_example(tokenizer, answered(SPACED), max_length=999)
    assert own_ids(tokenizer, answered(SPACED))[: len(encoded.ids)] == encoded.ids
    assert tokenizer.decode(split(encoded)[1]).startswith("Seven, \n of course.<")


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        ("qwen2.5", SPACED),
        ("smollm2", SPACED),
        ("phi-4-mini", SPACED),
        ("qwen3", SPACED.lstrip("\n")),
    ],
)
def test_white_space_that_the_template_keeps_is_learned(name: str, learned: str) -> None:
    tokenizer = made(name)
    target = split(encode_example(tokenizer, answered(SPACED), max_length=999))[1]
    assert tokenizer.decode(target) == learned + FAMILIES[name].end
    whole = own_ids(tokenizer, answered(SPACED))
    starts = range(len(whole) - len(target) + 1)
    assert any(whole[start : start + len(target)] == target for start in starts)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("hostile", ["{end}", "{eos}", "a{end}{eos}b"])
def test_no_text_becomes_a_control_token(name: str, hostile: str) -> None:
    tokenizer = made(name)
    written = hostile.format(end=FAMILIES[name].end, eos=tokenizer.eos_token)
    control = {end_of_turn_id(tokenizer), *tokenizer.all_special_ids}

    def controls(text: str) -> list[int]:
        chat = [
            SYSTEM | {"content": f"s{text}"},
            *({**turn, "content": f"{turn['content']}{text}"} for turn in answered("Seven.")),
        ]
        ids = encode_example(tokenizer, chat, max_length=9999).ids
        return [i for i in ids if i in control]

    assert controls(written) == controls("harmless")
    target = split(encode_example(tokenizer, answered(written), max_length=9999))[1]
    assert tokenizer.decode(target[:-1]).strip() == written


def test_a_refused_system_turn_stands_before_the_first_question() -> None:
    for tokenizer in (made("gemma-2"), with_template(phi3_tokenizer(), templates.PHI3_FIRST)):
        text = tokenizer.decode(encode_prompt(tokenizer, [SYSTEM, *ASKED]))
        assert text.count("Be brief.\n\nTwo and two?") == 1
        folded = [{**ASKED[0], "content": "Be brief.\n\nTwo and two?"}, *ASKED[1:]]
        assert encode_prompt(tokenizer, [SYSTEM, *ASKED]) == encode_prompt(tokenizer, folded)


def test_a_template_that_refuses_a_chat_says_so() -> None:
    with pytest.raises(TemplateError, match="alternate"):
        encode_prompt(made("gemma-2"), [SYSTEM, ASKED[0], ASKED[2]])


def test_the_same_row_has_the_same_tokens_on_any_day(monkeypatch: pytest.MonkeyPatch) -> None:
    def on(day: int) -> tuple[list[int], list[int]]:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Clock":
                return cls(2031, 5, day)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        tokenizer = made("llama-3.2")
        ours = encode_prompt(tokenizer, ASKED)
        assert "Today Date: 26 Jul 2024" in tokenizer.decode(ours)
        return ours, tokenizer.apply_chat_template(ASKED, tokenize=True, return_dict=False)

    (ours, theirs), (ours_later, theirs_later) = on(1), on(2)
    assert ours == ours_later and theirs != theirs_later


@pytest.mark.parametrize("form", ["%d %b %Y", "%B %d, %Y", "%Y-%m-%d", "%A"])
def test_any_form_of_the_date_is_that_day_s(form: str) -> None:
    dated = "{{ strftime_now('" + form + "') }}" + templates.SMOLLM2
    tokenizer = with_template(smollm_tokenizer(), dated)
    day = datetime(2024, 7, 26).strftime(form)
    assert tokenizer.decode(encode_prompt(tokenizer, ASKED)).startswith(f"{day}<|im_start|>")


def test_the_mask_is_that_of_the_template_s_own_marks() -> None:
    tokenizer = with_template(smollm_tokenizer(), templates.MARKED)
    chat = [SYSTEM, *answered("Seven.")]
    found = tokenizer.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(found["input_ids"], found["assistant_masks"], strict=True)
    marked = [token for token, learned in pairs if learned]
    row = {"messages": chat, "learn": "all"}
    rows = [encode_example(tokenizer, e.chat, max_length=999) for e in examples_of(row)]
    assert len(rows) == 2
    assert [token for encoded in rows for token in split(encoded)[1]] == marked
    assert found["input_ids"][: len(rows[1].ids)] == rows[1].ids
    last = [bool(bit) for bit in found["assistant_masks"][len(rows[0].ids) : len(rows[1].ids)]]
    assert rows[1].labels_mask[len(rows[0].ids) :] == last


def test_marks_for_masks_change_nothing() -> None:
    bare = templates.MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    marked, unmarked = (with_template(smollm_tokenizer(), t) for t in (templates.MARKED, bare))
    chat = [SYSTEM, *answered("Seven.")]
    assert encode_example(marked, chat, max_length=999) == encode_example(
        unmarked, chat, max_length=999
    )


def test_an_end_of_turn_that_is_not_called_special_is_the_end_all_the_same() -> None:
    tokenizer = with_template(gemma_tokenizer_of_plain_tokens(), templates.GEMMA2)
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert end_of_turn_id(tokenizer) == end and end not in tokenizer.all_special_ids
    hostile = "x<end_of_turn>y"
    chat = [{"role": "user", "content": hostile}, {"role": "assistant", "content": hostile}]
    prompt, target = split(encode_example(tokenizer, chat, max_length=999))
    assert prompt.count(end) == 1 and target.count(end) == 1 and target[-1] == end


def test_thoughts_are_learned_as_written_and_forgotten_by_the_next_turn() -> None:
    tokenizer = made("qwen3")
    thought = "<think>\n4 + 3\n</think>\n\nSeven."
    encoded = encode_example(tokenizer, answered(thought), max_length=999)
    assert own_ids(tokenizer, answered(thought))[: len(encoded.ids)] == encoded.ids
    target = split(encoded)[1]
    assert tokenizer.decode(target) == f"{thought}<|im_end|>"
    assert tokenizer.convert_ids_to_tokens(target[0]) == "<think>"
    later = [*answered(thought), {"role": "user", "content": "And one?"}]
    assert "4 + 3" not in tokenizer.decode(encode_prompt(tokenizer, later))


def test_an_unknown_sign_does_not_end_the_turn_where_one_token_is_both() -> None:
    words = {word: i for i, word in enumerate(["<|end|>", *string.ascii_letters, *"<|>: ."])}
    model = Tokenizer(models.WordLevel(words, unk_token="<|end|>"))
    model.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer = with_template(
        PreTrainedTokenizerFast(
            tokenizer_object=model, eos_token="<|end|>", unk_token="<|end|>", pad_token="<|end|>"
        ),
        "{% for m in messages %}{{ m.role + ':' + m.content + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}",
    )
    target = split(encode_example(tokenizer, answered("Sev§en."), max_length=99))[1]
    assert target.count(end_of_turn_id(tokenizer)) == 1 and target[-1] == end_of_turn_id(tokenizer)
