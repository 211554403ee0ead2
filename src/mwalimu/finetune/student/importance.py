"""What of a model matters to a job, measured by running it on some of the job's rows.

layer     1 - E[cos(x_in, x_out)] of the states before and behind it: how far it moves them
          (block influence; Men et al. 2024, ShortGPT, arXiv 2403.03853, equation 1)
heads     ||a||_2 over a head's channels of what the output projection reads, summed over the
          heads of a key-value group
neurons   |a| of what the down projection reads
channels  |a| of what each norm gives out, summed over all norms

The last three are means over a row's tokens and L2 norms over rows (Muralidharan et al. 2024,
Minitron, arXiv 2407.14679, section 2.2: activations, seq = mean, batch = L2).

Shapes: T tokens, H hidden, G key-value groups, I neurons, L layers, X whatever is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from mwalimu.finetune.student.cutting import NORMS, groups_in, head_dim, neurons_in
from mwalimu.objectives.layers import decoder_layers


@dataclass(frozen=True, slots=True)
class Importance:
    """Higher is more important; lists go by layer. On the host, in float64.

    `energy_H` is the mean square of each channel before a norm, by the norm's name.
    """

    layers: list[float]
    groups_G: list[torch.Tensor]
    neurons_I: list[torch.Tensor]
    channels_H: torch.Tensor
    energy_H: dict[str, torch.Tensor]

    @classmethod
    def unknown(cls, config: Any) -> Importance:
        """All the same, for a model with this config.json."""
        depth = config.num_hidden_layers
        return cls(
            layers=[0.0] * depth,
            groups_G=[torch.zeros(groups_in(config))] * depth,
            neurons_I=[torch.zeros(neurons_in(config))] * depth,
            channels_H=torch.zeros(config.hidden_size),
            energy_H={},
        )


@torch.no_grad()
def measure(model: Any, rows: Sequence[Sequence[int]], on_row: Callable[[int], None]) -> Importance:
    """Runs the model on each row of token ids, one at a time, so that nothing is padding.

    Sums are taken in a fixed order: the same rows give the same numbers on the same machine.
    """
    sums, layers = _Sums(), decoder_layers(model)
    model.eval()
    with ExitStack() as hooks:
        for index, layer in enumerate(layers):
            hook = layer.register_forward_hook(_layer(sums, index), with_kwargs=True)
            hooks.callback(hook.remove)
            for name, module in layer.named_modules():
                if name.endswith("o_proj"):
                    watch = _heads(sums, index, groups_in(model.config), head_dim(model.config))
                    hooks.callback(module.register_forward_hook(watch).remove)
                elif name.endswith("down_proj"):
                    hooks.callback(module.register_forward_hook(_neurons(sums, index)).remove)
        for name, module in model.named_modules():
            if name.rpartition(".")[2] in NORMS:
                hooks.callback(module.register_forward_hook(_norm(sums, name)).remove)
        for done, ids in enumerate(rows, 1):
            model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
            on_row(done)
    return Importance(
        layers=[float(sums.mean("layer", index)) for index in range(len(layers))],
        groups_G=sums.roots("groups"),
        neurons_I=sums.roots("neurons"),
        channels_H=sum(sums.roots("norm"), torch.zeros(())),
        energy_H={name: sums.mean("energy", name) for name in sums.keys_of("energy")},
    )


class _Sums:
    """Sums by what was measured and where, with the number of summands."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, Any], torch.Tensor] = {}
        self.counts: dict[tuple[str, Any], int] = {}

    def add(self, what: str, where: Any, sum_X: torch.Tensor, count: int = 1) -> None:
        key = (what, where)
        self.sums[key] = self.sums.get(key, torch.zeros(())) + sum_X.cpu()
        self.counts[key] = self.counts.get(key, 0) + count

    def mean(self, what: str, where: Any) -> torch.Tensor:
        return self.sums[what, where] / self.counts[what, where]

    def keys_of(self, what: str) -> list[Any]:
        return [where for known, where in self.sums if known == what]

    def roots(self, what: str) -> list[torch.Tensor]:
        """Of sums of squares, in the order in which they were first seen."""
        return [self.sums[what, where].sqrt() for where in self.keys_of(what)]


def _layer(sums: _Sums, index: int) -> Callable[..., None]:
    def watch(_module: Any, args: Any, kwargs: Any, output: Any) -> None:
        before_TH = (args[0] if args else kwargs["hidden_states"])[0].double()
        after_TH = (output[0] if isinstance(output, tuple) else output)[0].double()
        cosine_T = torch.nn.functional.cosine_similarity(before_TH, after_TH, dim=1)
        sums.add("layer", index, (1 - cosine_T).sum(), len(cosine_T))

    return watch


def _heads(sums: _Sums, index: int, groups: int, dim: int) -> Callable[..., None]:
    def watch(_module: Any, args: Any, _output: Any) -> None:
        norms_TGK = args[0][0].double().unflatten(1, (groups, -1, dim)).norm(dim=3)
        sums.add("groups", index, norms_TGK.sum(2).mean(0).square())

    return watch


def _neurons(sums: _Sums, index: int) -> Callable[..., None]:
    def watch(_module: Any, args: Any, _output: Any) -> None:
        sums.add("neurons", index, args[0][0].double().abs().mean(0).square())

    return watch


def _norm(sums: _Sums, name: str) -> Callable[..., None]:
    def watch(_module: Any, args: Any, output: Any) -> None:
        sums.add("norm", name, output[0].double().abs().mean(0).square())
        sums.add("energy", name, args[0][0].double().square().sum(0), len(args[0][0]))

    return watch
