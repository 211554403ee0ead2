"""JSON by construction: a schema decides which tokens may come next, on any runtime."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from mwalimu.data.byte_spans import token_bytes
from mwalimu.data.record import Json
from mwalimu.errors import MissingDependency
from mwalimu.runtimes import Logits
from mwalimu.serving.problems import bad_request

# An unsure model likes white space; without a bound it could write nothing else.
_OPTIONS = {"whitespace_pattern": r"[ \n\t]{0,16}"}


class Impossible(Exception):
    """The grammar cannot go on: no token of this vocabulary fits, or it grew too large."""


class Grammars:
    """Compiles schemas for one tokenizer; `vocabulary` counts the columns of the logits.

    Raises MissingDependency without llguidance, StudentError for a tokenizer without a fast
    backend, whose tokens cannot be told byte by byte.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Collection[int]) -> None:
        try:
            from llguidance import LLTokenizer, TokenizerWrapper
        except ImportError:
            raise MissingDependency(
                "llguidance is not installed",
                where="response_format",
                fix="pip install 'mwalimu[serve]'",
            ) from None
        self.vocabulary = vocabulary
        self.ends = sorted(ends)
        spelled = _Spelled(tokenizer, vocabulary)
        self._tokens = LLTokenizer(TokenizerWrapper(spelled), n_vocab=vocabulary)

    def compile(self, schema: Json) -> Grammar:
        """Raises Refused where the schema is none, or says what cannot be enforced."""
        from llguidance import LLMatcher

        try:
            text = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_OPTIONS)
        except ValueError as error:
            raise _refused(str(error)) from None
        is_error, found = LLMatcher.validate_grammar_with_warnings(text, self._tokens)
        if is_error:
            raise _refused(found[0])
        return Grammar(LLMatcher(self._tokens, text, log_level=0), self.vocabulary, self.ends)


class Grammar:
    """Of one answer: what may come next, given what was taken."""

    def __init__(self, matcher: Any, vocabulary: int, ends: Sequence[int]) -> None:
        self._matcher = matcher
        self._ends = list(ends)
        self._mask = np.zeros((1, (vocabulary + 31) // 32), dtype=np.int32)

    def restrict(self, logits_V: Logits) -> Logits:
        """A copy whose other columns are minus infinity. Raises Impossible."""
        allowed_V = np.zeros(len(logits_V), dtype=bool)
        if not self._matcher.is_stopped():
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
            bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(logits_V)]
            allowed_V[: len(bits)] = bits.astype(bool)
        if self._matcher.is_error():
            raise Impossible(str(self._matcher.get_error()).partition("\n")[0])
        allowed_V[self._ends] = self._matcher.is_accepting()
        if not allowed_V.any():
            raise Impossible("no token of this model's vocabulary can come next")
        return np.where(allowed_V, logits_V, np.float32(-np.inf))

    def take(self, token: int) -> None:
        """Any but an ending one. Raises Impossible."""
        if not self._matcher.consume_token(token):
            raise Impossible(str(self._matcher.get_error()).partition("\n")[0])

    def copy(self) -> Grammar:
        """The same from where this one stands, for another choice."""
        vocabulary = self._mask.shape[1] * 32
        return Grammar(self._matcher.deep_copy(), vocabulary, self._ends)


class _Spelled:
    """A vocabulary as llguidance wants it: the bytes of each token, and how bytes become tokens.

    The tokens of forced bytes are the longest ones: a tokenizer's own encoding may put a space
    before a text, which the grammar would take for a part of it.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        spelled = token_bytes(tokenizer, range(vocabulary))
        self.special_token_ids = [i for i, piece in enumerate(spelled) if not piece]
        self.tokens = [piece or b"\xff%d" % i for i, piece in enumerate(spelled)]
        self.eos_token_id = tokenizer.eos_token_id
        self.bos_token_id = None
        self._ids = {piece: i for i, piece in reversed(list(enumerate(spelled))) if piece}
        self._longest = max(map(len, self._ids))

    def __call__(self, text: bytes) -> list[int]:
        ids: list[int] = []
        at = 0
        while at < len(text):
            pieces = (text[at : at + width] for width in range(self._longest, 0, -1))
            piece = next((piece for piece in pieces if piece in self._ids), None)
            if piece is None:
                return ids
            ids.append(self._ids[piece])
            at += len(piece)
        return ids


def _refused(reason: str) -> Exception:
    message = f"this schema cannot be enforced: {reason.partition(chr(10))[0][:300]}"
    return bad_request(message, param="response_format", code="invalid_json_schema")
