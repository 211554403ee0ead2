"""Secrets taken out of text: those that are known, in every form that encodings give them, and
whatever looks like one.

Known is what was handed to `hide`: every key where it is read, and at the beginning what the
environment holds under a secret's name.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[hidden]"
SHORTEST = 6
"""Characters of a secret that is hidden; a placeholder such as EMPTY may be a word of the text."""

_NAMES = re.compile(r"(^|_)(API_?KEYS?|KEYS?|TOKENS?|SECRETS?|PASSWORDS?|CREDENTIALS?|PAT)$", re.I)
_URL_USER = re.compile(r"\w+://[^/\s@]*:([^/\s@]+)@")
_LOOKS = re.compile(
    r"(?P<before>\b(?:bearer|basic)(?:\s|%20|\+)+)[\w.~+/=%-]{6,}"
    r"|(?P<named>(?:api[-_]?key|access[-_]?token|authorization|password|secret|[?&]key)"
    r"[\"']?\s*(?:=|:|%3D|%3A)\s*[\"']?)(?!bearer|basic|\[hidden)[^\s\"'&,;}\]]{6,}"
    r"|(?P<user>://[^/\s@:\"']*:)[^/\s@\"']+(?=@)"
    r"|\bsk[-_+][\w+/=.%-]{16,}"
    r"|\bmw_[\w-]{20,}|\bhf_\w{20,}|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"
    r"|\bxox[abprs]-[\w-]{10,}|\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    re.IGNORECASE,
)

_known: dict[str, tuple[str, ...]] = {}
_forms: tuple[str, ...] = ()


def hide(*secrets: str | None) -> None:
    """From now on `redact` knows them; what is too short to be a secret is left alone."""
    global _forms
    new = {s for s in secrets if s and len(s) >= SHORTEST} - _known.keys()
    if not new:
        return
    _known.update((secret, forms_of(secret)) for secret in new)
    every = {form for forms in _known.values() for form in forms}
    _forms = tuple(sorted(every, key=len, reverse=True))  # a longer one holds shorter ones


def hide_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Values under the name of a key, a token, a secret; the passwords in addresses of proxies."""
    hide(*secrets_in(environment))


def secrets_in(environment: Mapping[str, str]) -> Iterable[str]:
    for name, value in environment.items():
        if _NAMES.search(name):
            yield value.strip()
            yield from (part.strip() for part in value.split(","))
            yield from (line.strip() for line in value.splitlines())
        yield from _URL_USER.findall(value)


def forms_of(secret: str) -> tuple[str, ...]:
    """Plain, in URLs, in JSON, and in base64 whatever stands before and behind it there."""
    data = secret.encode("utf-8", "surrogatepass")
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms.add(repr(f"{secret}'\"")[1:-4])  # as it is beside both kinds of quotes
    for safe in ("", "/", "/:@", "~()*!.'"):
        forms |= {quote(data, safe=safe), quote_plus(data, safe=safe)}
    forms |= {re.sub("%[0-9A-F]{2}", lambda hit: hit[0].lower(), form) for form in set(forms)}
    for encode in (b64encode, urlsafe_b64encode):
        for shift in range(3):
            first = (0, 2, 3)[shift]  # characters that what stands before has a part in
            whole = (shift + len(data)) * 8 // 6  # what stands behind has a part in the next one
            text = encode(b"\0" * shift + data).decode()[first:whole]
            forms |= {text, quote(text, safe="")} if len(text) >= SHORTEST else set()
    return tuple(forms)


def redact(text: str) -> str:
    for form in _forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    return _LOOKS.sub(_hidden, text)


def redacted(value: Any) -> Any:
    """With every text in it redacted; what is no JSON becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    return redact(str(value))


def _hidden(hit: re.Match[str]) -> str:
    kept = hit["before"] or hit["named"] or hit["user"] or ""
    return f"{kept}{HIDDEN}"
