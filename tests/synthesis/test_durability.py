"""Group commit: everybody who waits is woken, and only for what an fsync covered."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from mwalimu.errors import DiskFull
from mwalimu.synthesis import durability
from mwalimu.synthesis.durability import Durability
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import AnswerStore, Stored


def stored(number: int) -> Stored:
    return Stored(hashlib.sha256(b"%d" % number).hexdigest(), Cost(), b"answer")


class Synced:
    """What the fsyncs of a store covered; the store's own is slow or quick by chance."""

    def __init__(self, store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.end = store.end
        self.calls = 0
        real, chance = os.fsync, random.Random(3)

        def fsync(descriptor: int) -> None:
            end = store.end
            if chance.random() < 0.5:
                time.sleep(chance.random() / 200)
            real(descriptor)
            self.end = max(self.end, end)
            self.calls += 1

        monkeypatch.setattr(os, "fsync", fsync)


def test_nobody_is_forgotten_and_nobody_is_told_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "GATHER_S", 0.001)

    async def scenario() -> int:
        with AnswerStore(tmp_path) as store:
            synced = Synced(store, monkeypatch)
            group = Durability(store)
            chance = random.Random(5)

            async def one(number: int) -> None:
                await asyncio.sleep(chance.random() / 10)
                store.put([stored(number)])
                group.written()
                mark = group.mark()
                await asyncio.sleep(chance.random() / 50)
                await group.reached(mark)
                assert synced.end >= mark

            await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(400))), 60)
            await group.close()
            return synced.calls

    assert asyncio.run(scenario()) < 200


def test_a_full_disk_reaches_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        with AnswerStore(tmp_path) as store:
            group = Durability(store)
            monkeypatch.setattr(os, "fsync", full)
            store.put([stored(1)])
            group.written()
            with pytest.raises(DiskFull):
                await asyncio.wait_for(group.reached(group.mark()), 60)
            monkeypatch.undo()
            await asyncio.wait_for(group.reached(group.mark()), 60)
            await group.close()

    asyncio.run(scenario())
