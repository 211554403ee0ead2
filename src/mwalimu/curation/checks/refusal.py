"""A teacher that declines. Only the beginning of the answer is looked at: an answer that helps and
then names a limit is no refusal, and neither is an agent that has no table left.

A refusal is an excuse, which may be left out, then an inability or unwillingness, then a verb of
helping whose object is the request itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mwalimu.curation.row import Answered
from mwalimu.curation.verdict import KEPT, Verdict, fault


class Phrases(NamedTuple):
    """Of one language, as regular expressions: an excuse, being unable, what is not done."""

    excuse: str
    unable: str
    deed: str

    @property
    def pattern(self) -> re.Pattern[str]:
        opening = rf"\A[\W_]*(?:(?:{self.excuse})[\W_]+)*"
        return re.compile(rf"{opening}(?:{self.unable})[\W_]*(?:{self.deed})", re.IGNORECASE)


_THIS = r"(?:that|this|these|those|your|the|such)(?: \w+)? (?:request|question|prompt|task|topic)s?"
LANGUAGES = {
    "en": Phrases(
        r"(?:i'?m|i am) (?:\w+ )?(?:sorry|afraid)|sorry|i apologi[sz]e|(?:my )?apologies|"
        r"unfortunately|regrettably|but|that|however|as an? (?:ai|\w+ language model)(?: \w+)?",
        r"i (?:can ?not|can'?t|won'?t|will not|could not|must|have to|need to)|"
        r"i(?:'m| am) (?:not able to|unable to|not going to|not comfortable(?: with)?)",
        r"(?:respectfully )?(?:decline|refuse)\b|comply\b"
        r"|(?:help|assist)(?: you)? (?:with )?(?:that|this|such|your request)\b"
        r"|help you (?:do|to|create|make|write)\b|assist (?:you )?(?:with|in)\b"
        rf"|(?:fulfil+|complete|answer|process|discuss|respond to) {_THIS}"
        r"|engage (?:in|with)\b|(?:assisting|helping) (?:with|you)\b"
        r"|(?:provide|generate|create|write|produce|share)(?: you)?(?: with)? "
        r"(?:that|this|such|any)(?: kind of| type of)? "
        r"(?:content|information|instructions|text|material|advice)",
    ),
    "sw": Phrases(
        r"samahani|pole(?: sana)?|naomba radhi|kwa bahati mbaya|nasikitika|lakini",
        r"siwezi|sitaweza|sina uwezo wa",
        r"(?:ku)?(?:kusaidia|saidia|jibu|timiza|tekeleza|toa (?:taarifa|habari|maelezo))\w*",
    ),
    "de": Phrases(
        r"(?:es )?tut mir (?:sehr )?leid|entschuldigung|leider|bedauere?|aber|dabei|damit|hierbei",
        r"(?:ich (?:kann|darf)|(?:kann|darf) ich)(?: (?:ihnen|dir|dabei|damit|leider))*",
        r"nicht (?:helfen|weiterhelfen|behilflich|dienen)|diese (?:anfrage|frage|bitte) nicht",
    ),
    "fr": Phrases(
        r"(?:je suis )?(?:vraiment )?désolée?|malheureusement|je regrette|mais",
        r"je ne (?:peux|suis) pas(?: en mesure (?:de |d')| capable (?:de |d'))?",
        r"(?:vous |t')?aider\b|répondre à (?:cette|votre)|satisfaire|accéder à (?:cette|votre)"
        r"|fournir (?:ce|cette|de telles?)",
    ),
    "es": Phrases(
        r"lo siento|lamentablemente|lo lamento|disculpa|perdón|pero",
        r"no (?:puedo|podré|me es posible)",
        r"ayudar(?:te|le|los)?\b|responder a (?:esa|esta|tu|su)|cumplir con"
        r"|(?:proporcionar|atender) (?:ese|esa|este|esta|tu|su)",
    ),
    "pt": Phrases(
        r"desculpe|sinto muito|lamento|infelizmente|mas",
        r"(?:eu )?não (?:posso|consigo|poderei)",
        r"(?:te |o |a )?ajud(?:ar|á-l[oa])\b|responder a (?:essa|esta|sua)"
        r"|(?:atender|fornecer) (?:a )?(?:esse|essa|este|esta|seu|sua)",
    ),
    "zh": Phrases(
        "很?抱歉|对不起|不好意思|但是?",
        "我(?:无法|不能|没有办法)(?:为您|帮您|给您)?",
        "提供|回答|协助|帮助|满足|完成",
    ),
}
_REFUSALS = [phrases.pattern for phrases in LANGUAGES.values()]


def refusal(answer: Answered, extra: Sequence[re.Pattern[str]] = ()) -> Verdict:
    """`extra` are patterns that a refusal begins with, beside those above."""
    text = answer.text.replace("\u2019", "'")
    for pattern in (*_REFUSALS, *extra):
        if found := pattern.match(text):
            return fault("the teacher declines", found.group())
    return KEPT
