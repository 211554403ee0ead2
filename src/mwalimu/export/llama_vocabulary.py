"""Whether llama.cpp reads text as the student's own tokenizer does: by trying."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwalimu.errors import StudentError
from mwalimu.runtimes.llama_library import library

PRE_TOKENIZERS = ("gpt-2", "llama-bpe", "qwen2", "smollm", "gpt-4o", "tekken", "deepseek-v3")
"""How llama.cpp can cut a text before it merges bytes, the commonest first."""
TEXTS = (
    "The quick brown fox can't jump over 13 lazy dogs; I'LL say that she's 3.50 m away.",
    "  two spaces,\ttabs\t\tand\n\nblank lines \n  at the end  \n",
    "naïve café, Grüße aus Köln, Привет мир, 東京タワー, 안녕하세요, नमस्ते",
    "def f(x):\n    return {'a': x ** 2, \"b\": [1, 22, 333, 4444]}  # done",
    "🙂 👩‍👩‍👧 ½ ² … — “quoted” 1,000,000.00 € @user #tag https://example.org/?q=1&r=2",
)
# Of enum llama_vocab_type. A file without a vocabulary ends the process when asked for ids.
NO_VOCABULARY, BYTE_LEVEL = 0, 2
ROWS = 32
"""Of the calibration rows, that many are read too."""


def first_difference(gguf: Path, tokenizer: Any, rows: Sequence[Sequence[int]]) -> str:
    """The first of the texts that the file's tokenizer reads otherwise; "" where there is none."""
    with _vocabulary(gguf) as vocabulary:
        return _first_difference(vocabulary, tokenizer, rows)


def agreeing_pre(gguf: Path, tokenizer: Any, rows: Sequence[Sequence[int]]) -> str:
    """The pre-tokenizer under which all texts are read alike; "" where there is none."""
    with _vocabulary(gguf) as vocabulary:
        if library().api.llama_vocab_type(vocabulary) != BYTE_LEVEL:
            return ""
    for pre in PRE_TOKENIZERS:
        with _vocabulary(gguf, pre) as vocabulary:
            if not _first_difference(vocabulary, tokenizer, rows):
                return pre
    return ""


def _first_difference(vocabulary: Any, tokenizer: Any, rows: Sequence[Sequence[int]]) -> str:
    if (
        library().api.llama_vocab_type(vocabulary) == NO_VOCABULARY
    ):  # asked for ids it would end the process
        return "it has none of this kind"
    for text in (*TEXTS, *(tokenizer.decode(row) for row in rows[:ROWS])):
        if _ids(vocabulary, text) != tokenizer.encode(text, add_special_tokens=False):
            return f"it reads {text[:60]!r} otherwise"
    return ""


def _ids(vocabulary: Any, text: str) -> list[int]:
    data = text.encode()
    ids = (ctypes.c_int32 * (len(data) + 8))()
    count = library().api.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, True)
    return list(ids[:count]) if count >= 0 else []


@contextmanager
def _vocabulary(gguf: Path, pre: str = "") -> Iterator[Any]:
    """Of the file, without its weights; under another pre-tokenizer if named."""
    llama = library()
    api = llama.api
    settings = api.llama_model_default_params()
    settings.vocab_only = True
    overrides = (api.llama_model_kv_override * 2)()  # the second ends the list
    if pre:
        overrides[0].tag = api.LLAMA_KV_OVERRIDE_TYPE_STR
        overrides[0].key = b"tokenizer.ggml.pre"
        overrides[0].value.val_str = pre.encode()
        settings.kv_overrides = overrides
    model = api.llama_model_load_from_file(os.fsencode(gguf), settings)
    if not model:
        raise StudentError(f"llama.cpp cannot read what was converted ({llama.reason()})")
    try:
        yield api.llama_model_get_vocab(model)
    finally:
        api.llama_model_free(model)
