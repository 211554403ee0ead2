"""Reads a folder of signals by key: one row, or a batch of rows as padded arrays.

A row is found by its conversation's key and held against its tokens' CRC, so that no order,
packing or share of the rows can give a row the signals of another.

Shapes: Q requests, N tokens of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mwalimu.errors import RunError, SignalMismatch
from mwalimu.files import sha256_file
from mwalimu.signals.manifest import Identity, Manifest, ShardFacts, read_manifest
from mwalimu.signals.shard import KEY_BYTES, Cut, Shard, gathered
from mwalimu.signals.signal import Array, Batch, Signal
from mwalimu.signals.tensors import damaged


class Request(NamedTuple):
    """A row's key, the CRC-32 of its completion's ids, and how many of its tokens are wanted.

    `crc` None is not compared: for students whose tokens are not the teacher's. `tokens` None: all.
    """

    key: bytes
    crc: int | None = None
    tokens: int | None = None


class SignalReader:
    """`open` one. Shards are mapped; each one's SHA-256 is checked when it is first read from."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.encoding = manifest.encoding
        self._fields = self.encoding.fields()
        self._shards = [open_shard(folder, manifest, facts) for facts in manifest.shards]
        self._trusted: set[int] = set()
        rows = [shard.rows for shard in self._shards]
        keys = np.concatenate([np.empty(0, f"S{KEY_BYTES}"), *(s.keys for s in self._shards)])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._shard_of = np.repeat(np.arange(len(rows)), rows)[order]
        self._row_of = np.concatenate([np.arange(0), *(np.arange(n) for n in rows)])[order]

    @classmethod
    def open(cls, folder: Path, expect: Identity | None = None) -> SignalReader:
        """Raises:
        SignalMismatch: the signals are not of the identity that is expected.
        RunError: the folder is not finished, or a file is missing or damaged.
        """
        manifest = read_manifest(folder)
        if expect is not None:
            manifest.identity.require(expect, str(folder))
        return cls(folder, manifest)

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, key: bytes) -> bool:
        return bool(self._find([key])[0] >= 0)

    def row(self, key: bytes, crc: int | None = None, tokens: int | None = None) -> Signal:
        """What the teacher said of a row's first `tokens` tokens. Raises as `gather`."""
        cuts = self._cuts([(key, crc, tokens)])
        try:
            return self.encoding.unpack(gathered(self._fields, cuts))
        except ValueError as error:
            raise self._damaged(error) from None

    def gather(self, requests: Sequence[tuple[bytes, int | None, int | None]]) -> Batch:
        """The signals of all requests' tokens, row by row, padded to the fullest token.

        Raises:
            SignalMismatch: a row is not there, has other tokens, or fewer than are wanted.
            RunError: a shard is damaged.
        """
        cuts = self._cuts(requests)
        row_sizes = np.array([tokens for _, _, tokens in cuts], dtype=np.int64)
        try:
            return self.encoding.batch(gathered(self._fields, cuts), row_sizes)
        except ValueError as error:
            raise self._damaged(error) from None

    def _cuts(self, requests: Sequence[tuple[bytes, int | None, int | None]]) -> list[Cut]:
        cuts = []
        found = self._find([key for key, _, _ in requests]).tolist()
        for (key, crc, tokens), place in zip(requests, found, strict=True):
            if place < 0:
                raise self._mismatch(f"no signals of row {key.hex()} are here")
            shard = self._trusted_shard(int(self._shard_of[place]))
            row = int(self._row_of[place])
            if crc is not None and crc != shard.arrays["crc"][row]:
                raise self._mismatch(f"the signals of row {key.hex()} are of other tokens")
            length = shard.length(row)
            if tokens is not None and not 0 <= tokens <= length:
                raise self._mismatch(
                    f"the signals of row {key.hex()} are of {length} tokens, not {tokens}"
                )
            cuts.append((shard, row, length if tokens is None else tokens))
        return cuts

    def _find(self, keys: Iterable[bytes]) -> Array:
        """(Q,) places in the sorted index, -1 for a key that is not there."""
        wanted_Q = np.array(list(keys), dtype=f"S{KEY_BYTES}")
        if not len(self._keys):
            return np.full(len(wanted_Q), -1)
        places_Q = np.searchsorted(self._keys, wanted_Q).clip(max=len(self._keys) - 1)
        return np.where(self._keys[places_Q] == wanted_Q, places_Q, -1)

    def _trusted_shard(self, index: int) -> Shard:
        if index not in self._trusted:
            check_hash(self._shards[index], self.manifest.shards[index])
            self._trusted.add(index)
        return self._shards[index]

    def _mismatch(self, what: str) -> SignalMismatch:
        return SignalMismatch(
            what,
            where=str(self.folder),
            fix="the rows or the tokenizer changed after the capture: capture again",
        )

    def _damaged(self, error: ValueError) -> RunError:
        fix = f"'mwalimu signals verify {self.folder}' names the file"
        return RunError(f"a shard is damaged: {error}", where=str(self.folder), fix=fix)


def open_shard(folder: Path, manifest: Manifest, facts: ShardFacts) -> Shard:
    """Raises RunError if it is not the file that the manifest lists, by its size and its rows."""
    shard = Shard(folder / facts.file, manifest.encoding)
    found = (shard.rows, shard.tokens, shard.tensors.size)
    if found != (facts.rows, facts.tokens, facts.size):
        raise damaged(shard.path, "its rows, tokens or bytes are not those of the manifest")
    return shard


def check_hash(shard: Shard, facts: ShardFacts) -> None:
    if sha256_file(shard.path) != facts.sha256:
        raise damaged(shard.path, "its SHA-256 is not that of the manifest")
