"""The decoder over OpenVINO: a stateful model compiled once; a request and its state a slot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.errors import StudentError
from mwalimu.runtimes.base import Decoder, Logits
from mwalimu.runtimes.manifest import read_export
from mwalimu.runtimes.openvino_library import openvino_library
from mwalimu.runtimes.recomputing import limit_of, recomputing
from mwalimu.runtimes.signal_stack import kept_signal_stack
from mwalimu.runtimes.slot_by_slot import SlotBySlot


@kept_signal_stack()
def load(folder: Path, *, slots: int, threads: int | None) -> Decoder:
    """On the CPU, in float32 whatever the CPU has, so that an export answers alike everywhere.

    The precision of the key-value cache is one of the model's own runtime options.

    Raises RunError, StudentError, MissingDependency.
    """
    export, openvino = read_export(folder), openvino_library()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        core = openvino.Core()
        model = core.read_model(folder / export.weights)
        _keep_last_position(model, openvino)
        compiled = core.compile_model(model, "CPU", options)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise StudentError(f"OpenVINO cannot load it ({reason})", where=str(folder)) from None
    return recomputing(
        OpenVINODecoder(compiled, slots=slots, context=export.context), limit_of(folder)
    )


class OpenVINODecoder(SlotBySlot):
    """The CPU is busy with one slot already."""

    def __init__(self, compiled: Any, *, slots: int, context: int) -> None:
        vocabulary = compiled.output("logits").get_partial_shape()[-1].get_length()
        super().__init__(slots=slots, context=context, vocabulary=vocabulary)
        self._requests = [compiled.create_infer_request() for _ in range(slots)]

    def release(self, slot: int) -> None:
        if slot in self._lengths:
            self._requests[slot].reset_state()
        super().release(slot)

    def close(self) -> None:
        super().close()
        self._requests.clear()

    def forward(self, slot: int, ids: Sequence[int], start: int) -> Logits:
        end = start + len(ids)
        request = self._requests[slot]
        request.infer(
            {
                "input_ids": np.array([ids], dtype=np.int64),
                "attention_mask": np.ones((1, end), dtype=np.int64),
                "position_ids": np.arange(start, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
        )
        logits: Logits = request.get_tensor("logits").data[0, -1].astype(np.float32)
        return logits


def _keep_last_position(model: Any, openvino: Any) -> None:
    """Cuts the head's input to the last position: a prompt needs no other logits.

    Where something follows the head (a soft cap, say), it stays as it is.
    """
    head = model.output("logits").get_node().input_value(0).get_node()
    if head.get_type_name() != "MatMul":
        return
    operations = openvino.opset13
    last = operations.gather(head.input_value(0), operations.constant([-1]), operations.constant(1))
    head.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()
