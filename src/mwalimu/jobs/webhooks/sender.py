"""Sends what is in the outbox: a thread of the server that is killed and started without loss."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2

from mwalimu.errors import MwalimuError
from mwalimu.jobs.webhooks.outbox import Delivery, Outbox
from mwalimu.jobs.webhooks.signing import secret_of, signed
from mwalimu.jobs.webhooks.target import BadTarget, Resolve, Target, parsed, pinned

ROUND_S = 1.0
AT_ONCE = 8
WHOLE_S = 10.0  # from the look-up of the name to the status; what follows it is not read
GONE = 410  # by which a receiver says that it wants no more


@dataclass(frozen=True, slots=True)
class Sending:
    """`allowed` hosts may be private and without TLS; `secret` is the service's."""

    secret: bytes
    allowed: Collection[str] = ()
    verify: bool | ssl.SSLContext = True


def resolved(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Sender:
    """Used as a context manager. What is under way at the end is sent again by the next one."""

    def __init__(self, outbox: Outbox, sending: Sending, *, resolve: Resolve = resolved) -> None:
        self.outbox = outbox
        self.sending = sending
        self.resolve = resolve
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live, name="webhooks", daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @cached_property
    def _verify(self) -> bool | ssl.SSLContext:
        """The machine's authorities are read once, not for each delivery."""
        verify = self.sending.verify
        return httpx2.create_ssl_context(trust_env=False) if verify is True else verify

    def round(self) -> int:
        """Everything that is due, once; returns how many."""
        self.outbox.fill()
        due = self.outbox.due(AT_ONCE)
        if due:
            asyncio.run(self._send_all(due))
        return len(due)

    def _live(self) -> None:
        while not self._done.is_set():
            try:
                busy = self.round() == AT_ONCE
            except (MwalimuError, OSError) as error:
                print(f"webhooks: {error}", file=sys.stderr, flush=True)
                busy = False
            if not busy:
                self._done.wait(ROUND_S)

    async def _send_all(self, due: Sequence[Delivery]) -> None:
        await asyncio.gather(*(self._send(delivery) for delivery in due))

    async def _send(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(WHOLE_S):
                status = await self._status(delivery)
        except BadTarget as bad:
            self.outbox.failed(delivery, str(bad))
        except TimeoutError:
            self.outbox.failed(delivery, f"no answer within {WHOLE_S:g} s")
        except (httpx2.HTTPError, OSError, ValueError) as error:
            self.outbox.failed(delivery, type(error).__name__)
        else:
            self._told(delivery, status)

    def _told(self, delivery: Delivery, status: int) -> None:
        if 200 <= status < 300:
            self.outbox.delivered(delivery)
        else:
            self.outbox.failed(delivery, f"answered {status}", for_good=status == GONE)

    async def _status(self, delivery: Delivery) -> int:
        target = parsed(delivery.url, self.sending.allowed)
        address = await asyncio.to_thread(pinned, target, self.resolve, self.sending.allowed)
        host = f"[{address}]" if address.version == 6 else str(address)
        url = f"{target.scheme}://{host}:{target.port}{target.path}"
        client = httpx2.AsyncClient(
            verify=self._verify, trust_env=False, follow_redirects=False, timeout=WHOLE_S
        )
        async with client, client.stream("POST", url, **self._request(delivery, target)) as answer:
            return answer.status_code

    def _request(self, delivery: Delivery, target: Target) -> dict[str, Any]:
        body = delivery.body.encode()
        secret = secret_of(self.sending.secret, delivery.owner)
        name = f"[{target.host}]" if ":" in target.host else target.host
        headers = {
            "Host": f"{name}:{target.port}",
            "Content-Type": "application/json",
            "User-Agent": "mwalimu",
            **signed(secret, str(delivery.number), time.time(), body),
        }
        # TLS asks for the name, whatever address the connection is to.
        return {
            "content": body,
            "headers": headers,
            "extensions": {"sni_hostname": target.host},
        }
