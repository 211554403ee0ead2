"""Shared by all tests: nobody is told, no hub is asked, and waiting threads do not spin."""

import importlib
import os
import sys

import tests.thawed  # noqa: F401  (until all is collected)

# Where a test imports a runtime itself, its makers would be told, each time by a fork of all this.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their parameter: a gzip's hold the hour, and each process has its own."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    importlib.import_module("tests.frozen")
