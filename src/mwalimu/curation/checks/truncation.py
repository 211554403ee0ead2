"""Text that stops in the middle, though the server said that it ended.

Signs, each a reason of its own: a code fence that is never closed; a bracket opened in the last
sentence and never closed; a last character, or in prose a last word, after which something must
follow; and prose that stops in the middle of a line whose earlier sentences ended with a stop.
A label or a span of a context may end in any way: tasks with short answers are not judged.
"""

from __future__ import annotations

import re

from mwalimu.curation.row import SHORT_ANSWERS, Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault

NO_PROSE = {"math"}
FEWEST_WORDS = 5

_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_FACE = re.compile(r"[:;=8]['-]?[(\[{]+")
_SENTENCE_END = re.compile(
    r"\w{2,}[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n", re.MULTILINE
)
_MUST_GO_ON = tuple(",:-\u2013\u2014\u3001\uff0c\u00ab\u201e")
# Lower case, and only words that no sentence ends with: the A of a mark and "die" are not here.
_LEADING_WORDS = """
the a an of and or to with for from into by at as because although than their its our your my
na ya wa kwa za cha vya katika ambayo ambao kwamba lakini
der das dem des ein eine einen einem und oder von mit zu für auf dass weil
le la les une des et ou avec pour dans qui parce
el los las una con por para en que del uma com da dos
"""
_LEADING = frozenset(_LEADING_WORDS.split())


def truncation(answer: Answered, min_sentences: int = 2) -> Verdict:
    """Whether the text stops in the middle, and by which sign; the value is how it ends.

    After `min_sentences` with a stop one without it is taken for a piece of a sentence.
    """
    if answer.task in SHORT_ANSWERS:
        return KEPT
    text = answer.text.rstrip()
    end = text[-60:]
    if len(_FENCE.findall(text)) % 2:
        return fault("an open code fence", end)
    lines = _CODE.sub("code.", text)
    last = lines[_last_end(lines) :]
    if _opened(_FACE.sub("", last)):
        return fault("an open bracket", end)
    if lines.endswith(_MUST_GO_ON):
        return fault("ends where something must follow", end)
    if answer.task not in NO_PROSE and _stops_in_prose(lines, last, min_sentences):
        return fault("ends in the middle of a sentence", end)
    return KEPT


def _last_end(text: str) -> int:
    return max((match.end() for match in _SENTENCE_END.finditer(text)), default=0)


def _opened(text: str) -> bool:
    """Round and square ones together: half-open intervals are honest."""
    for opening, closing in (("([", ")]"), ("{", "}"), ("\u201c", "\u201d"), ("\u300c", "\u300d")):
        if sum(map(text.count, opening)) > sum(map(text.count, closing)):
            return True
    return False


def _stops_in_prose(text: str, last: str, min_sentences: int) -> bool:
    """`last` is what follows the last end of a sentence. Lists and signatures have own lines."""
    words = text.split()
    if not last[-1:].isalnum() or len(words) < FEWEST_WORDS:
        return False
    if words[-1] in _LEADING:
        return True
    in_line = len(_SENTENCE_END.findall(text.rpartition("\n")[2]))
    in_text = len(_SENTENCE_END.findall(text))
    return in_line >= min(1, min_sentences) and in_text >= min_sentences
