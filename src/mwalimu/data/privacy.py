"""Personal data and secrets in a text: found by form and check digit, masked and unmasked.

| kind | what counts |
| --- | --- |
| PRIVATE_KEY | a PEM block from BEGIN to END |
| API_KEY | forms of OpenAI, Anthropic, AWS, GitHub, GitLab, Slack, Google, Stripe, HF; JWTs |
| EMAIL | name@host.tld |
| IBAN | of a known country, with its check digits (ISO 7064) |
| CARD | 13 to 19 digits that a card network gives out, with their check digit (Luhn) |
| SSN | an American social security number, with its hyphens |
| IP | an IPv4 or IPv6 address; not 0.0.0.0, loopback, or a version number of fewer parts |
| PHONE | what `phonenumbers` holds valid: with +country anywhere, without it in the given region |

Names, addresses of houses, dates of birth and anything described in words are not found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mwalimu.errors import MissingDependency

KINDS = ("PRIVATE_KEY", "API_KEY", "EMAIL", "IBAN", "CARD", "SSN", "IP", "PHONE")

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_API_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, DeepSeek and others
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    r"|hf_[A-Za-z0-9]{30,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON web tokens
    r")"
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}(?![\w-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?!\d)")
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_PHONE = re.compile(r"\d(?:[\s().\-/]*\d){6}")  # seven digits close by: less is never a number
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})_\d+\]")
# The first digits and the lengths that ISO/IEC 7812 gives to the networks.
_NETWORKS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35\d{14}|62\d{14,17}|(?:50|5[6-9]|6\d)\d{10,17}"
)


class Found(NamedTuple):
    """A piece of a text, [start, end) in characters."""

    kind: str
    start: int
    end: int


def find(text: str, region: str = "US") -> list[Found]:
    """All of it, in order, without overlaps: of two that overlap the kind named first counts.

    Raises MissingDependency where the extra `curate` is not installed.
    """
    taken: list[Found] = []
    for kind, search in _SEARCHES.items():
        for start, end in search(text, region):
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Found(kind, start, end))
    return sorted(taken, key=lambda found: found.start)


class Masking:
    """Placeholders for one request: the same value has the same one wherever it stands."""

    def __init__(self, region: str = "US", *, avoid: str = "") -> None:
        self._region = region
        self._reserved = set(_PLACEHOLDER.findall(avoid))
        self._placeholders: dict[str, str] = {}
        self._count: dict[str, int] = {}

    @property
    def mapping(self) -> dict[str, str]:
        """Placeholder -> what it stands for."""
        return {placeholder: value for value, placeholder in self._placeholders.items()}

    def mask(self, text: str) -> str:
        pieces, at = [], 0
        for kind, start, end in find(text, self._region):
            pieces += [text[at:start], self._placeholder(kind, text[start:end])]
            at = end
        return "".join([*pieces, text[at:]]) if pieces else text

    def _placeholder(self, kind: str, value: str) -> str:
        while value not in self._placeholders:
            self._count[kind] = number = self._count.get(kind, 0) + 1
            if (placeholder := f"[{kind}_{number}]") not in self._reserved:
                self._placeholders[value] = placeholder
        return self._placeholders[value]


def mask(text: str, region: str = "US") -> tuple[str, dict[str, str]]:
    """(the text with placeholders such as [EMAIL_1], placeholder -> what it stands for)."""
    masking = Masking(region, avoid=text)
    return masking.mask(text), masking.mapping


def unmask(text: str, mapping: Mapping[str, str]) -> str:
    """`text` with every placeholder of `mapping` replaced by what it stands for."""
    return _PLACEHOLDER.sub(lambda found: mapping.get(found[0], found[0]), text)


def placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


Spans = Iterator[tuple[int, int]]


def _matches(pattern: re.Pattern[str], needs: str) -> Callable[[str, str], Spans]:
    """`needs` is a text without which the pattern cannot match: most texts are not searched."""
    return lambda text, _: (m.span() for m in pattern.finditer(text)) if needs in text else iter(())


def _ibans(text: str, _: str) -> Spans:
    for found in _IBAN.finditer(text):
        iban = _stdnum("iban")
        # The greedy form may have taken the words behind it along: shorten until it is valid.
        parts = [piece.end() for piece in re.finditer(r"[A-Za-z0-9]+", found[0])]
        for end in reversed(parts):
            if iban.is_valid(found[0][:end], check_country=False):
                yield found.start(), found.start() + end
                break


def _cards(text: str, _: str) -> Spans:
    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if _NETWORKS.fullmatch(digits) and _stdnum("luhn").is_valid(digits):
            yield found.span()


def _ssns(text: str, _: str) -> Spans:
    return (m.span() for m in _SSN.finditer(text) if _stdnum("us.ssn").is_valid(m[0]))


def _addresses(text: str, _: str) -> Spans:
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(found[0])
            except ValueError:
                continue
            if not (address.is_loopback or address.is_unspecified):
                yield found.span()


def _phones(text: str, region: str) -> Spans:
    if not _PHONE.search(text):
        return
    try:
        from phonenumbers import PhoneNumberMatcher
    except ImportError:
        raise _missing("phonenumbers") from None
    for found in PhoneNumberMatcher(text, region):
        # The matcher takes a bracket that opens before the number along.
        opens = found.raw_string.startswith("(") and ")" not in found.raw_string
        yield found.start + opens, found.end


def _stdnum(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"stdnum.{name}")
    except ImportError:
        raise _missing("python-stdnum") from None


def _missing(package: str) -> MissingDependency:
    return MissingDependency(
        f"{package} is not installed", where="data.privacy", fix="pip install 'mwalimu[curate]'"
    )


_SEARCHES: dict[str, Callable[[str, str], Spans]] = {
    "PRIVATE_KEY": _matches(_PRIVATE_KEY, "PRIVATE KEY"),
    "API_KEY": _matches(_API_KEY, ""),
    "EMAIL": _matches(_EMAIL, "@"),
    "IBAN": _ibans,
    "CARD": _cards,
    "SSN": _ssns,
    "IP": _addresses,
    "PHONE": _phones,
}
