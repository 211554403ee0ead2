"""A student made out of a larger model: what stays of it, and the folder in the run that keeps it.

`pruned.json` in the folder says from what it was made, what stays and how important that was. The
folder is whole or absent, and made once: a job that goes on finds it, and so do the arms that the
student is compared with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mwalimu.config import PruneConfig, StudentConfig
from mwalimu.data.loading import CannotLoad, load_causal_lm
from mwalimu.data.tokenize import prepare_tokenizer
from mwalimu.errors import StudentError
from mwalimu.files import sha256_file, write_json
from mwalimu.finetune.files import publish_folder
from mwalimu.finetune.rows import Rows, encode_splits
from mwalimu.finetune.student.cutting import Kept, cut
from mwalimu.finetune.student.importance import Importance, measure
from mwalimu.finetune.student.keeping import choose_kept
from mwalimu.finetune.student.publishing import MAX_SHARD
from mwalimu.run import fingerprint, model_hashes

PROVENANCE = "pruned.json"
ROW_TOKENS = 2048

Report = Callable[[int, int, str], None]


def pruned(config: StudentConfig, rows: Rows, folder: Path, report: Report) -> StudentConfig:
    """The config of a student that starts from `folder`, which is made if it is not there yet.

    `config` itself where nothing is to be pruned. `rows` are the job's, some of which decide what
    matters.

    Raises:
        StudentError: the model cannot be loaded, or not be made so small.
    """
    if config.prune is None:
        return config
    read = [_spread(rows, config.prune.rows), config.max_length] if config.prune.measures else []
    wanted = fingerprint(
        {
            "model": model_hashes(config.model) or config.model,
            "prune": config.prune.model_dump(),
            "read": fingerprint(read),
        }
    )
    if not _is_whole(folder, wanted):
        _make(config, config.prune, rows, folder, wanted, report)
    return started(config, folder)


def started(config: StudentConfig, folder: Path) -> StudentConfig:
    """The config of a student that starts from the pruned `folder`, where anything is pruned."""
    if config.prune is None:
        return config
    return config.model_copy(update={"model": str(folder), "prune": None})


def _make(
    config: StudentConfig,
    prune: PruneConfig,
    rows: Rows,
    folder: Path,
    wanted: str,
    report: Report,
) -> None:
    report(0, 1, "loads the model to be pruned")
    try:
        model, tokenizer = load_causal_lm(config.model, trust_remote_code=config.trust_remote_code)
    except CannotLoad as error:
        raise StudentError(
            f"the model to be pruned cannot be loaded ({error})",
            where=config.model,
            fix="name a transformers folder with weights, or a hub id",
        ) from error
    stored: torch.dtype = model.config.dtype or torch.float32
    if prune.measures:
        importance = _measured(model, tokenizer, config, rows, report)
    else:
        importance = Importance.unknown(model.config)
    kept = choose_kept(prune, model.config, importance)
    small = cut(model, kept, stored)
    with publish_folder(folder) as temporary:
        small.save_pretrained(temporary, max_shard_size=MAX_SHARD)
        tokenizer.save_pretrained(temporary)
        hashes = {p.name: sha256_file(p) for p in sorted(temporary.iterdir()) if p.is_file()}
        facts = _facts(config, kept, importance, model)
        write_json(temporary / PROVENANCE, facts | {"fingerprint": wanted, "files": hashes})


def _measured(
    model: Any, tokenizer: Any, config: StudentConfig, rows: Rows, report: Report
) -> Importance:
    assert config.prune is not None
    chosen = _spread(rows, config.prune.rows)
    context = getattr(model.config, "max_position_embeddings", None) or ROW_TOKENS
    length = min(config.max_length or ROW_TOKENS, context)
    prepare_tokenizer(tokenizer)
    encoded, _ = encode_splits(tokenizer, chosen, [], length)
    total = len(encoded)
    return measure(
        model,
        [row.ids for row in encoded],
        lambda done: report(done, total, "measures what matters to the rows"),
    )


def _facts(config: StudentConfig, kept: Kept, importance: Importance, model: Any) -> dict[str, Any]:
    """Importances are of all that there was; shares are of what stays in their sum, by layer."""
    facts: dict[str, Any] = {
        "from": config.model,
        "revision": getattr(model.config, "_commit_hash", None),
        "layers": list(kept.layers),
    }
    if config.prune is not None and config.prune.measures:
        facts["influence"] = importance.layers
    if kept.hidden_H is not None:
        facts["hidden_share"] = _share(importance.channels_H, kept.hidden_H)
    for name, chosen, scores in (
        ("heads_share", kept.groups, importance.groups_G),
        ("intermediate_share", kept.neurons, importance.neurons_I),
    ):
        if chosen is not None:
            pairs = zip(kept.layers, chosen, strict=True)
            facts[name] = [_share(scores[layer], indices) for layer, indices in pairs]
    return facts


def _share(scores: torch.Tensor, chosen: torch.Tensor) -> float:
    return float(scores[chosen].sum() / scores.sum())


def _is_whole(folder: Path, wanted: str) -> bool:
    try:
        facts = json.loads((folder / PROVENANCE).read_bytes())
        hashes = facts["files"].items()
        return facts["fingerprint"] == wanted and all(
            sha256_file(folder / name) == digest for name, digest in hashes
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _spread(rows: Rows, wanted: int) -> Rows:
    """At most `wanted` of them, in even steps."""
    step = max(1, len(rows) // wanted)
    return list(rows[::step][:wanted])
