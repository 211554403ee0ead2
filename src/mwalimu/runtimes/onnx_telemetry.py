"""ONNX Runtime sends Microsoft what it is used for; here it does not."""

from __future__ import annotations

import os


def switch_off() -> None:
    """Before the first import of onnxruntime or onnxruntime_genai in a process.

    Their own `disable_telemetry_events()` comes too late: on import they have written a device's
    id and a data base of events into the user's cache folder already.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
