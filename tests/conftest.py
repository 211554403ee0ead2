"""Shared by all tests: nothing is looked up on a hub, and waiting threads do not spin."""

import importlib
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their parameter: a gzip's hold the hour, and each process has its own."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    importlib.import_module("tests.frozen")
