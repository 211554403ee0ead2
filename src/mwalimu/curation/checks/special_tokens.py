"""Marks of a chat template in the text: the student would learn to write them, or to stop at them.

The marks: everything of the form <|name|> (ChatML, Llama 3, Phi, Qwen, Cohere, gpt-oss) or with the
full-width bars of DeepSeek; [INST] and <<SYS>> (Llama 2, Mistral); <start_of_turn>, <end_of_turn>
(Gemma); <bos>, <eos>, <pad>, <unk>; [PAD], [UNK], [CLS], [SEP], [MASK] (BERT); </s>, and <s> at the
beginning (<s>struck out</s> is HTML). A mark that the prompt shows too is a quotation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault

_MARK = re.compile(
    r"<[|\uff5c][\w\u2581-]+[|\uff5c]>"  # the full-width bar and lower block of DeepSeek
    r"|\[/?INST\]|<</?SYS>>"
    r"|</?(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|\[(?:PAD|UNK|CLS|SEP|MASK)\]"
    r"|\A\s*<s>|(?<!\w)</s>|</s>\s*\Z"
)
_STRUCK = re.compile(r"<s>.*?</s>", re.DOTALL)


def special_tokens(answer: Answered, extra: Sequence[str] = ()) -> Verdict:
    """`extra` are marks beside the usual ones."""
    text = _STRUCK.sub("", answer.text)
    found = [match.group().strip() for match in _MARK.finditer(text)]
    found += [mark for mark in extra if mark in text]
    for mark in found:
        if mark not in answer.prompt:
            return fault("a mark of a chat template", mark)
    return KEPT
