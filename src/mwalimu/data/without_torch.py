"""transformers for its tokenizers alone.

Where torch is installed transformers imports it with them: 250 MiB and seconds, for nothing in a
process whose model runs on another runtime.
"""

from __future__ import annotations

import os
import sys

_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


def leave_torch_out() -> None:
    """Imports transformers as if torch were not installed.

    For a process of one purpose: transformers keeps what it found, and loads no model in it any
    more. Where either is imported already nothing happens.
    """
    if {"torch", "transformers"} & sys.modules.keys():
        return
    advice = os.environ.get(_ADVICE)
    os.environ[_ADVICE] = "1"
    sys.modules["torch"] = None  # type: ignore[assignment]  # what is not to be found, to importlib
    try:
        from transformers import AutoTokenizer, GenerationConfig

        assert AutoTokenizer and GenerationConfig
    finally:
        del sys.modules["torch"]
        os.environ.pop(_ADVICE)
        if advice is not None:
            os.environ[_ADVICE] = advice
