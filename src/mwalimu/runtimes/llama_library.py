"""llama.cpp as a library, and silent: what it says is kept for the error that may follow."""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from mwalimu.errors import MissingDependency

_WARNING, _ERROR, _CONTINUED = 3, 4, 5  # of enum ggml_log_level


@dataclass(frozen=True, slots=True)
class Library:
    """`api` is llama_cpp; `warnings` and `errors` are what it last said of each, to be cleared.

    `listener` is held here because C holds it by its address alone.
    """

    api: Any
    warnings: deque[str]
    errors: deque[str]
    listener: Any

    def reason(self) -> str:
        """Why the last call failed, in one line: the first error, the others only follow from it.

        Forgets it, so that the next failure has a reason of its own.
        """
        lines = [line.strip() for line in "".join(self.errors).splitlines() if line.strip()]
        self.errors.clear()
        return lines[0][:200] if lines else "llama.cpp does not say why"


@cache
def library() -> Library:
    """Raises MissingDependency where llama-cpp-python is not there or does not load."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        absent = isinstance(error, ModuleNotFoundError)
        raise MissingDependency(
            "llama-cpp-python is not installed" if absent else f"llama_cpp: {error}",
            fix="pip install 'mwalimu[gguf]', which needs a C++ compiler",
        ) from None
    warnings: deque[str] = deque(maxlen=100)
    errors: deque[str] = deque(maxlen=100)
    unheard: deque[str] = deque(maxlen=1)
    kept = {_WARNING: warnings, _ERROR: errors}
    into = [unheard]  # a line that goes on belongs where it began

    def listen(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level != _CONTINUED:
            into[0] = kept.get(level, unheard)
        into[0].append(text.decode("utf-8", "replace"))

    listener = llama_cpp.llama_log_callback(listen)
    llama_cpp.llama_log_set(listener, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return Library(llama_cpp, warnings, errors, listener)
