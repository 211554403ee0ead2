"""Which student layer learns from which teacher layer, and taps on the states of such layers.

Layer i (from 0) means the output of decoder layer i: the residual stream behind it, before the
final norm, also for the last one. In `output_hidden_states` of transformers that is entry i + 1;
its last entry is behind the final norm and so is none of these.

Shapes: B rows, T tokens, N chosen positions, H hidden, X whatever a position holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, NamedTuple

import torch

from mwalimu.data.loading import causal_lm_of
from mwalimu.errors import ConfigError


class LayerPair(NamedTuple):
    """Indices from 0."""

    student: int
    teacher: int


LayerMap = Literal["uniform", "last"] | int | Sequence[Sequence[int]]


def map_layers(chosen: LayerMap, num_student: int, num_teacher: int) -> tuple[LayerPair, ...]:
    """The pairs that `chosen` means for models of so many layers.

    - `uniform`: every student layer; counted from 1, layer i of S learns from round(i * T / S).
    - `last`: the last of each.
    - a number P: P pairs spread evenly over both depths, the last of each among them.
    - [[student, teacher], ...]: these, from 0; -1 is the last, as in Python.

    Raises:
        ConfigError: no such layer, no pair at all, or a pair twice.
    """
    if chosen == "uniform":
        return _spread(num_student, num_student, num_teacher)
    if chosen == "last":
        return _spread(1, num_student, num_teacher)
    if isinstance(chosen, str):
        raise ConfigError(
            f"no such layer map: {chosen}",
            fix="use uniform, last, a number of pairs or [[student, teacher], ...]",
        )
    if isinstance(chosen, int):
        if not 1 <= chosen <= num_student:
            raise ConfigError(
                f"cannot spread {chosen} layer pairs over the student's {num_student} layers",
                fix=f"ask for 1 to {num_student}",
            )
        return _spread(chosen, num_student, num_teacher)
    return _by_hand(chosen, num_student, num_teacher)


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The decoder layers of a causal LM of transformers, with or without adapters of peft.

    Raises:
        ConfigError: no list of `num_hidden_layers` modules is in it.
    """
    causal = causal_lm_of(model)
    count = causal.config.get_text_config().num_hidden_layers
    # Outer modules come first, so that a list of experts inside a layer is never taken for it.
    for module in causal.get_decoder().modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ConfigError(
        f"the {count} layers of {type(causal).__name__} were not found",
        fix="leave out the objectives that look at layers",
    )


class HiddenTap:
    """Collects the states of chosen layers at chosen positions while the model runs as ever.

    A state is cut down to its N positions as it leaves its layer, so that no [B, T, H] is kept for
    the tap's sake. Gradients flow back through it, with gradient checkpointing too.
    """

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        listed = decoder_layers(model)
        self._name = type(causal_lm_of(model)).__name__
        self._modules = {layer: listed[layer] for layer in layers}

    @contextmanager
    def at(self, positions_N: torch.Tensor) -> Iterator[dict[int, torch.Tensor]]:
        """Inside, run the model once; then the dict has [N, H] by layer.

        `positions_N` index the flattened (B*T) positions. Only the first pass counts: the second
        one of gradient checkpointing changes nothing.

        Raises:
            ConfigError: a layer gave no [B, T, H], or hides its gradient.
        """
        states: dict[int, torch.Tensor] = {}
        with_gradient = torch.is_grad_enabled()

        def keep(layer: int, output: Any) -> None:
            state_BTH = output[0] if isinstance(output, tuple) else output
            if layer in states or state_BTH.ndim != 3:
                return
            require_gradient(with_gradient)
            states[layer] = rows_at(state_BTH, positions_N)

        with ExitStack() as hooks:
            for layer, module in self._modules.items():
                hook = module.register_forward_hook(
                    lambda _module, _arguments, output, layer=layer: keep(layer, output)
                )
                hooks.callback(hook.remove)
            yield states
        missing = self._modules.keys() - states.keys()
        if missing:
            raise ConfigError(
                f"layer {min(missing)} of {self._name} gives no states of shape [rows, tokens, H]",
                fix="choose other layers or leave out the objectives that look at layers",
            )


def require_gradient(with_gradient: bool) -> None:
    """Refuses a layer without gradients where the tap was opened with them.

    So it is under reentrant gradient checkpointing: what is taken would teach nothing, in silence.
    """
    if with_gradient and not torch.is_grad_enabled():
        raise ConfigError(
            "a layer that is to learn ran without gradients, as reentrant checkpointing does it",
            fix="enable gradient checkpointing with use_reentrant=False",
        )


def rows_at(states_BTX: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
    """[N, X], the states at flat positions; saves nothing for the backward pass.

    Gradient checkpointing counts what a layer saves and fails if its second pass, which may run
    after a tap was taken off, saves less than the first.
    """
    positions_N = positions_N.to(states_BTX.device)
    rows: torch.Tensor = _RowsAt.apply(states_BTX, positions_N)  # type: ignore[no-untyped-call]
    return rows


class _RowsAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states_BTX: torch.Tensor, positions_N: torch.Tensor) -> torch.Tensor:
        tokens = states_BTX.shape[1]
        ctx.shape = states_BTX.shape
        ctx.where = (positions_N // tokens, positions_N % tokens)
        return states_BTX[ctx.where]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        grad_BTX = grads[0].new_zeros(ctx.shape)
        # Accumulating sorts first, so that the result is the same to the bit on a GPU too.
        grad_BTX.index_put_(ctx.where, grads[0], accumulate=True)
        return grad_BTX, None


def _spread(pairs: int, num_student: int, num_teacher: int) -> tuple[LayerPair, ...]:
    return tuple(
        LayerPair(_share(i, pairs, num_student), _share(i, pairs, num_teacher))
        for i in range(1, pairs + 1)
    )


def _share(i: int, pairs: int, layers: int) -> int:
    """round(i * layers / pairs), halves up, counted from 1; as an index from 0."""
    return max(0, (2 * i * layers + pairs) // (2 * pairs) - 1)


def _by_hand(
    chosen: Sequence[Sequence[int]], num_student: int, num_teacher: int
) -> tuple[LayerPair, ...]:
    pairs: list[LayerPair] = []
    for entry in chosen:
        if len(entry) != 2:
            raise ConfigError(
                f"{list(entry)} is no layer pair", fix="write [student layer, teacher layer]"
            )
        pair = LayerPair(
            _index(entry[0], num_student, "student"), _index(entry[1], num_teacher, "teacher")
        )
        if pair in pairs:
            raise ConfigError(f"the layer pair {list(pair)} is there twice", fix="write it once")
        pairs.append(pair)
    if not pairs:
        raise ConfigError("there are no layer pairs", fix="write [student layer, teacher layer]")
    return tuple(pairs)


def _index(layer: int, layers: int, whose: str) -> int:
    if not -layers <= layer < layers:
        raise ConfigError(
            f"the {whose} has no layer {layer}", fix=f"it has 0 to {layers - 1}, -1 is the last"
        )
    return layer % layers
