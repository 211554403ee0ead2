"""What a row asks, as one number: rows of the same digest are the same question to a teacher."""

from __future__ import annotations

import hashlib

import orjson

from mwalimu.data.record import Record

BYTES = 16


def asked_digest(record: Record) -> bytes:
    """16 bytes of BLAKE2b over the messages and the tools, whoever is asked."""
    digest = hashlib.blake2b(digest_size=BYTES)
    for message in record.messages:
        content = message.content.encode("utf-8", "surrogatepass")
        digest.update(b"%s %d " % (message.role.encode(), len(content)) + content)
        if message.tool_calls or message.tool_call_id:
            digest.update(orjson.dumps(message.to_json(), option=orjson.OPT_SORT_KEYS))
    if record.tools:
        digest.update(orjson.dumps(record.tools, option=orjson.OPT_SORT_KEYS))
    return digest.digest()
