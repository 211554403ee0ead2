"""Checkpoints `step-N/`: whole or absent, checked by hash, and never of another job.

model.safetensors      what is trained (under LoRA the adapter only) and the buffers
optimiser.safetensors  AdamW's moments and step of each parameter, by its name
state.json             where the job stands, the generators' states, the job's fingerprint
manifest.json          the SHA-256 of the three; written last
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mwalimu.errors import TrainingError
from mwalimu.finetune.exact import random_state, restore_random_state
from mwalimu.finetune.files import publish_folder, save_tensors
from mwalimu.run import sha256_file, write_json

KEEP_NEWEST = 2
FILES = ("model.safetensors", "optimiser.safetensors", "state.json")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Best:
    """The epoch that will be published: the last one, or the best on the validation rows."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None


@dataclass(slots=True)
class TrainState:
    """Where a job stands. Losses are nats, `tokens` target tokens, `position` steps of the epoch.

    `epoch` counts the epochs that are over and validated: a full `position` awaits validation.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    tokens: int = 0
    seconds: float = 0.0
    epoch_nats: float = 0.0
    epoch_tokens: int = 0
    stale_epochs: int = 0
    best: Best | None = None


class _Unusable(Exception):
    """Why a checkpoint is skipped."""


class Checkpoints:
    """The checkpoints of one job in one folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def save(self, state: TrainState, model: Any, optimiser: torch.optim.Optimizer) -> None:
        """Publishes `step-N`, then removes what is neither among the newest nor the best."""
        document = {
            "fingerprint": self.fingerprint,
            "state": asdict(state),
            "random": random_state(),
        }
        with publish_folder(self._path(state.step)) as temporary:
            save_tensors(temporary / "model.safetensors", _weights(model))
            save_tensors(temporary / "optimiser.safetensors", _moments(model, optimiser))
            write_json(temporary / "state.json", document)
            hashes = {name: sha256_file(temporary / name) for name in FILES}
            write_json(temporary / "manifest.json", hashes)
        self._prune(state)

    def restore(
        self, model: Any, optimiser: torch.optim.Optimizer, skipped: Callable[[str], None]
    ) -> TrainState | None:
        """Loads the newest usable checkpoint, generators included; None if there is none.

        Those that are damaged or another job's are told to `skipped` and removed.
        """
        self._tidy()
        for step in self._steps():
            try:
                document = self._checked(step)
            except _Unusable as reason:
                skipped(f"skipped checkpoint step-{step}: {reason}")
                shutil.rmtree(self._path(step))
                continue
            _load_weights(model, load_file(self._path(step) / "model.safetensors"))
            moments = load_file(self._path(step) / "optimiser.safetensors")
            _load_moments(model, optimiser, moments)
            restore_random_state(document["random"])
            return _to_state(document["state"])
        return None

    def restore_weights(self, model: Any, step: int) -> None:
        """The weights of `step` only. Raises TrainingError if they were damaged meanwhile."""
        try:
            self._read(step)
        except _Unusable as reason:
            raise TrainingError(
                f"the best epoch's checkpoint {reason}",
                where=str(self._path(step)),
                fix="run the same command again; it goes on from an earlier one",
            ) from None
        _load_weights(model, load_file(self._path(step) / "model.safetensors"))

    def _checked(self, step: int) -> dict[str, Any]:
        """The state document; the weights that it calls the best must be whole as well."""
        document = self._read(step)
        best = _to_state(document["state"]).best
        if best is not None and best.step != step:
            try:
                self._read(best.step)
            except _Unusable as reason:
                raise _Unusable(f"its best epoch's step-{best.step} {reason}") from None
        return document

    def _read(self, step: int) -> dict[str, Any]:
        folder = self._path(step)
        try:
            hashes = json.loads((folder / "manifest.json").read_bytes())
            if hashes != {name: sha256_file(folder / name) for name in FILES}:
                raise _Unusable("is damaged, a hash does not fit")
            document = json.loads((folder / "state.json").read_bytes())
            if document["fingerprint"] != self.fingerprint:
                raise _Unusable("is of another job")
            _to_state(document["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Unusable(f"is damaged ({type(error).__name__})") from None
        return dict(document)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _steps(self) -> list[int]:
        """Newest first."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _prune(self, state: TrainState) -> None:
        steps = self._steps()
        newest = [step for step in steps[:KEEP_NEWEST] if step != state.step]
        kept = {state.step, *newest, *map(self._best_step, newest)}
        if state.best is not None:
            kept.add(state.best.step)
        for step in set(steps) - kept:
            shutil.rmtree(self._path(step))

    def _best_step(self, step: int) -> int:
        """Without its best epoch, an older checkpoint would be of no use to fall back on."""
        try:
            best = json.loads((self._path(step) / "state.json").read_bytes())["state"]["best"]
        except (OSError, ValueError, KeyError, TypeError):
            return step
        return int(best["step"]) if best else step

    def _tidy(self) -> None:
        """What a crash left: unfinished folders go, one that was just being replaced comes back."""
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path)
        for path in self.folder.glob(".step-*.old"):
            target = path.with_name(path.name[1:].removesuffix(".old"))
            if target.exists():
                shutil.rmtree(path)
            else:
                os.replace(path, target)


def _to_state(raw: dict[str, Any]) -> TrainState:
    best = raw["best"]
    return TrainState(**{**raw, "best": None if best is None else Best(**best)})


def _trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """Tied weights come once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _weights(model: Any) -> dict[str, torch.Tensor]:
    """The tensors themselves, not copies."""
    saved = model.state_dict().keys()
    buffers = {name: b for name, b in model.named_buffers() if name in saved}
    return {**_trained(model), **buffers}


def _moments(model: Any, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{moment}": optimiser.state[parameter][moment]
        for name, parameter in _trained(model).items()
        for moment in MOMENTS
        if parameter in optimiser.state
    }


def _load_weights(model: Any, saved: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in _weights(model).items():
            tensor.copy_(saved[name])


def _load_moments(
    model: Any, optimiser: torch.optim.Optimizer, saved: dict[str, torch.Tensor]
) -> None:
    """A parameter that had no gradient yet (an expert not chosen) has no moments either."""
    for name, parameter in _trained(model).items():
        if f"{name}.step" in saved:
            optimiser.state[parameter] = {
                moment: saved[f"{name}.{moment}"].to(parameter.device) for moment in MOMENTS
            }
