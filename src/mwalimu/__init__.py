"""mwalimu: distil large language models into small ones.

The names below are those of `mwalimu.api`, loaded when they are first asked for.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = [
    "fine_tune_student",
    "generate_teacher_responses",
    "load_config",
    "load_dataset",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mwalimu import api

    return getattr(api, name)
