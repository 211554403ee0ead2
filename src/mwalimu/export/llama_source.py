"""Where llama.cpp's converter is: a checkout, or what the source of llama-cpp-python brings."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from mwalimu.errors import ConfigError, MissingDependency

PARTS = ("convert_hf_to_gguf.py", "conversion/__init__.py", "gguf-py/gguf/__init__.py")
_VENDORED = ("vendor", "llama.cpp")


def converter() -> Path:
    """The folder that has PARTS: of `LLAMA_CPP`, else kept in the user's cache, else downloaded.

    Raises:
        ConfigError: `LLAMA_CPP` names no checkout.
        MissingDependency: it is not here and cannot be downloaded.
    """
    if named := os.environ.get("LLAMA_CPP"):
        if missing := [part for part in PARTS if not (Path(named) / part).is_file()]:
            raise ConfigError(
                f"has no {missing[0]}",
                where=f"LLAMA_CPP={named}",
                fix="name a checkout of llama.cpp of 2026, or unset it",
            )
        return Path(named)
    version = metadata.version("llama-cpp-python")
    kept = _cache() / f"llama.cpp-{version}"
    if not kept.is_dir():
        _download(version, kept)
    return kept


def unpack(sdist: Path, folder: Path) -> None:
    """The converter's Python files out of llama-cpp-python's source, into a new `folder`.

    Raises MissingDependency where they are not in it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        with tarfile.open(sdist) as archive:
            archive.extractall(made, _converter_files(archive), filter="data")
        if missing := [part for part in PARTS if not (made / part).is_file()]:
            raise MissingDependency(f"has no {missing[0]} of llama.cpp", where=str(sdist))
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise


def _converter_files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        _, *parts = PurePosixPath(member.name).parts
        inside = PurePosixPath(*parts[2:])
        python = member.isfile() and inside.suffix == ".py"
        wanted = str(inside) in PARTS or inside.parts[:1] in (("conversion",), ("gguf-py",))
        if python and wanted and tuple(parts[:2]) == _VENDORED:
            yield member.replace(name=str(inside))


def _download(version: str, folder: Path) -> None:
    name = "llama-cpp-python"
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--no-deps", "--no-binary", name, "--dest", scratch, "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sdists = list(Path(scratch).glob("*.tar.gz"))
        if done.returncode or not sdists:
            lines = done.stderr.strip().splitlines() or ["pip does not say why"]
            raise MissingDependency(
                f"llama.cpp's converter cannot be downloaded ({lines[-1][:200]})",
                where=f"{name}=={version}",
                fix="export once with a connection, or set LLAMA_CPP to a checkout of llama.cpp",
            )
        unpack(sdists[0], folder)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mwalimu"
