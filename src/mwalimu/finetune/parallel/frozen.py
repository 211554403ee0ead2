"""A teacher too large for one GPU: every process holds a share of its layers, and reads with all.

The main process loads it once, into its own memory, and hands it out tensor by tensor. What belongs
to no layer (embeddings, last norm, head) is whole everywhere: losses use the head long after the
teacher's forward pass.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from mwalimu.data.loading import (
    CannotLoad,
    causal_lm_of,
    load_causal_lm,
    load_skeleton,
    load_tokenizer,
    on_device,
)
from mwalimu.finetune.parallel.pieces import local_of, rows_of
from mwalimu.finetune.parallel.strategy import has_room
from mwalimu.finetune.parallel.world import World
from mwalimu.objectives.layers import decoder_layers

ROOM = 0.25
"""Of a GPU's memory, for a teacher that is whole in every process."""


def load_teacher(name: str, *, wanted: str, world: World) -> tuple[Any, Any]:
    """(model, tokenizer), the model whole or shared out: what does not fit a GPU well, and all
    under `wanted` fsdp.

    Raises:
        CannotLoad: in every process.
    """
    skeleton = load_skeleton(name) if world.size > 1 else None
    if skeleton is None or (wanted != "fsdp" and has_room(_bytes(skeleton), ROOM)):
        return load_causal_lm(name)
    whole, reason = None, ""
    if world.main:
        try:
            whole, _ = load_causal_lm(name, place=_in_memory)
        except CannotLoad as error:
            reason = str(error)
    if reason := world.gather(reason)[0]:
        raise CannotLoad(reason)
    _share_out(skeleton, whole, world)
    return skeleton, load_tokenizer(name)


@torch.no_grad()
def _share_out(skeleton: Any, whole: Any, world: World) -> None:
    """`skeleton` gets the weights of `whole`, which only the main process has."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    skeleton.requires_grad_(False).eval()
    mesh = init_device_mesh(device.type, (world.size,))
    layers = decoder_layers(skeleton)
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    # The layers have one outermost module, so that one is fetched while another computes.
    cut = {p for layer in layers for p in layer.parameters()}
    decoder = causal_lm_of(skeleton).get_decoder()
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()) - cut)
    skeleton.to_empty(device=device)
    skeleton.tie_weights()
    theirs = {} if whole is None else dict(_tensors(whole))
    for name, tensor in _tensors(skeleton):
        full = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        if world.main:
            full.copy_(theirs[name])
        dist.broadcast(full, 0)
        if isinstance(tensor, DTensor):
            first, rows = rows_of(tensor)
            full = full[first : first + rows]
        local_of(tensor).copy_(full)


def _tensors(model: torch.nn.Module) -> Any:
    """Weights, and buffers such as rotary frequencies, which no file holds."""
    return chain(model.named_parameters(), model.named_buffers())


def _bytes(model: torch.nn.Module) -> int:
    return sum(p.nbytes for p in model.parameters())


def _in_memory(model: Any) -> Any:
    """In the types of the skeleton."""
    return model if torch.cuda.is_available() else on_device(model)
