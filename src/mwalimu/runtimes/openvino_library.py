"""OpenVINO as it is used here: it tells nobody of its use."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from mwalimu.errors import MissingDependency

_TELEMETRY = "openvino_telemetry"


def openvino_library(name: str = "openvino") -> Any:
    """The module `name`: openvino, openvino_tokenizers, openvino_genai or nncf.

    All of them report to their makers as soon as they are imported, unless their telemetry cannot
    be: then they take stubs that do nothing.

    Raises MissingDependency.
    """
    sys.modules.setdefault(_TELEMETRY, cast(ModuleType, None))
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"{name} is not installed ({error})", fix="pip install 'mwalimu[openvino]'"
        ) from None
