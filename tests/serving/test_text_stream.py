"""A streamed text against the whole one, on tokenizers of each kind."""

import random

import pytest

from mwalimu.data.batched_generation import read_ids
from mwalimu.serving.text_stream import TextStream
from tests.data.tokenizers_by_kind import LOSSLESS, tokenizer_of

TEXTS = (
    "  the cat sat \n\n on the mat 東京 done 🙂🙂 ",
    "\n x = 1\n\n\ny = 2  STOP and more",
    "👩‍👩‍👧 naïve café ST STO STOP",
    "   ",
    "STOP",
)


@pytest.mark.parametrize("stop", [(), ("STOP",), ("OP a", "mat")])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_what_is_shown_joins_to_the_whole_and_is_never_half(
    kind: str, stop: tuple[str, ...]
) -> None:
    tokenizer = tokenizer_of(kind)
    chance = random.Random(0)
    for text in [*TEXTS, *("".join(chance.choices(TEXTS[2] + " \n", k=30)) for _ in range(30))]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        stream = TextStream(tokenizer, stop)
        parts, used = [], []
        for token in ids:
            used.append(token)
            parts.append(stream.push(token))
            assert "\ufffd" not in parts[-1]
            if stream.stopped:
                break
        whole = read_ids(tokenizer, used, (), stop)
        parts.append(stream.finish(whole.text))
        assert "".join(parts) == whole.text
        assert stream.stopped == whole.stopped
