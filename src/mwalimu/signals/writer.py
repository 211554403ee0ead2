"""Writes a folder of signals by shards; killed at any moment and run again: the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mwalimu.errors import RunError
from mwalimu.files import atomic_writer, sha256_file, write_json
from mwalimu.run import fingerprint
from mwalimu.signals.encoding import Encoding
from mwalimu.signals.manifest import MANIFEST, Identity, Manifest, ShardFacts, is_finished_by
from mwalimu.signals.shard import KEY_BYTES, Row, Shard, shard_bytes, shard_name


class SignalWriter:
    """One process at a time in `folder`, which is its own: what another job left there goes.

    Shard i holds the rows from i * `rows_per_shard` of the job's input. Shards are done in order,
    so that a key that was in an earlier one is left out of a later one, on a resume too:

        for i, rows in enumerate(chunks):
            if not writer.shard_done(i):
                writer.write_shard(i, [(key, crc, signal_of(row)) for ... in rows])
        writer.finish()

    Args:
        job: fingerprint of all that the signals depend on, the input rows among it; encoding,
            identity and `rows_per_shard` are added to it here.
    """

    def __init__(
        self, folder: Path, encoding: Encoding, identity: Identity, job: str, rows_per_shard: int
    ) -> None:
        if getattr(encoding, "vocabulary", identity.vocabulary) != identity.vocabulary:
            raise ValueError("the encoding and the identity differ in their vocabulary")
        self.folder = folder
        self.encoding = encoding
        self.identity = identity
        self.rows_per_shard = rows_per_shard
        parts = (job, encoding.parameters(), identity.compared(), rows_per_shard)
        self.fingerprint = fingerprint(parts)
        self._shards: list[ShardFacts] = []
        self._keys: set[bytes] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()

    def shard_done(self, index: int) -> bool:
        """Whether shard `index` is there, whole, and of this job. Ask for them in order."""
        if index < len(self._shards):
            return True
        self._check_order(index)
        shard = self._held(index)
        if shard is None:
            return False
        self._add(shard, sha256_file(shard.path))
        return True

    def holds(self, index: int) -> bool:
        """As `shard_done` will say, in whatever order it is asked."""
        return self._held(index) is not None

    def _held(self, index: int) -> Shard | None:
        shard = self._readable(self.folder / shard_name(index))
        return shard if shard is not None and shard.facts() == self._facts(index) else None

    def write_shard(self, index: int, rows: Sequence[Row]) -> None:
        """Writes the next shard; a key that an earlier row had is left out.

        Raises:
            TeacherError: a number of the teacher's is not finite, or too large for the encoding.
            DiskFull: nothing appeared under the shard's name; the shards before it are whole.
        """
        self._check_order(index)
        if len(rows) > self.rows_per_shard:
            raise ValueError(f"{len(rows)} rows for a shard of {self.rows_per_shard}")
        content = shard_bytes(self.encoding, self._unseen(rows), self._facts(index))
        path = self.folder / shard_name(index)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        with atomic_writer(path) as handle:
            handle.write(content)
        self._add(Shard(path, self.encoding), hashlib.sha256(content).hexdigest())

    def finish(self) -> Manifest:
        """Publishes the manifest, after which the folder can be read.

        Raises:
            DiskFull: the shards are whole; finish again.
        """
        manifest = Manifest(self.encoding, self.identity, self.fingerprint, tuple(self._shards))
        write_json(self.folder / MANIFEST, manifest.to_json())
        return manifest

    def _facts(self, index: int) -> dict[str, str | int]:
        """What a shard says of itself."""
        return {"job": self.fingerprint, "shard": index}

    def _check_order(self, index: int) -> None:
        if index != len(self._shards):
            raise ValueError(f"shard {index} before shard {len(self._shards)}")

    def _unseen(self, rows: Sequence[Row]) -> list[Row]:
        """The first row of each key that no earlier shard has."""
        first: dict[bytes, Row] = {}
        for row in rows:
            if len(row[0]) != KEY_BYTES:
                raise ValueError(f"a key of {len(row[0])} bytes")
            if row[0] not in self._keys:
                first.setdefault(row[0], row)
        return list(first.values())

    def _add(self, shard: Shard, digest: str) -> None:
        size = shard.tensors.size
        facts = ShardFacts(shard.path.name, digest, shard.rows, shard.tokens, size)
        self._shards.append(facts)
        self._keys.update(key.tobytes() for key in shard.arrays["keys"])

    def _readable(self, path: Path) -> Shard | None:
        try:
            return Shard(path, self.encoding)
        except RunError:
            return None

    def _remove_leftovers(self) -> None:
        """Of other jobs, of damage, and of writes that were cut off; the manifest goes first."""
        if not is_finished_by(self.folder, self.fingerprint):
            (self.folder / MANIFEST).unlink(missing_ok=True)
        for path in self.folder.glob("shard-*.safetensors"):
            shard = self._readable(path)
            if shard is None or shard.noted().get("job") != self.fingerprint:
                path.unlink()
        for path in self.folder.glob(".*.tmp"):
            path.unlink()
