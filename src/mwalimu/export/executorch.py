"""ExecuTorch's format: one program (.pte) with its own static key-value cache, lowered to XNNPACK.

`forward(input_ids [1, ids], cache_position [ids]) -> logits [1, vocabulary]` of the last id, what
ExecuTorch's own text runners call; a sequence begins at position 0.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mwalimu.config import TargetConfig
from mwalimu.errors import StudentError
from mwalimu.export.built import Built, context_of, versions_of
from mwalimu.export.executorch_weights import quantise, scheme_of
from mwalimu.export.traceable import additive_masks, load_traceable
from mwalimu.runtimes.executorch_decoder import executorch_library

MODEL = "model.pte"
LONGEST = 2048
"""Ids at most: the cache lies in memory at its full length from the start."""
SAMPLE = Path(__file__).with_name("samples") / "executorch.py.txt"


def made_with() -> dict[str, str | None]:
    return versions_of("executorch", "torchao", "torch", "transformers")


def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """In fp32, int8 or int4; nothing looks at `calibration`.

    Raises:
        ConfigError: there is no such precision or scheme.
        StudentError: it cannot be loaded, or not be lowered.
        MissingDependency: the extra `executorch` is not installed.
    """
    scheme = scheme_of(target)
    executorch_library("executorch.exir")
    model = load_traceable(source)
    context = min(context_of(source), LONGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's and torchao's of their own ways
            quantise(model, scheme)
            program = lower(static(model, context), context)
    except Exception as error:  # torch.export, the partitioner and the emitter have their own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StudentError(f"cannot be lowered to ExecuTorch ({reason})", where=str(source)) from (
            error
        )
    (folder / MODEL).write_bytes(program)
    model.config.save_pretrained(folder)
    note(f"it reads {context} ids at most")
    shutil.copyfile(SAMPLE, folder / "sample.py")
    return Built(MODEL, context)


def static(model: Any, context: int) -> Any:
    """(input_ids, cache_position) to the last logits, with a cache of `context` ids."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    class Layer(DynamicLayer):  # type: ignore[misc]
        def __init__(self, keys: Any, values: Any, positions_Q: Any) -> None:
            super().__init__()
            self.keys, self.values, self.positions_Q = keys, values, positions_Q
            self.is_initialized = True

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            self.keys.index_copy_(2, self.positions_Q, keys)
            self.values.index_copy_(2, self.positions_Q, values)
            return self.keys, self.values

    class Static(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            for number in range(config.num_hidden_layers):
                for kind in ("keys", "values"):
                    empty = torch.zeros(1, config.num_key_value_heads, context, width)
                    self.register_buffer(f"{kind}_{number}", empty, persistent=False)

        def forward(self, input_ids: Any, cache_position: Any) -> Any:
            keys_K = torch.arange(context)
            seen_BQK = (keys_K[None, :] <= cache_position[:, None])[None]
            cache = DynamicCache()
            cache.layers = [
                Layer(getattr(self, f"keys_{i}"), getattr(self, f"values_{i}"), cache_position)
                for i in range(config.num_hidden_layers)
            ]
            output = self.model(
                input_ids=input_ids,
                attention_mask=additive_masks(config, seen_BQK, cache_position, keys_K),
                position_ids=cache_position[None],
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            return output.logits[:, -1]

    return Static().eval()


def lower(module: Any, context: int) -> bytes:
    """The program: what XNNPACK can compute is its, the rest is the portable kernels'."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import (
        EdgeCompileConfig,
        ExecutorchBackendConfig,
        to_edge_transform_and_lower,
    )
    from executorch.exir.passes import MemoryPlanningPass

    ids = torch.export.Dim("ids", min=1, max=context - 1)
    example = (torch.ones(1, 3, dtype=torch.long), torch.arange(3))
    with torch.no_grad():
        exported = torch.export.export(
            module, example, dynamic_shapes=({1: ids}, {0: ids}), strict=False
        )
    edge = to_edge_transform_and_lower(
        exported,
        partitioner=[XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True),
        constant_methods={
            "get_max_seq_len": context,
            "get_max_context_len": context,
            "use_kv_cache": True,
            "enable_dynamic_shape": True,
        },
    )
    program = edge.to_executorch(
        ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))
    )
    return bytes(program.buffer)
