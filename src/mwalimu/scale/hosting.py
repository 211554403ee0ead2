"""Something under way on a node that tells events until it ends, begun anew where its node dies.

It has to go on by itself from what it left in the run folder, which all nodes see; so an event may
be told again.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mwalimu.scale.cluster import Cluster, Need

TRIES = 3  # beside the first, when its worker or node dies
LOOKS_S = 0.2  # between two, while the cluster has no room, whether to stop
STOPPED = 130
Event = Mapping[str, Any]
"""The last of all is `ended`, {"code", "said"}."""


class Running(Protocol):
    def stop(self) -> None: ...


Start = Callable[[Any, Callable[[Event], None]], Running]
"""Begins with what it is handed; events may come from another thread. Goes to the nodes by name."""


class Host:
    """The node's half: an actor."""

    def __init__(self, start: Start, what: Any) -> None:
        self.start = start
        self.what = what
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._running: Running | None = None

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()

        def heard(event: Event) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, event)

        self._running = self.start(self.what, heard)

    async def events(self) -> list[Event]:
        """Those that came since, once there is one."""
        found = [await self._events.get()]
        while not self._events.empty():
            found.append(self._events.get_nowait())
        return found

    async def stop(self) -> None:
        if self._running is not None:
            self._running.stop()


class Hosted:
    """The driver's half: begins at once, in a thread of its own; `heard` is called from there.

    `ended` always comes, also after `stop`, and after `TRIES` deaths.
    """

    def __init__(
        self,
        cluster: Cluster,
        need: Need,
        start: Start,
        what: Any,
        heard: Callable[[Event], None],
    ) -> None:
        self.ray = cluster.ray
        self.make = cluster.host(Host, need)
        self.start = start
        self.what = what
        self.heard = heard
        self._actor: Any = None
        self._stopped = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._actor is not None:
            self._actor.stop.remote()

    def _follow(self) -> None:
        try:
            ended = self._lives()
        except Exception as error:  # a bug, or a node that cannot even begin: somebody waits
            said = (str(error).strip() or type(error).__name__).splitlines()[-1][:300]
            ended = {"ended": {"code": 1, "said": said}}
        self.heard(ended)

    def _lives(self) -> Event:
        """The last event of all."""
        for _ in range(1 + TRIES):
            if (ended := self._life()) is not None:
                return ended
            if self._stopped.is_set():
                return {"ended": {"code": STOPPED, "said": "stopped"}}
        said = f"its worker or node died {TRIES + 1} times"
        return {"ended": {"code": -signal.SIGKILL, "said": said}}

    def _life(self) -> Event | None:
        """Its last event; None where it was lost, or stopped before it began."""
        actor = self.make(self.start, self.what)
        try:
            begun = actor.begin.remote()
            self._actor = actor
            while not self.ray.wait([begun], timeout=LOOKS_S)[0]:
                if self._stopped.is_set():
                    return None
            self.ray.get(begun)
            if self._stopped.is_set():  # perhaps before there was an actor to tell
                actor.stop.remote()
            while True:
                for event in self.ray.get(actor.events.remote()):
                    if "ended" in event:
                        return dict(event)
                    self.heard(event)
        except self.ray.exceptions.RayActorError:
            return None
        finally:
            self.ray.kill(actor)
