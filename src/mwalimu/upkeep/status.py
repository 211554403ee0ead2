"""How far a run is, from its folder alone: the run may be going on, or long over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mwalimu.files import is_held, whole_lines
from mwalimu.run import STAGES, Run, asked_stages
from mwalimu.synthesis.index import StoredKeys
from mwalimu.upkeep.folders import existing

_SHOWN = 4  # figures of a finished stage's summary


def status(root: Path, answers: Path) -> Iterator[str]:
    """A line a stage: done with its main figures, in work and how far, or waiting.

    Published files are trusted by the manifest's word, without hashing them.

    Raises:
        RunError: there is no manifest, or it cannot be read.
    """
    run, working = existing(root), is_held(root)
    config = run.manifest.get("config") or {}
    done = run.manifest["stages"]
    ahead = [name for name in asked_stages(config) if name not in done]
    yield f"{root}: {_in_words(ahead, working)}"
    for name in STAGES:
        if name in done:
            yield f"  {name:<9} done     {_figures(done[name]['summary'])}".rstrip()
        elif ahead and name == ahead[0]:
            state = "in work" if working else "waiting"
            yield f"  {name:<9} {state:<8} {_so_far(name, run, config, answers)}".rstrip()
        elif name in ahead:
            yield f"  {name:<9} waiting"


def _in_words(ahead: list[str], working: bool) -> str:
    if working:
        return "a command works in it now"
    return "stopped; run the same command again to go on" if ahead else "finished"


def _figures(summary: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in summary.items() if isinstance(v, int | float) and v is not True}
    shown = list(plain.items())[:_SHOWN]
    return ", ".join(f"{key} {value:,.6g}" for key, value in shown)


def _so_far(stage: str, run: Run, config: Mapping[str, Any], answers: Path) -> str:
    if stage == "generate":
        return _bought(run, answers)
    if stage == "finetune":
        return _trained(run.path("finetune", "metrics.jsonl"), config)
    return ""


def _bought(run: Run, answers: Path) -> str:
    """Of this run's account; the index may lag some thousand answers behind."""
    if "id" not in run.manifest:
        return ""
    with StoredKeys(answers) as keys:
        spend = keys.spend(bytes.fromhex(run.id).ljust(16, b"\0")[:16])
    money = "price unknown" if spend.unpriced else f"${spend.nano_usd / 1e9:,.2f}"
    tokens = spend.prompt + spend.completion
    return f"{spend.answers:,} answers bought, {tokens:,} tokens, {money}"


def _trained(metrics: Path, config: Mapping[str, Any]) -> str:
    newest: dict[str, Any] = {}  # the lines of steps and of validations have different keys
    for line in whole_lines(metrics):
        newest |= json.loads(line)
    if "loss" not in newest:
        return ""
    epochs = (config.get("finetune") or {}).get("epochs", "?")
    said = f"step {newest['step']:,}, epoch {newest['epoch']:.2f} of {epochs}"
    said += f", loss {newest['loss']:.4g}"
    if "validation_loss" in newest:
        said += f", validation {newest['validation_loss']:.4g}"
    return said
