"""Tiny tokenizers of each kind in use, trained on a few lines: what differs is how they spell."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny import make_tokenizer

TEXTS = (
    "the cat sat on the mat, then the other cat sat there",
    "Guten Tag, schöne Grüße; naïve café 東京 東京 東京タワー",
    "  indented   code:\n\tx = 1\n\n\ny = 2",
    "🙂🙂 👩‍👩‍👧 🙂 done",
) * 3
END = "<|end|>"


def _train(
    tokenizer: Tokenizer, *, vocabulary: int = 400, alphabet: list[str] | None = None
) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet or [], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)


def _fast(tokenizer: Tokenizer, **options: Any) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, **options)


def _byte_level(*, add_prefix_space: bool = False, normalizer: Any = None) -> Any:
    """GPT-2, Llama 3, Qwen (with a normal form), DeepSeek."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    _train(tokenizer, alphabet=pre_tokenizers.ByteLevel.alphabet())
    fast = _fast(tokenizer)
    if not add_prefix_space:  # it would put a space after each of these too, and so lose the text
        fast.add_tokens(["<tool_call>", "é!"])  # not special: text that is one token
    return fast


def _with_byte_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same, but what has no token of its own is spelled in <0x00> to <0xFF>."""
    state = json.loads(tokenizer.to_str())["model"]
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *state["vocab"]]
    tokenizer.model = models.BPE(
        {word: index for index, word in enumerate(words)},
        [tuple(pair) for pair in state["merges"]],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    return tokenizer


def _sentencepiece_decoder(*, strips: bool) -> Any:
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if strips else steps)


def _llama() -> Any:
    """Llama 2 and Phi-3 as published: a space before every text, even before a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = _sentencepiece_decoder(strips=True)
    _train(tokenizer, vocabulary=120)
    return _fast(_with_byte_tokens(tokenizer), unk_token="<unk>")


def _metaspace() -> Any:
    """Llama 2 as transformers builds it: no second space before a text that begins with one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = _sentencepiece_decoder(strips=True)
    _train(tokenizer, vocabulary=120)
    return _fast(_with_byte_tokens(tokenizer), unk_token="<unk>")


def _gemma() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = _sentencepiece_decoder(strips=False)
    _train(tokenizer, vocabulary=120)
    fast = _fast(_with_byte_tokens(tokenizer), unk_token="<unk>")
    fast.add_tokens(["\n\n"])
    return fast


def _unigram() -> Any:
    """T5's kind: the sign for a space is the decoder's own, and there are no byte tokens."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _fast(tokenizer, unk_token="<unk>")


def _word_pieces() -> Any:
    """BERT's kind, whose spaces are nowhere: nothing can be proved of a text of two words."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=150, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _fast(tokenizer, unk_token="[UNK]")


_MAKERS: dict[str, Callable[[], Any]] = {
    "byte level": _byte_level,
    "byte level, led by a space": lambda: _byte_level(add_prefix_space=True),
    "byte level, normal form": lambda: _byte_level(normalizer=normalizers.NFC()),
    "llama": _llama,
    "metaspace": _metaspace,
    "gemma": _gemma,
    "unigram": _unigram,
    "word pieces": _word_pieces,
    "lower case": lambda: _byte_level(normalizer=normalizers.Lowercase()),
    "characters": make_tokenizer,
}
LOSSLESS = ("byte level", "byte level, led by a space", "llama", "metaspace", "gemma")
"""Spell every text, but for one that has their sign for a space in it."""


@cache
def tokenizer_of(kind: str) -> Any:
    return _MAKERS[kind]()
