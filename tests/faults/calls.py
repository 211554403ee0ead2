"""The calls by which this process touches files and sockets, counted: the n-th fails, or kills, or
all move but a part of what they are asked to.

Files are opened by a class of their own here, since a buffered file reads and writes without the
functions of `os`. SQLite and libraries in C and Rust have their own ways, and other tests.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BUFFER = 1 << 13
FUNCTIONS = {
    "open": ("open",),
    "read": ("read", "pread"),
    "write": ("write",),
    "fsync": ("fsync",),
    "rename": ("replace", "rename"),
    "unlink": ("unlink", "remove", "rmdir"),
    "truncate": ("ftruncate",),
}
"""Of `os`, by the name of the call."""
METHODS = {"connect": ("connect",), "accept": ("accept",), "send": ("send",), "recv": ("recv",)}
"""Of a socket: what an event loop of Python calls."""
ELSEWHERE = (
    *("/dev/null", "/dev/pts", "/dev/tty", "/dev/urandom", "/proc", "/sys"),
    *("pipe:", "socket:", "anon_inode:"),
)  # not all of /dev: a test's folder may lie in /dev/shm


@dataclass
class Calls:
    """`at`: the call that is struck, counted from 1; 0 counts only.

    Args:
        names: which calls count: keys of FUNCTIONS and METHODS, and "socket", which makes one.
        number: the errno of a struck call; 0 kills the process as `kill -9` does.
        after: the call is done first.
        lasting: all calls behind it are struck too.
        under: only files below this folder count, where it is given.
        part: bytes that one read, write, recv or send moves at most, as the system may; 0: all.
    """

    names: Collection[str]
    at: int = 0
    number: int = errno.EIO
    after: bool = False
    lasting: bool = False
    under: str = ""
    part: int = 0
    count: int = 0

    def install(self) -> Callable[[], None]:
        """Returns what takes it out again."""
        undo: list[tuple[Any, str, Any]] = []

        def put(owner: Any, name: str, new: Any) -> None:
            undo.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, new)

        opened = io.open
        for call in self.names:
            for name in FUNCTIONS.get(call, ()):
                put(os, name, self._wrapped(call, getattr(os, name)))
            for name in METHODS.get(call, ()):
                put(socket.socket, name, self._wrapped(call, getattr(socket.socket, name)))
        if "socket" in self.names:
            put(socket.socket, "__init__", self._maker(socket.socket.__init__))
        if {"open", "read", "write"} & set(self.names):
            opener = self._opener(opened)
            put(io, "open", opener)
            put(builtins, "open", opener)

        def take_out() -> None:
            for owner, name, old in reversed(undo):
                if old is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, old)

        return take_out

    def done(self, call: str, what: Any, act: Callable[[], Any]) -> Any:
        if call not in self.names or not self._ours(what):
            return act()
        self.count += 1
        struck = self.count >= self.at if self.lasting else self.count == self.at
        if not self.at or not struck:
            return act()
        if self.after:
            act()
        if not self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        named = [os.fspath(what)] if isinstance(what, str | Path) else []
        raise OSError(self.number, os.strerror(self.number), *named)

    def _ours(self, what: Any) -> bool:
        """Whether a path, a descriptor or a socket counts; those by which a process wakes itself
        do not."""
        if isinstance(what, socket.socket):
            return what.fileno() < 0 or what.family != socket.AF_UNIX
        if isinstance(what, int):
            path = os.readlink(f"/proc/self/fd/{what}")
        else:
            path = os.path.abspath(os.fsdecode(what))
        return not path.startswith(ELSEWHERE) and path.startswith(self.under)

    def _wrapped(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(what: Any, *rest: Any, **named: Any) -> Any:
            short = self._short(call, rest) if self.part and self._ours(what) else rest
            return self.done(call, what, lambda: real(what, *short, **named))

        return wrapper

    def _short(self, call: str, rest: tuple[Any, ...]) -> tuple[Any, ...]:
        """Of what follows the descriptor or the socket: how many bytes to take, or what to give."""
        if call in ("read", "recv"):
            return (min(rest[0], self.part), *rest[1:])
        if call in ("write", "send"):
            return (self._beginning(rest[0]), *rest[1:])
        return rest

    def _beginning(self, of: Any) -> memoryview:
        view = memoryview(of).cast("B")
        return view[: self.part or len(view)]

    def _maker(self, real: Callable[..., None]) -> Callable[..., None]:
        def init(
            self: Any, family: int = -1, type: int = -1, proto: int = -1, fileno: Any = None
        ) -> None:
            def act() -> None:
                real(self, family, type, proto, fileno)

            return act() if fileno is not None else calls.done("socket", self, act)

        calls = self
        return init

    def _opener(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        calls = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                act, own = super().write, self._part_of(data)
                return calls.done("write", self.fileno(), lambda: act(own)) or 0

            def readinto(self, buffer: Any) -> Any:
                act, own = super().readinto, self._part_of(buffer)
                return calls.done("read", self.fileno(), lambda: act(own))

            def readall(self) -> Any:
                return calls.done("read", self.fileno(), super().readall)

            def _part_of(self, data: Any) -> Any:
                return calls._beginning(data) if calls._ours(self.fileno()) else data

        def raw(file: Any, mode: str, given: Callable[[Any, int], int] | None) -> io.FileIO:
            plain = mode.replace("b", "").replace("t", "")
            if given is not None:  # which goes through `os.open` and is counted there
                return Raw(file, plain, opener=given)
            made: io.FileIO = calls.done("open", file, lambda: Raw(file, plain))
            return made

        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if isinstance(file, int):
                return opened(file, mode, buffering, *rest, **named)
            found = raw(file, mode, named.pop("opener", None))
            if buffering == 0:
                return found
            writes, both = bool(set(mode) & set("wax")), "+" in mode
            kind = io.BufferedWriter if writes else io.BufferedReader
            buffered = (io.BufferedRandom if both else kind)(found, _BUFFER)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        return open_


def guarded(given: str, main: Callable[[], None]) -> None:
    """Runs `main` under the calls that `given` names as JSON; their number goes to the file
    `calls`, where `main` was started."""
    import json

    sys.modules["uvloop"] = None  # type: ignore[assignment]  # it makes its sockets in C
    place = Path("calls").absolute()
    calls = Calls(**{"under": os.getcwd(), **json.loads(given)})
    take_out = calls.install()
    try:
        main()
    finally:
        take_out()
        place.write_text(str(calls.count))
