"""Work that ends with its client, on a loop of its own."""

import asyncio
from typing import Any

import pytest

from mwalimu.serving.answering import HungUp, unless_gone
from mwalimu.serving.problems import Refused, bad_request


class Client:
    """A request whose client goes when it is told to."""

    def __init__(self) -> None:
        self.goes = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.goes.wait()
        return {"type": "http.disconnect"}


async def slow(ended: list[str]) -> str:
    try:
        await asyncio.sleep(60)
        return "done"
    finally:
        ended.append("work")


def clean() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


def test_a_client_that_goes_ends_the_work() -> None:
    async def main() -> None:
        client: Any = Client()
        ended: list[str] = []
        asyncio.get_running_loop().call_later(0.01, client.goes.set)
        with pytest.raises(HungUp):
            await unless_gone(client, slow(ended))
        assert ended == ["work"] and clean()
        async with asyncio.timeout(5):  # the task can be awaited in again
            await asyncio.sleep(0)

    asyncio.run(main())


def test_a_client_that_goes_with_the_answer_ends_nothing_else() -> None:
    async def main() -> None:
        client: Any = Client()

        async def work() -> str:
            client.goes.set()
            return "done"

        assert await unless_gone(client, work()) == "done"
        for _ in range(5):
            await asyncio.sleep(0)
        assert clean() and len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_what_the_work_raises_comes_through() -> None:
    async def main() -> None:
        client: Any = Client()

        async def refused() -> None:
            raise bad_request("no")

        async def refused_as_it_is_ended() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise bad_request("no") from None

        with pytest.raises(Refused):
            await unless_gone(client, refused())
        asyncio.get_running_loop().call_later(0.01, client.goes.set)
        with pytest.raises(Refused):
            await unless_gone(client, refused_as_it_is_ended())
        assert clean()

    asyncio.run(main())


def test_another_cancellation_is_one() -> None:
    async def main() -> None:
        client: Any = Client()
        ended: list[str] = []
        task = asyncio.ensure_future(unless_gone(client, slow(ended)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["work"]

    asyncio.run(main())
