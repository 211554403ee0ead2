"""An event loop in a thread of its own, for code that waits for its results and is not async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

STEP_S = 0.2

Result = TypeVar("Result")


class LoopThread:
    """The thread ends with `close`, at the latest with the process."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """For who can wait in a way of its own."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` returns or raises. A Ctrl-C in the waiting thread cancels it."""
        future = self.begin(work)
        try:
            # In steps, as a wait without an end cannot be interrupted everywhere.
            while not wait([future], timeout=STEP_S).done:
                pass
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs `last`, after what was cancelled has ended; a second call does nothing."""
        if self._loop.is_closed():
            last.close()
            return
        self.wait(_after_all_others(last))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _after_all_others(last: Coroutine[Any, Any, None]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last
