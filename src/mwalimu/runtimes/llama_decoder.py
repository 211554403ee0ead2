"""The decoder over a GGUF file: llama.cpp, every slot in one forward pass."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.errors import StudentError
from mwalimu.runtimes.base import Decoder, Logits
from mwalimu.runtimes.llama_library import Library, library
from mwalimu.runtimes.manifest import read_export

BATCH = 512
"""Most ids of one forward pass."""
FIRST_ROOM = 1024
"""Ids a slot has room for at first; it doubles up to the context when a sequence needs it."""


def load(folder: Path, *, slots: int, threads: int | None) -> Decoder:
    """Raises MissingDependency, RunError (no whole export), StudentError."""
    export, llama = read_export(folder), library()
    path = folder / export.weights
    model = llama.api.llama_model_load_from_file(
        os.fsencode(path), llama.api.llama_model_default_params()
    )
    if not model:
        raise StudentError(f"llama.cpp cannot load it ({llama.reason()})", where=str(path))
    return LlamaDecoder(
        llama,
        model,
        slots=slots,
        context=export.context,
        threads=threads or _cores(),
        exact=export.precision == "fp32",
    )


class LlamaDecoder:
    """One llama.cpp context for all slots; a slot is a sequence of it, with a cache of its own.

    The caches hold float16, or float32 where `exact`. Their memory is for the longest sequence
    that was met, not for the context, which may be a hundred times longer.
    """

    def __init__(
        self, llama: Library, model: Any, *, slots: int, context: int, threads: int, exact: bool
    ) -> None:
        api = llama.api
        self.slots = slots
        self.context = context
        self.vocabulary: int = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        self._llama, self._model, self._threads, self._exact = llama, model, threads, exact
        self._lengths: dict[int, int] = {}
        self._batch = _Batch(api, max(BATCH, slots), slots)
        self._room = min(FIRST_ROOM, context)
        self._state = self._open()

    def prefill(self, slot: int, ids: Sequence[int]) -> Logits:
        """Raises StudentError where the ids do not fit the context."""
        assert slot not in self._lengths and 0 <= slot < self.slots and len(ids)
        self._lengths[slot] = 0
        try:
            self._make_room(len(ids))
            for start in range(0, len(ids), BATCH):
                chunk = ids[start : start + BATCH]
                last = start + len(chunk) == len(ids)
                positions = range(start, start + len(chunk))
                logits = self._forward(chunk, positions, [slot] * len(chunk), 1 if last else 0)
                self._lengths[slot] += len(chunk)
        except StudentError:
            self.release(slot)
            raise
        row: Logits = logits[0]
        return row

    def step(self, tokens: Mapping[int, int]) -> Mapping[int, Logits]:
        """Raises StudentError where a slot's context is full."""
        slots = list(tokens)
        positions = [self._lengths[slot] for slot in slots]
        self._make_room(max(positions) + 1)
        rows = self._forward(list(tokens.values()), positions, slots, len(slots))
        for slot in slots:
            self._lengths[slot] += 1
        return dict(zip(slots, rows, strict=True))

    def release(self, slot: int) -> None:
        if self._lengths.pop(slot, None) is not None:
            api = self._llama.api
            api.llama_memory_seq_rm(api.llama_get_memory(self._state), slot, -1, -1)

    def close(self) -> None:
        self._lengths.clear()
        if self._state:
            self._llama.api.llama_free(self._state)
            self._llama.api.llama_model_free(self._model)
            self._state = self._model = None

    def _open(self) -> Any:
        api = self._llama.api
        settings = api.llama_context_default_params()
        settings.n_ctx = self._room * self.slots
        settings.n_batch = settings.n_ubatch = max(BATCH, self.slots)
        settings.n_seq_max = settings.n_outputs_max = self.slots
        settings.n_threads = settings.n_threads_batch = self._threads
        if self._exact:
            settings.type_k = settings.type_v = api.GGML_TYPE_F32
            settings.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        state = api.llama_init_from_model(self._model, settings)
        if not state:
            raise StudentError(f"llama.cpp cannot run it ({self._llama.reason()})")
        return state

    def _forward(
        self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int], rows: int
    ) -> Logits:
        """The logits after the last `rows` of these ids: float32 [rows, vocabulary]."""
        api = self._llama.api
        failed = api.llama_decode(self._state, self._batch.of(tokens, positions, slots, rows))
        if failed:
            raise StudentError(f"llama.cpp cannot go on ({failed}: {self._llama.reason()})")
        if not rows:
            return np.empty((0, self.vocabulary), np.float32)
        shape = (rows, self.vocabulary)
        return np.ctypeslib.as_array(api.llama_get_logits(self._state), shape).copy()

    def _make_room(self, length: int) -> None:
        """For sequences of `length` ids; those that run are carried over into a larger context."""
        if length > self.context:
            raise StudentError(
                f"a sequence of {length} ids does not fit its context of {self.context}",
                fix="shorten the prompt, or ask for fewer tokens",
            )
        if length <= self._room:
            return
        api, running = self._llama.api, [slot for slot, ids in self._lengths.items() if ids]
        kept = {slot: _saved(api, self._state, slot) for slot in running}
        api.llama_free(self._state)
        self._room = min(max(length, 2 * self._room), self.context)
        self._state = self._open()
        for slot, (buffer, size) in kept.items():
            if not api.llama_state_seq_set_data(self._state, buffer, size, slot):
                raise StudentError(f"llama.cpp cannot move a cache ({self._llama.reason()})")


class _Batch:
    """The arrays that llama.cpp reads a batch from, filled anew for each."""

    def __init__(self, api: Any, size: int, slots: int) -> None:
        self._tokens, self._positions = (np.zeros(size, np.int32) for _ in range(2))
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._names = np.arange(slots, dtype=np.int32)
        self._slots = np.zeros(size, np.uintp)  # the address of a name
        self._struct = api.llama_batch()
        fields = dict(api.llama_batch._fields_)
        for name, array in (
            ("token", self._tokens),
            ("pos", self._positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._slots),
            ("logits", self._wanted),
        ):
            setattr(self._struct, name, array.ctypes.data_as(fields[name]))

    def of(
        self, tokens: Sequence[int], positions: Sequence[int], slots: Sequence[int], rows: int
    ) -> Any:
        """The struct; logits are asked for after the last `rows` ids."""
        size = len(tokens)
        self._tokens[:size], self._positions[:size] = tokens, positions
        self._slots[:size] = self._names.ctypes.data + 4 * np.asarray(slots, np.uintp)
        self._wanted[:size] = 0
        self._wanted[size - rows : size] = 1
        self._struct.n_tokens = size
        return self._struct


def _saved(api: Any, state: Any, slot: int) -> tuple[Any, int]:
    import ctypes

    size = api.llama_state_seq_get_size(state, slot)
    buffer = (ctypes.c_uint8 * size)()
    api.llama_state_seq_get_data(state, buffer, size, slot)
    return buffer, size


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
