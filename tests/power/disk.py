"""What a disk may hold after a power cut, by what was written and what was made durable before it.

A folder is watched: at each call that orders writes (fsync, rename, unlink, truncate) all of it is
read. From that follow the states that a file system may leave, each a choice for every file and
every folder on its own:

- a file that was not fsynced since it changed has its bytes of then, of now, or some of now;
- a folder that was not fsynced since has its names of then, of now, or of any moment between.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ORDERING = ("fsync", "replace", "rename", "unlink", "rmdir", "ftruncate", "mkdir")
Names = dict[str, int]  # of a folder: name -> inode
Node = bytes | None  # a file's bytes; None for a folder


@dataclass
class Disk:
    """`synced`: an inode's bytes, or a folder's names, as of its last fsync. `history`: the names
    of a folder since then, oldest first."""

    root: Path
    synced_bytes: dict[int, bytes] = field(default_factory=dict)
    synced_names: dict[int, Names] = field(default_factory=dict)
    history: dict[int, list[Names]] = field(default_factory=dict)
    bytes_now: dict[int, bytes] = field(default_factory=dict)
    names_now: dict[int, Names] = field(default_factory=dict)
    folders: set[int] = field(default_factory=set)

    def look(self) -> None:
        """Reads what there is now."""
        self.bytes_now, self.names_now = {}, {}
        for folder, _, files in os.walk(self.root):
            place = Path(folder)
            inode = place.stat().st_ino
            self.folders.add(inode)
            self.names_now[inode] = {p.name: p.stat().st_ino for p in sorted(place.iterdir())}
            for name in files:
                self.bytes_now[(place / name).stat().st_ino] = (place / name).read_bytes()
        for inode, names in self.names_now.items():
            past = self.history.setdefault(inode, [{}])
            if past[-1] != names:
                past.append(names)

    def sync(self, inode: int) -> None:
        if inode in self.names_now:
            self.synced_names[inode] = self.names_now[inode]
            self.history[inode] = [self.names_now[inode]]
        elif inode in self.bytes_now:
            self.synced_bytes[inode] = self.bytes_now[inode]

    def state(self, chance: random.Random) -> dict[str, Node]:
        """One that a cut at this moment may leave: what stands at each path."""
        found: dict[str, Node] = {}
        self._fill(chance, self.root.stat().st_ino, "", found)
        return found

    def _fill(
        self, chance: random.Random, folder: int, prefix: str, found: dict[str, Node]
    ) -> None:
        for name, inode in chance.choice(self.history.get(folder, [{}])).items():
            path = f"{prefix}{name}"
            if inode in self.folders:
                found[path] = None
                self._fill(chance, inode, f"{path}/", found)
            else:
                found[path] = self._bytes(chance, inode)

    def _bytes(self, chance: random.Random, inode: int) -> bytes:
        then, now = self.synced_bytes.get(inode, b""), self.bytes_now.get(inode)
        if now is None:  # its last name went
            return then
        if now == then:
            return now
        least = len(then) if now.startswith(then) else 0  # what was appended may be torn, no more
        some = now[: chance.randrange(least, len(now) + 1)]
        return chance.choice((then, now, some, some + bytes(len(now) - len(some))))


@contextmanager
def watched(root: Path, cut: Callable[[Disk], None]) -> Iterator[Disk]:
    """`cut` is called before and after every ordering call below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    disk, real = Disk(root), {name: getattr(os, name) for name in ORDERING}
    disk.look()
    disk.sync(root.stat().st_ino)
    inside = False

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal inside
            if inside:
                return real[name](*args, **options)
            inside = True
            try:
                disk.look()
                cut(disk)
                inode = os.fstat(args[0]).st_ino if name == "fsync" else 0
                result = real[name](*args, **options)
                disk.look()
                if inode:
                    disk.sync(inode)
                cut(disk)
            finally:
                inside = False
            return result

        return call

    for name in ORDERING:
        setattr(os, name, wrapped(name))
    try:
        yield disk
    finally:
        for name in ORDERING:
            setattr(os, name, real[name])


def laid_out(state: dict[str, Node], folder: Path) -> Path:
    folder.mkdir()
    for path, data in state.items():
        if data is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    return folder
