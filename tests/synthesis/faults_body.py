"""Faults of a 200 whose body is no chat answer, or is one in an odd wrapping."""

from __future__ import annotations

import gzip
import json
import zlib

from tests.synthesis.faults import NOTHING, UNSURE, Effect, body, fault, row
from tests.synthesis.faulty_server import Exchange

BUSY_UNSURE = Effect(retried=True, unsure=True, busy=True, billed=True)
TOO_LARGE = row("failed", stored=False, billed=True)


@fault(NOTHING)
async def wrong_content_type(x: Exchange) -> None:
    await x.write(x.http(x.whole()).replace(b"application/json", b"text/plain; charset=utf-7", 1))


@body(UNSURE)
def html_with_200(x: Exchange) -> bytes:
    return b"<!doctype html><title>Bad gateway</title>"


@body(UNSURE)
def empty_body(x: Exchange) -> bytes:
    return b""


@body(UNSURE)
def truncated_json(x: Exchange) -> bytes:
    return x.whole()[:-9]


@body(UNSURE)
def invalid_utf8(x: Exchange) -> bytes:
    return x.whole().replace(b"answer ", b"answer \xff\xfe\xc3")


@body(UNSURE)
def utf16(x: Exchange) -> bytes:
    return x.whole().decode().encode("utf-16")


@body(UNSURE)
def byte_order_mark(x: Exchange) -> bytes:
    return b"\xef\xbb\xbf" + x.whole()


@body(NOTHING)
def a_megabyte_of_spaces_around(x: Exchange) -> bytes:
    return b" " * (1 << 20) + x.whole() + b"\n" * (1 << 20)


@body(UNSURE)
def two_documents(x: Exchange) -> bytes:
    return x.whole() + b"\n" + x.whole()


@body(UNSURE)
def sse_stream(x: Exchange) -> bytes:
    return b"data: " + x.whole() + b"\n\ndata: [DONE]\n\n"


# Packed though nobody asked for it


@fault(NOTHING)
async def packed_gzip(x: Exchange) -> None:
    await x.reply(gzip.compress(x.whole()), headers={"Content-Encoding": "gzip"})


@fault(NOTHING)
async def packed_deflate(x: Exchange) -> None:
    await x.reply(zlib.compress(x.whole()), headers={"Content-Encoding": "deflate"})


@fault(UNSURE)
async def packed_unknown(x: Exchange) -> None:
    await x.reply(headers={"Content-Encoding": "br"})


@fault(UNSURE)
async def packed_broken(x: Exchange) -> None:
    await x.reply(b"\x1f\x8b" + x.whole(), headers={"Content-Encoding": "gzip"})


@fault(UNSURE)
async def packed_cut(x: Exchange) -> None:
    await x.reply(gzip.compress(x.whole())[:60], headers={"Content-Encoding": "gzip"})


BOMB = gzip.compress(bytes(200 << 20), compresslevel=1)


@fault(TOO_LARGE)
async def packed_bomb(x: Exchange) -> None:
    await x.reply(BOMB, headers={"Content-Encoding": "gzip"})


@fault(TOO_LARGE)
async def a_hundred_megabytes(x: Exchange) -> None:
    piece = b" " * (1 << 20)
    await x.write(x.http(b"", length=100 << 20))
    for _ in range(100):
        await x.write(piece)


# JSON, but not the right kind


@body(UNSURE)
def nested_deeply(x: Exchange) -> bytes:
    return b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@body(UNSURE)
def not_a_number(x: Exchange) -> bytes:
    return x.whole().replace(b'"index": 0', b'"index": NaN')


@body(UNSURE)
def infinity(x: Exchange) -> bytes:
    return x.whole().replace(b'"index": 0', b'"index": -Infinity')


@body(UNSURE)
def number_out_of_range(x: Exchange) -> bytes:
    return x.whole().replace(b'"index": 0', b'"index": 1e999')


@body(NOTHING)
def duplicate_keys(x: Exchange) -> bytes:
    return b'{"choices": [], "usage": 3, ' + x.whole()[1:]


@body(UNSURE)
def raw_control_character(x: Exchange) -> bytes:
    return x.whole().replace(b"answer ", b"answer \x00")


@body(UNSURE)
def lone_surrogate(x: Exchange) -> bytes:
    return x.whole().replace(b"answer ", rb"answer \ud800")


@body(UNSURE)
def json_null(x: Exchange) -> bytes:
    return b"null"


@body(UNSURE)
def json_list(x: Exchange) -> bytes:
    return b"[" + x.whole() + b"]"


@body(UNSURE)
def json_number(x: Exchange) -> bytes:
    return b"1e3"


@body(UNSURE)
def json_string(x: Exchange) -> bytes:
    return json.dumps(x.whole().decode()).encode()


@body(UNSURE)
def json_object_of_nothing(x: Exchange) -> bytes:
    return b"{}"


@body(UNSURE)
def error_object_with_200(x: Exchange) -> dict[str, object]:
    return {"error": {"message": "CUDA error", "type": "server_error", "code": None}}


@body(UNSURE)
def error_string_with_200(x: Exchange) -> dict[str, object]:
    return {"error": "model is\nloading"}


@body(UNSURE)
def error_of_odd_types_with_200(x: Exchange) -> dict[str, object]:
    return {"error": {"message": ["a", {"b": 1}], "code": {"c": 1}, "type": 7, "details": 3}}


@body(BUSY_UNSURE)
def error_429_with_200(x: Exchange) -> dict[str, object]:
    return {"error": {"message": "slow down", "code": 429}}


@body(BUSY_UNSURE)
def overloaded_with_200(x: Exchange) -> dict[str, object]:
    return {"error": {"message": "Overloaded", "type": "overloaded_error"}}


@body(UNSURE)
def no_choices(x: Exchange) -> dict[str, object]:
    return {k: v for k, v in x.completion().items() if k != "choices"}


@body(UNSURE)
def choices_null(x: Exchange) -> dict[str, object]:
    return x.completion(choices=None)


@body(UNSURE)
def choices_empty(x: Exchange) -> dict[str, object]:
    return x.completion(choices=[])


@body(UNSURE)
def choices_of_odd_types(x: Exchange) -> dict[str, object]:
    return x.completion(choices={"0": x.completion()["choices"][0]})


@body(UNSURE)
def choice_null(x: Exchange) -> dict[str, object]:
    return x.completion(choices=[None])


@body(UNSURE)
def message_null(x: Exchange) -> dict[str, object]:
    return x.completion(choice={"message": None})


@body(UNSURE)
def message_missing(x: Exchange) -> dict[str, object]:
    """As the older protocol has it."""
    return x.completion(choices=[{"index": 0, "text": "answer", "finish_reason": "stop"}])


@body(UNSURE)
def message_a_string(x: Exchange) -> dict[str, object]:
    return x.completion(choice={"message": "answer"})


@body(UNSURE)
def delta_for_message(x: Exchange) -> dict[str, object]:
    return x.completion(choices=[{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}])


@body(UNSURE)
def finish_error(x: Exchange) -> dict[str, object]:
    """A gateway's word for a 5xx of the server behind it."""
    return x.completion(choice={"finish_reason": "error"})
