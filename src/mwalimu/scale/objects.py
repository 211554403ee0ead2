"""An address of an object store through fsspec: whole objects, written, read and listed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mwalimu.errors import MissingDependency, MwalimuError, RunError
from mwalimu.files import atomic_writer

PIECE = 1 << 24  # bytes of an object that are in memory at once


class Objects:
    """All below `address`, as s3://bucket/folder. An object appears whole, or not at all."""

    def __init__(self, address: str) -> None:
        """Raises MissingDependency: the extra `objects` is not installed."""
        self.address = address
        with self._told():
            try:
                fsspec = importlib.import_module("fsspec")
                self._store, root = fsspec.core.url_to_fs(address)
            except ImportError as error:
                raise MissingDependency(
                    f"this kind of address needs a package ({error})"[:200],
                    where="scale.mirror",
                    fix="run: pip install 'mwalimu[objects]'",
                ) from None
        self._root = str(root).rstrip("/")

    def sizes(self, below: str) -> dict[str, int]:
        """In bytes, by the names of the objects in a folder."""
        with self._told():
            self._store.invalidate_cache()
            folder = f"{self._root}/{below}/"
            found = self._store.find(folder, detail=True).items()
            # Where nothing is, some stores list the folder itself.
            return {n.removeprefix(folder): o["size"] for n, o in found if n.startswith(folder)}

    def read(self, name: str) -> bytes | None:
        """None where there is no such object."""
        with self._told():
            try:
                return bytes(self._store.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        with self._told():
            self._store.pipe_file(f"{self._root}/{name}", content)

    def send(self, path: Path, name: str) -> None:
        """A file, however large."""
        with self._told():
            self._store.put_file(str(path), f"{self._root}/{name}")

    def fetch(self, name: str, path: Path) -> None:
        """Into a file that appears whole, or not at all."""
        with (
            atomic_writer(path) as target,
            self._told(),
            self._store.open(f"{self._root}/{name}", "rb") as source,
        ):
            while piece := source.read(PIECE):
                target.write(piece)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Every store has errors of its own kind: all mean that it cannot be used now."""
        try:
            yield
        except MwalimuError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise RunError(
                f"cannot be used ({reason})",
                where=self.address,
                fix="mend the address or the credentials; what is here is whole, run again",
            ) from error
