"""The decoder over ONNX Runtime: all slots in one batch, each at its own length.

GroupQueryAttention writes keys and values where they are read, at the position that the row's
mask says. So rows of one batch need not be equally long, and nothing is copied from step to step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.errors import MissingDependency, StudentError
from mwalimu.runtimes.base import Logits
from mwalimu.runtimes.manifest import read_export
from mwalimu.runtimes.onnx_cache import Array, Cache
from mwalimu.runtimes.onnx_telemetry import switch_off
from mwalimu.runtimes.recomputing import limit_in

FIRST = 256
"""Positions that a cache has room for at first; it doubles where they do not suffice."""
PIECE = 128
"""Ids of a prompt that are read in one pass, at most. Attention has a score for each of them and
all before, so memory does not grow with the square of a prompt; nor is all made that causality
hides."""
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def load(folder: Path, *, slots: int, threads: int | None) -> OnnxDecoder:
    """Raises RunError, StudentError and MissingDependency."""
    switch_off()
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependency(
            "onnxruntime is not installed", where=str(folder), fix="pip install 'mwalimu[onnx]'"
        ) from None
    export = read_export(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        config = json.loads((folder / "config.json").read_bytes())
        session = onnxruntime.InferenceSession(
            folder / export.weights, options, providers=["CPUExecutionProvider"]
        )
        return OnnxDecoder(session, config, slots=slots, context=export.context)
    except Exception as error:  # its exceptions have no common base
        raise StudentError(
            f"ONNX Runtime cannot load it ({' '.join(str(error).split())[:200]})",
            where=str(folder / export.weights),
            fix="run 'mwalimu export' again",
        ) from error


class OnnxDecoder:
    """Sequences lie in the first rows of one cache: a row that comes free takes the last one's.

    A model with two sets of rotary frequencies (longrope) takes the set for a whole batch, by the
    width of its mask: rows of both sides of the limit are stepped apart, and a sequence that
    crosses it is read anew, as transformers' `generate` does.
    """

    def __init__(
        self, session: Any, config: Mapping[str, Any], *, slots: int, context: int
    ) -> None:
        inputs = {one.name: one for one in session.get_inputs()}
        past = [name for name in inputs if name.startswith("past_key_values.")]
        if not past or inputs.keys() - set(past) != {"input_ids", "attention_mask"}:
            raise ValueError(f"it is no graph of the exporter: its inputs are {', '.join(inputs)}")
        logits = next(one for one in session.get_outputs() if one.name == "logits")
        size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        self.slots = slots
        self.context = context
        self.vocabulary: int = logits.shape[-1]
        self._session = session
        self._limit = limit_in(config)
        self._cache = Cache(
            {name: (inputs[name].shape[1], size) for name in past},
            TYPES[inputs[past[0]].type],
            rows=slots,
            capacity=min(FIRST, context),
        )
        self._ids = np.zeros((slots, 1), np.int64)
        self._logits = np.zeros((slots, 1, self.vocabulary), TYPES[logits.type])
        self._order: list[int] = []  # the slot of each row
        self._texts: dict[int, list[int]] = {}
        self._bound: dict[tuple[int, int, int], tuple[Any, Array]] = {}

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        assert slot not in self._texts and 0 <= slot < self.slots
        self._order.append(slot)
        self._texts[slot] = list(ids)
        self._reserve(len(ids))
        return self._read(slot)

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        for slot, token in tokens.items():
            self._texts[slot].append(token)
        self._reserve(max(len(self._texts[slot]) for slot in tokens))
        crossing = [slot for slot in tokens if len(self._texts[slot]) - 1 == self._limit]
        logits = {slot: self._read(slot) for slot in crossing}
        rows = [self._order.index(slot) for slot in tokens if slot not in logits]
        for first, stop, width in self._batches(sorted(rows)):
            logits |= self._continue(first, stop, width)
        return logits

    def release(self, slot: int) -> None:
        if slot not in self._texts:
            return
        del self._texts[slot]
        row, last = self._order.index(slot), self._order.pop()
        if last != slot:
            self._order[row] = last
            self._cache.copy(len(self._order), to=row, length=len(self._texts[last]))

    def close(self) -> None:
        self._bound.clear()
        self._cache.tensors.clear()
        self._session = None

    def _reserve(self, length: int) -> None:
        if self._cache.grow(length, limit=self.context):
            self._bound.clear()

    def _read(self, slot: int) -> Logits:
        """The slot's sequence in even pieces, all with the rotary frequencies of its length."""
        row, text = self._order.index(slot), self._texts[slot]
        limit = self._limit or 0
        least = limit + 1 if limit and len(text) > limit else 0
        stop = 0
        for piece in np.array_split(np.array(text, np.int64), math.ceil(len(text) / PIECE)):
            ids, stop = piece[np.newaxis], stop + len(piece)
            mask = np.zeros((1, max(stop, least)), np.int64)
            mask[:, :stop] = 1
            self._session.run_with_iobinding(self._binding(slice(row, row + 1), ids, mask))
        return self._logits_of(row)

    def _continue(self, first: int, stop: int, width: int) -> dict[int, Logits]:
        """The last id of each of these rows, in one pass."""
        key, rows = (first, stop, width), slice(first, stop)
        if key not in self._bound:  # made once: a step changes what is in its arrays alone
            mask = np.zeros((stop - first, width), np.int64)
            self._bound[key] = self._binding(rows, self._ids[rows], mask), mask
        binding, mask = self._bound[key]
        for row, slot in enumerate(self._order[rows]):
            text = self._texts[slot]
            self._ids[first + row] = text[-1]
            mask[row, : len(text)] = 1
            mask[row, len(text) :] = 0
        self._session.run_with_iobinding(binding)
        return {self._order[row]: self._logits_of(row) for row in range(first, stop)}

    def _batches(self, rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Neighbours with one width of mask, as (first, stop, width)."""
        widths = [self._width(len(self._texts[self._order[row]])) for row in rows]
        first = 0
        for i in range(1, len(rows) + 1):
            if i == len(rows) or rows[i] != rows[i - 1] + 1 or widths[i] != widths[first]:
                yield rows[first], rows[i - 1] + 1, widths[first]
                first = i

    def _width(self, length: int) -> int:
        capacity: int = self._cache.capacity
        beyond = self._limit is None or length > self._limit
        return capacity if beyond else min(self._limit or 0, capacity)

    def _binding(self, rows: slice, ids: Array, mask: Array) -> Any:
        binding = self._session.io_binding()
        binding.bind_input("input_ids", *_place(ids))
        binding.bind_input("attention_mask", *_place(mask))
        for name, tensor in self._cache.tensors.items():
            binding.bind_input(name, *_place(tensor[rows]))
            binding.bind_output(name.replace("past_key_values", "present"), *_place(tensor[rows]))
        binding.bind_output("logits", *_place(self._logits[rows]))
        return binding

    def _logits_of(self, row: int) -> Logits:
        logits: Logits = self._logits[row, 0].astype(np.float32)
        return logits


def _place(array: Array) -> tuple[Any, ...]:
    """Where an array is, as a binding names it; the array must outlive the binding."""
    return "cpu", 0, array.dtype, array.shape, array.ctypes.data
