"""Greedy decoding by one engine in a process of its own: speed, first token, resident memory.

Each engine takes (folder, prompt, tokens, slots, threads). `decoder` is mwalimu's own, of any
format; the others are the loops that the runtimes themselves come with, one sequence at a time.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 120  # that a process which has answered may take to end


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of the processor, all threads together, and of the clock."""

    processor: float = 0.0
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """`tokens` were made in `decoding`, after the first of each sequence; MB are 1e6 bytes.

    `memory` is the peak of the whole process, `loading` what it rose by from loading on.
    """

    tokens: int
    first: Span
    decoding: Span
    memory: float
    loading: float


class Stopwatch:
    def __init__(self) -> None:
        self.start = time.process_time(), time.perf_counter()

    def read(self) -> Span:
        return Span(time.process_time() - self.start[0], time.perf_counter() - self.start[1])


def decoder(folder: str, prompt: int, tokens: int, slots: int, threads: int) -> Measured:
    import numpy as np

    from mwalimu.runtimes import load_decoder

    before = peak()
    loaded = load_decoder(Path(folder), slots=slots, threads=threads)
    loaded.prefill(0, _ids(prompt))  # what is made when first used is no part of an answer
    loaded.release(0)
    watch = Stopwatch()
    following = {0: int(np.argmax(loaded.prefill(0, _ids(prompt))))}
    first = watch.read()
    for slot in range(1, slots):
        following[slot] = int(np.argmax(loaded.prefill(slot, _ids(prompt))))
    watch = Stopwatch()
    for _ in range(tokens - 1):
        logits = loaded.step(following)
        following = {slot: int(np.argmax(one)) for slot, one in logits.items()}
    return Measured(slots * (tokens - 1), first, watch.read(), peak(), peak() - before)


def generate(folder: str, prompt: int, tokens: int, slots: int, threads: int) -> Measured:
    """transformers' own."""
    import torch
    from transformers import AutoModelForCausalLM

    before = peak()
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([_ids(prompt)])
    spans = []
    for length in (1, 1, tokens):
        watch = Stopwatch()
        model.generate(ids, min_new_tokens=length, max_new_tokens=length, do_sample=False)
        spans.append(watch.read())
    _, first, whole = spans
    decoding = Span(whole.processor - first.processor, whole.clock - first.clock)
    return Measured(tokens - 1, first, decoding, peak(), peak() - before)


def genai(folder: str, prompt: int, tokens: int, slots: int, threads: int) -> Measured:
    """ONNX Runtime GenAI's `Generator`."""
    import onnxruntime_genai as og

    before = peak()
    config = og.Config(folder)
    options = {"session_options": {"intra_op_num_threads": threads}}
    config.overlay(json.dumps({"model": {"decoder": options}}))
    model = og.Model(config)
    parameters = og.GeneratorParams(model)
    length = prompt + tokens
    parameters.set_search_options(do_sample=False, min_length=length, max_length=length)

    def begun() -> Any:
        generator = og.Generator(model, parameters)
        generator.append_tokens(_ids(prompt))
        generator.generate_next_token()
        return generator

    begun()
    watch = Stopwatch()
    generator, made = begun(), 0
    first, watch = watch.read(), Stopwatch()
    while not generator.is_done():
        generator.generate_next_token()
        generator.get_next_tokens()
        made += 1
    return Measured(made, first, watch.read(), peak(), peak() - before)


def llama(folder: str, prompt: int, tokens: int, slots: int, threads: int) -> Measured:
    """`llama_cpp.Llama`'s."""
    from llama_cpp import Llama

    from mwalimu.runtimes import read_export

    before = peak()
    path = Path(folder) / read_export(Path(folder)).weights
    model = Llama(str(path), n_ctx=prompt + tokens + 1, n_threads=threads, verbose=False)
    next(model.generate(_ids(prompt), temp=0, repeat_penalty=1))
    model.reset()
    watch = Stopwatch()
    answer = model.generate(_ids(prompt), temp=0, repeat_penalty=1)
    next(answer)
    first, watch = watch.read(), Stopwatch()
    for _ in range(tokens - 1):
        next(answer)
    return Measured(tokens - 1, first, watch.read(), peak(), peak() - before)


def measured(engine: Callable[..., Measured], *arguments: Any) -> Measured:
    """In a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(engine, arguments, there))
    process.start()
    there.close()
    result: Measured = here.recv()
    process.join(SECONDS)
    return result


def peak() -> float:
    """Resident memory of this process at most so far, in MB; `ru_maxrss` counts the parent's."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6


def _work(engine: Callable[..., Measured], arguments: tuple[Any, ...], pipe: Any) -> None:
    pipe.send(engine(*arguments))


def _ids(count: int) -> list[int]:
    return [3 + i % 200 for i in range(count)]
