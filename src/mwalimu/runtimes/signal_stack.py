"""The stack on which this thread's signals are handled: a library that moves it is set right.

OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, made for AMX, and
puts back the one before when it is unloaded. Where two plugins of a process end in another order
than they began, what is put back is the stack of the one that has ended already: unmapped memory,
and the next signal, a Ctrl-C say, is a segmentation fault without a word.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """stack_t of Linux, sigaltstack(2)."""

    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Leaves this thread's alternate signal stack, or none, as it was before; also a decorator."""
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
