"""A disk that is full from the n-th write on, for everything that Python itself writes.

Files are opened by a class of their own here, since a buffered file writes without `os.write`.
SQLite and the libraries in C and Rust have their own ways, and other tests.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from typing import Any

_UNBUFFERED = 1 << 13


class FullDisk:
    """`at`: the write that fails, counted from 1, and all that follow; 0 counts only."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.writes = 0

    def install(self) -> None:
        opened = io.open
        os.write = self._guarded(os.write)
        builtins.open = io.open = self._opener(opened)  # type: ignore[assignment]

    def check(self, descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(("/dev", "pipe:", "socket:")):
            return
        self.writes += 1
        if self.at and self.writes >= self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _guarded(self, real: Callable[..., int]) -> Callable[..., int]:
        def write(descriptor: int, data: bytes) -> int:
            self.check(descriptor)
            return real(descriptor, data)

        return write

    def _opener(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        disk = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                disk.check(self.fileno())
                return super().write(data) or 0

        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(file, int):
                return opened(file, mode, buffering, *rest, **named)
            text = "b" not in mode
            raw = Raw(
                file, mode.replace("b", "").replace("t", ""), opener=named.pop("opener", None)
            )
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
            buffered = kind(raw, _UNBUFFERED)
            return io.TextIOWrapper(buffered, *rest, **named) if text else buffered

        return open_
