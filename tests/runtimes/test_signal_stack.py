"""Cores of OpenVINO that end out of order do not turn the next signal into a crash."""

import subprocess
import sys

import pytest

from mwalimu.runtimes.openvino_library import openvino_library

# In a process of its own, since it would not live without what is tested.
PROGRAM = """
import signal, sys
from contextlib import nullcontext
import numpy
from mwalimu.runtimes.openvino_library import openvino_library
from mwalimu.runtimes.signal_stack import kept_signal_stack

openvino = openvino_library()
guard = kept_signal_stack if sys.argv[1] == "kept" else nullcontext

def compiled():
    with guard():
        inputs = openvino.opset13.parameter([2, 2], numpy.float32)
        model = openvino.Model([openvino.opset13.relu(inputs)], [inputs])
        return openvino.Core().compile_model(model, "CPU")

first, second = compiled(), compiled()
del first, second
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("how", ["kept", "left"])
def test_a_signal_is_handled_after_two_cores_have_ended(how: str) -> None:
    """`left`: without it, so that the test is seen to be about something."""
    openvino_library()
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True)
    if how == "kept":
        assert (ended.returncode, ended.stdout) == (0, "handled\n")
    elif ended.returncode == 0:
        pytest.skip("this OpenVINO leaves the stack as it was")
