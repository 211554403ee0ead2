"""Who sent it and when, so that nobody else's request and no old one is believed.

As the Standard Webhooks specification has it: headers webhook-id, webhook-timestamp and
webhook-signature, a base64 HMAC-SHA256 over `id.timestamp.body`. Libraries for receivers exist.
Every owner of jobs has a secret of their own, derived from that of the service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PREFIX = "whsec_"
TOLERANCE_S = 300  # by which the clocks of two machines may differ


def service_secret(file: Path) -> bytes:
    """Made on first use, in a file that only its owner can read."""
    if not file.exists():
        making = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another process was sooner: its secret counts
            os.link(making, file)
        making.unlink()
    return bytes.fromhex(file.read_text())


def secret_of(service: bytes, owner: str) -> str:
    """What the owner gives to the receiver."""
    derived = hmac.digest(service, f"webhook {owner}".encode(), "sha256")
    return PREFIX + base64.b64encode(derived).decode()


def signed(secret: str, number: str, now: float, body: bytes) -> dict[str, str]:
    """The headers; `now` is in seconds since 1970."""
    stamp = str(int(now))
    return {
        "webhook-id": number,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{_signature(secret, number, stamp, body)}",
    }


def verified(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """For receivers in Python: whether it is ours, and of now. Names of headers in lower case."""
    number, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(now - int(stamp)) > TOLERANCE_S:
        return False
    wanted = _signature(secret, number, stamp, body).encode()
    given = headers.get("webhook-signature", "").split()
    return any(
        hmac.compare_digest(wanted, one.removeprefix("v1,").encode())
        for one in given
        if one.startswith("v1,")
    )


def _signature(secret: str, number: str, stamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{number}.{stamp}.".encode() + body
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
