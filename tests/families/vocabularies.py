"""Tiny tokenizers that spell text as the families' own do, with their control tokens."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def byte_level(control: Sequence[str], *, words: Sequence[str] = (), **roles: str) -> Any:
    """Llama 3, Qwen, SmolLM, Phi-4: bytes. `words` are added tokens that are text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: i for i, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in control])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def sentencepiece(
    control: Sequence[str], spaces: str, *, rstrip: bool = False, special: bool = True, **roles: str
) -> Any:
    """Letters, and bytes for what is none. `spaces` is how a text begins: "prepend" (Phi-3: always
    with a space), "first" (Mistral: with one at the very start), or "plain" (Gemma: as it is)."""
    signs = [s for s in string.printable if s not in " \t\r\x0b\x0c\n"]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *signs]
    model = models.BPE(
        {word: i for i, word in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if spaces == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        prepended = [normalizers.Prepend("▁")] if spaces == "prepend" else []
        tokenizer.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", "▁")])
    if spaces != "plain":
        steps.append(decoders.Strip(content=" ", left=1))
    tokenizer.decoder = decoders.Sequence(steps)
    added = [AddedToken(word, normalized=False, special=True) for word in words[:3]]
    tokenizer.add_special_tokens(added)
    tokens = [AddedToken(w, normalized=False, rstrip=rstrip, special=special) for w in control]
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(tokens)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **roles)
