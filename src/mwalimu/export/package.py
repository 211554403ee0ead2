"""An export's folder made complete: what it scores, a model card, licence notes, all hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mwalimu.export.card import Origin, card, licence_notes
from mwalimu.files import atomic_writer, write_json
from mwalimu.runtimes import Export
from mwalimu.runtimes.manifest import hashed, write_export

SCORES, CARD, NOTES = "scores.json", "README.md", "LICENSE-NOTES"
ADDED = (SCORES, CARD, NOTES)


def seal(folder: Path, export: Export, origin: Origin, scores: Mapping[str, Any] | None) -> Export:
    """Adds `ADDED` to a made export; its manifest, written last, then covers every file."""
    texts = {CARD: card(origin, export, scores), NOTES: licence_notes(origin.config)}
    for name, text in texts.items():
        with atomic_writer(folder / name) as handle:
            handle.write(text.encode())
    write_json(folder / SCORES, scores)
    sealed = replace(export, files=hashed(folder))
    write_export(folder, sealed)
    return sealed


def size_mib(folder: Path, export: Export) -> float:
    """Of what a device needs: the model and its tokenizer, without what `seal` added."""
    names = [name for name in export.files if name not in ADDED]
    return sum((folder / name).stat().st_size for name in names) / 2**20
