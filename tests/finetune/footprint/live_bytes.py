"""The most that torch's allocator had given out at once, by the profiler's record of every call."""

from __future__ import annotations

from typing import Any

import torch
from torch._C._profiler import _EventType


class LiveBytes:
    """Of what is allocated inside, on a CPU."""

    def __init__(self) -> None:
        self.peak = 0
        self._profiler = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        )

    def __enter__(self) -> LiveBytes:
        self._profiler.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profiler.__exit__(*error)
        results: Any = self._profiler.profiler.kineto_results  # type: ignore[union-attr]
        calls: list[tuple[int, int, int]] = []
        nodes = list(results.experimental_event_tree())
        while nodes:
            node = nodes.pop()
            kind, data = node.typed
            if kind == _EventType.Allocation:
                calls.append((node.start_time_ns, data.ptr, data.alloc_size))
            nodes.extend(node.children)
        live: dict[int, int] = {}
        total = 0
        for _, place, size in sorted(calls, key=lambda call: call[0]):
            if size > 0:
                live[place] = size
                total += size
            else:
                total -= live.pop(place, 0)
            self.peak = max(self.peak, total)
