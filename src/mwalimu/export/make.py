"""One export: built beside its place, and there under its name only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mwalimu.config import ExportFormat, TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import ending_ids, prepare_tokenizer
from mwalimu.export.built import Built, versions_of
from mwalimu.export.source import plain
from mwalimu.files import fsync_folder
from mwalimu.runtimes.manifest import Export, hashed, write_export

# Each module has `made_with()`, the versions of what decides its bytes, and `build(source, folder,
# target, *, calibration, note) -> Built`, which puts the model into `folder`.
BUILDERS: dict[ExportFormat, str] = {
    "safetensors": "mwalimu.export.safetensors",
    "onnx": "mwalimu.export.onnx",
    "web": "mwalimu.export.web",
    "gguf": "mwalimu.export.gguf",
    "openvino": "mwalimu.export.openvino",
    "executorch": "mwalimu.export.executorch",
}


def versions(format_: ExportFormat) -> dict[str, str | None]:
    """Of what decides the bytes of such an export; None where a package is missing."""
    found: dict[str, str | None] = import_module(BUILDERS[format_]).made_with()
    return versions_of("mwalimu") | found


def make(
    student: Path,
    folder: Path,
    target: TargetConfig,
    *,
    basis: str = "",
    calibration: Sequence[Sequence[int]] = (),
    note: Callable[[str], None] = lambda text: None,
) -> Export:
    """Exports `student` (full or adapter) as `target` into `folder`, replacing what is there.

    `calibration` are rows of token ids for quantisers that look at data. The tokenizer, its chat
    template and the generation config lie beside the model.

    Raises:
        StudentError: the student cannot be loaded, or not be expressed in this format.
        ConfigError: the format has no such precision or scheme.
        MissingDependency: the exporter is not installed.
    """
    builder: Any = import_module(BUILDERS[target.to])
    scratch, made = (folder.with_name(f".{folder.name}.{part}") for part in ("source", "tmp"))
    for left in (scratch, made):
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir(parents=True)
    try:
        source = plain(student, scratch)
        tokenizer, generation = _spoken(source, made)
        built: Built = builder.build(source, made, target, calibration=calibration, note=note)
        export = Export(
            name=target.name,
            format=target.to,
            precision=target.precision,
            weights=built.weights,
            context=built.context,
            ends=tuple(sorted(ending_ids(generation, tokenizer))),
            basis=basis,
            made_with={name: version for name, version in builder.made_with().items() if version},
            files=hashed(made),
        )
        write_export(made, export)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
        fsync_folder(folder.parent)
        return export
    finally:
        for left in (scratch, made):
            shutil.rmtree(left, ignore_errors=True)


def _spoken(source: Path, folder: Path) -> tuple[Any, Any]:
    """Saves what turns chat into ids and ids into text; the tokenizer and the generation config."""
    from transformers import GenerationConfig

    tokenizer = load_tokenizer(str(source))
    prepare_tokenizer(tokenizer)
    tokenizer.save_pretrained(folder)
    generation = GenerationConfig()
    if (source / "generation_config.json").exists():
        generation = GenerationConfig.from_pretrained(source)
    generation.save_pretrained(folder)
    return tokenizer, generation
