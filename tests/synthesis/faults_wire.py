"""Faults below the answer: connections that break, stall or say what is no HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.synthesis.faults import NOTHING, RETRY, UNSURE, Effect, fault, stop
from tests.synthesis.faulty_server import Exchange

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FOREVER = 30.0
STALLED = replace(UNSURE, says="stalled for 0.5 s")
TOO_LONG = replace(UNSURE, says="no answer within 1 s")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# Connections that end


@fault(UNSURE)
async def reset_before_headers(x: Exchange) -> None:
    x.reset()


@fault(UNSURE)
async def closed_before_headers(x: Exchange) -> None:
    x.close()


@fault(UNSURE)
async def closed_within_headers(x: Exchange) -> None:
    await x.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    x.close()


@fault(UNSURE)
async def reset_after_headers(x: Exchange) -> None:
    await x.write(x.http(b"", length=100))
    x.reset()


@fault(UNSURE)
async def body_cut(x: Exchange) -> None:
    await x.write(x.http(x.whole()[:-9], length=len(x.whole())))
    x.close()


@fault(UNSURE)
async def body_cut_by_a_reset(x: Exchange) -> None:
    await x.write(x.http(x.whole()[:-9], length=len(x.whole())))
    await asyncio.sleep(0.02)
    x.reset()


@fault(UNSURE)
async def chunks_end_early(x: Exchange) -> None:
    await x.write(CHUNKED + chunk(x.whole()))  # whole, but nobody can know
    x.close()


@fault(UNSURE)
async def chunk_cut(x: Exchange) -> None:
    await x.write(CHUNKED + chunk(x.whole())[:-20])
    x.close()


@fault(Effect(retried=True, exact=False, stored=True, billed=True), max_retries=6)
async def closed_after_the_answer(x: Exchange) -> None:
    """Without `Connection: close`, as keep-alive timeouts do: the next request may be lost."""
    await x.reply()
    x.close()


@fault(NOTHING)
async def close_announced(x: Exchange) -> None:
    await x.reply(headers={"Connection": "close"})
    x.close()


@fault(NOTHING)
async def http10_until_the_end(x: Exchange) -> None:
    await x.write(b"HTTP/1.0 200 OK\r\n\r\n" + x.whole())
    x.close()


@fault(Effect(retried=True, unsure=True, billed=True, busy=True, exact=False), slow=True)
async def gone_for_a_moment(x: Exchange) -> None:
    """The server restarts: every connection is lost, then new ones are refused."""

    async def restart() -> None:
        await x.server.vanish()
        await asyncio.sleep(0.4)
        await x.server.listen()

    x.server.beside(restart())
    await asyncio.sleep(FOREVER)


# Connections that stall


@fault(TOO_LONG, slow=True)
async def silence(x: Exchange) -> None:
    await asyncio.sleep(FOREVER)


@fault(TOO_LONG, slow=True)
async def headers_trickle(x: Exchange) -> None:
    for byte in x.http(x.whole()):
        await x.write(bytes([byte]))
        await asyncio.sleep(0.1)


@fault(STALLED, slow=True)
async def body_stalls(x: Exchange) -> None:
    await x.write(x.http(x.whole()[:-9], length=len(x.whole())))
    await asyncio.sleep(FOREVER)


@fault(STALLED, slow=True)
async def a_byte_a_second(x: Exchange) -> None:
    await x.write(x.http(b"", length=len(x.whole())))
    for byte in x.whole():
        await x.write(bytes([byte]))
        await asyncio.sleep(1.0)


@fault(TOO_LONG, slow=True)
async def drops_within_the_idle_deadline(x: Exchange) -> None:
    """Never idle for long, and never done: only the total deadline ends it."""
    await x.write(x.http(b"", length=len(x.whole())))
    for byte in x.whole():
        await x.write(bytes([byte]))
        await asyncio.sleep(0.1)


@fault(TOO_LONG, slow=True)
async def chunks_never_end(x: Exchange) -> None:
    await x.write(CHUNKED + chunk(x.whole()))
    for _ in range(300):
        await x.write(chunk(b"\n"))
        await asyncio.sleep(0.1)


@fault(STALLED, slow=True)
async def length_too_long(x: Exchange) -> None:
    await x.write(x.http(x.whole(), length=len(x.whole()) + 7))
    await asyncio.sleep(FOREVER)


@fault(TOO_LONG, slow=True)
async def continue_100_for_ever(x: Exchange) -> None:
    for _ in range(300):
        await x.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.1)


@fault(NOTHING, slow=True)
async def slow_but_in_time(x: Exchange) -> None:
    data = x.http(x.whole())
    for start in range(0, len(data), 100):
        await x.write(data[start : start + 100])
        await asyncio.sleep(0.05)


# What is no HTTP, or an odd kind of it


@fault(UNSURE)
async def no_http_at_all(x: Exchange) -> None:
    await x.write(b"SSH-2.0-OpenSSH_9.6\r\n\x00\xff\r\n\r\n")


@fault(UNSURE)
async def bad_status_line(x: Exchange) -> None:
    await x.write(b"HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n")


@fault(UNSURE)
async def unknown_version(x: Exchange) -> None:
    await x.write(x.http(x.whole()).replace(b"HTTP/1.1", b"HTTP/7.3", 1))
    x.close()


@fault(UNSURE)
async def huge_header(x: Exchange) -> None:
    await x.reply(headers={"X-Huge": "x" * 100_000})


@fault(UNSURE)
async def flood_of_headers(x: Exchange) -> None:
    await x.reply(headers={f"X-{i}": "x" for i in range(20_000)})


@fault(UNSURE)
async def length_negative(x: Exchange) -> None:
    await x.reply(length="-5")


@fault(UNSURE)
async def lengths_that_differ(x: Exchange) -> None:
    await x.reply(headers={"content-length": "3"})


@fault(UNSURE)
async def length_beside_chunks(x: Exchange) -> None:
    await x.write(x.http(chunk(x.whole()) + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}))


@fault(UNSURE)
async def chunk_size_garbage(x: Exchange) -> None:
    await x.write(CHUNKED + b"xyz\r\n" + x.whole() + b"\r\n0\r\n\r\n")


@fault(UNSURE)
async def chunk_size_huge(x: Exchange) -> None:
    await x.write(CHUNKED + b"f" * 40 + b"\r\n" + x.whole())


@fault(UNSURE)
async def length_too_short(x: Exchange) -> None:
    await x.write(x.http(x.whole(), length=len(x.whole()) - 9))


@fault(NOTHING)
async def two_answers_in_one(x: Exchange) -> None:
    """The second must not become the answer to the next question."""
    stranger = x.whole().replace(b"answer ", b"stranger ")
    await x.write(x.http(x.whole()) + x.http(stranger))


@fault(NOTHING)
async def continue_100_first(x: Exchange) -> None:
    await x.write(b"HTTP/1.1 100 Continue\r\n\r\n" + x.http(x.whole()))


@fault(NOTHING)
async def early_hints_103_first(x: Exchange) -> None:
    await x.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + x.http(x.whole()))


@fault(stop())
async def switching_101(x: Exchange) -> None:
    await x.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
    x.close()


@fault(NOTHING)
async def chunks_of_one_byte(x: Exchange) -> None:
    pieces = b"".join(chunk(bytes([b])) for b in x.whole())
    await x.write(CHUNKED + pieces + b"0\r\n\r\n")


@fault(NOTHING)
async def chunk_extensions_and_trailers(x: Exchange) -> None:
    data = x.whole()
    await x.write(CHUNKED + b"%x;a=b\r\n%s\r\n0\r\nX-Late: 1\r\n\r\n" % (len(data), data))


@fault(RETRY)
async def internal_500_then_close(x: Exchange) -> None:
    await x.reply(b"", status=500, headers={"Connection": "close"})
    x.close()
