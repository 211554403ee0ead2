"""What `mwalimu signals inspect` and `mwalimu signals verify` say of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mwalimu.errors import RunError
from mwalimu.signals.encoding import Encoding
from mwalimu.signals.manifest import FORMAT, Manifest, read_manifest
from mwalimu.signals.reader import check_hash, open_shard
from mwalimu.signals.shard import Shard, gathered
from mwalimu.signals.tensors import damaged

BITE_TOKENS = 2048  # decoded at once, so that dense signals fit into memory


def inspect(folder: Path) -> list[str]:
    """Lines about a folder, from its manifest alone. Raises RunError if that cannot be read."""
    manifest = read_manifest(folder)
    identity = manifest.identity
    parameters = ", ".join(
        f"{name} {value}" for name, value in manifest.encoding.parameters().items()
    )
    revision = identity.revision or (f"{len(identity.files)} files" if identity.files else "none")
    return [
        f"{FORMAT}: {parameters}",
        f"teacher       {identity.teacher} ({identity.kind}, revision: {revision})",
        f"temperature   {identity.temperature}",
        f"tokenizer     {identity.tokenizer}, vocabulary {identity.vocabulary:,}",
        f"chat template {identity.template}",
        f"mask          {identity.mask}",
        *(f"source        {name}: {value}" for name, value in sorted(identity.source.items())),
        _total(manifest),
    ]


def verify(folder: Path) -> list[str]:
    """Reads and decodes everything; a line a shard.

    Raises:
        RunError: the first damage, by file.
    """
    manifest = read_manifest(folder)
    lines, seen = [], np.empty(0, "S16")
    for facts in manifest.shards:
        shard = open_shard(folder, manifest, facts)
        check_hash(shard, facts)
        _check_rows(shard, manifest.encoding)
        seen = np.concatenate([seen, shard.keys])
        lines.append(f"{facts.file}: whole, {facts.rows:,} rows, {facts.tokens:,} tokens")
    if len(np.unique(seen)) != len(seen):
        raise RunError("a key stands twice in its shards", where=str(folder))
    return [*lines, _total(manifest)]


def _check_rows(shard: Shard, encoding: Encoding) -> None:
    fields = encoding.fields()
    step = max(1, BITE_TOKENS * shard.rows // max(1, shard.tokens))
    for start in range(0, shard.rows, step):
        rows = range(start, min(start + step, shard.rows))
        lengths = [shard.length(row) for row in rows]
        cuts = [(shard, row, length) for row, length in zip(rows, lengths, strict=True)]
        try:
            encoding.batch(gathered(fields, cuts), np.array(lengths))
        except ValueError as error:
            raise damaged(shard.path, str(error)) from None


def _total(manifest: Manifest) -> str:
    per_token = manifest.size / max(1, manifest.tokens)
    return (
        f"{manifest.rows:,} rows, {manifest.tokens:,} tokens, {len(manifest.shards)} shards, "
        f"{manifest.size:,} bytes: {per_token:.1f} a token"
    )
