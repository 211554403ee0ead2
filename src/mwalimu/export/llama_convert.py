"""Runs llama.cpp's own converter, in a process of its own, for a tokenizer that it may not know.

python -P -m mwalimu.export.llama_convert CHECKOUT MODEL TOKENIZER OUTFILE TYPE PRE END

The converter knows published tokenizers by a hash of what they answer, and refuses all others.
Here the vocabulary is read from `tokenizer.json` of the folder TOKENIZER. PRE names the
pre-tokenizer; empty, it is found by the hash, and is that of GPT-2 where the hash is unknown. END
is the id that ends a turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

UNKNOWN_PRE = "gpt-2"
Kind = Literal["gpt2", "llama", "none"]
"""llama.cpp's names: byte-level BPE, SentencePiece's BPE with byte tokens, ids alone."""


def kind_of(tokenizer: dict[str, Any]) -> Kind:
    """What llama.cpp can make of a `tokenizer.json`."""
    model = tokenizer["model"]
    if model["type"] != "BPE" or not model["merges"]:  # it loads no BPE without any
        return "none"
    if model.get("byte_fallback"):
        return "llama"
    parts = tokenizer.get("decoder") or {}
    kinds = {part.get("type") for part in [parts, *parts.get("decoders", ())]}
    return "gpt2" if "ByteLevel" in kinds else "none"


def merge_scores(model: dict[str, Any], size: int) -> list[float]:
    """Of each id, higher where SentencePiece merges it sooner: the rank of its merge, negative."""
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    scores = [-float(len(merges))] * size
    for rank, pair in reversed(list(enumerate(merges))):
        scores[model["vocab"]["".join(pair)]] = -float(rank)
    return scores


def main() -> None:
    checkout, model, tokenizer, outfile, outtype, pre, end = sys.argv[1:]
    sys.path[:0] = [checkout, f"{checkout}/gguf-py"]
    conversion = import_module("conversion")
    hparams = conversion.ModelBase.load_hparams(Path(model), False)
    architecture = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    try:
        kind = conversion.get_model_class(architecture)
    except NotImplementedError:
        sys.exit(f"llama.cpp has no {architecture}")
    kind.get_vocab_base_pre = _pre_tokenizer(kind.get_vocab_base_pre, pre)
    kind.set_vocab = lambda self: _write_vocabulary(self, Path(tokenizer), int(end))
    sys.argv[1:] = [model, "--outfile", outfile, "--outtype", outtype]
    import_module("convert_hf_to_gguf").main()


def _pre_tokenizer(known: Callable[[Any, Any], str], pre: str) -> Callable[[Any, Any], str]:
    def name(self: Any, tokenizer: Any) -> str:
        try:
            return pre or known(self, tokenizer)
        except NotImplementedError:
            return UNKNOWN_PRE

    return name


def _write_vocabulary(model: Any, folder: Path, end: int) -> None:
    state = json.loads((folder / "tokenizer.json").read_bytes())
    kind = kind_of(state)
    own, model.dir_model = model.dir_model, folder
    if kind == "gpt2":
        model._set_vocab_gpt2()
    elif kind == "llama":
        _write_sentencepiece(model, state["model"])
    else:
        model.gguf_writer.add_tokenizer_model("none")
        model.gguf_writer.add_vocab_size(model.hparams["vocab_size"])
    if kind != "gpt2":
        import_module("gguf").SpecialVocab(folder).add_to_gguf(model.gguf_writer)
    model.gguf_writer.add_eot_token_id(end)
    tokenizer = _tokenizer(folder)
    begin, template = tokenizer.bos_token_id, tokenizer.chat_template
    model.gguf_writer.add_add_bos_token(begin is not None and begin in tokenizer.encode("a"))
    if begin is None and isinstance(template, str):  # llama.cpp takes id 11 for it
        model.gguf_writer.add_chat_template("{% set bos_token = '' %}" + template)
    model.dir_model = own


def _write_sentencepiece(model: Any, state: dict[str, Any]) -> None:
    tokens, kinds, _ = model.get_vocab_base()
    byte, unknown = (getattr(import_module("gguf").TokenType, name) for name in ("BYTE", "UNKNOWN"))
    for index, token in enumerate(tokens):
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            kinds[index] = byte
        elif token == state.get("unk_token"):
            kinds[index] = unknown
    writer = model.gguf_writer
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(merge_scores(state, len(tokens)))
    writer.add_token_types(kinds)
    writer.add_add_space_prefix(_begins_with_a_space(model.dir_model))


def _begins_with_a_space(folder: Path) -> bool:
    tokenizer = _tokenizer(folder)
    first = tokenizer.convert_ids_to_tokens(tokenizer.encode("a", add_special_tokens=False))[0]
    return bool(first.startswith("▁"))


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


if __name__ == "__main__":
    main()
