"""The JavaScript that the page needs, taken from the npm registry: pinned, checked, kept."""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

from mwalimu.errors import MissingDependency
from mwalimu.files import atomic_writer, exclusive

REGISTRY = "https://registry.npmjs.org"
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Package:
    """One version; `files` are members of its tarball and their names in the export.

    `integrity` is the registry's: sha512 of the tarball in base64.
    """

    name: str
    version: str
    integrity: str
    licence: str
    home: str
    files: Mapping[str, str]

    @property
    def tarball(self) -> str:
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


# A static server may not know that `.mjs` is JavaScript, so all of it is called `.js`.
PINNED = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "MIT",
        "https://github.com/microsoft/onnxruntime",
        {
            "dist/ort.wasm.min.mjs": "ort.wasm.js",
            "dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
            "dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
            "dist/ort.webgpu.min.mjs": "ort.webgpu.js",
            "dist/ort-wasm-simd-threaded.asyncify.mjs": "ort-wasm-simd-threaded.asyncify.js",
            "dist/ort-wasm-simd-threaded.asyncify.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
        },
    ),
    Package(
        "@huggingface/tokenizers",
        "0.2.0",
        "sha512-LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
        "Apache-2.0",
        "https://github.com/huggingface/tokenizers.js",
        {"dist/tokenizers.min.mjs": "tokenizers.js", "LICENSE": "tokenizers.LICENSE"},
    ),
    Package(
        "@huggingface/jinja",
        "0.5.11",
        "sha512-YzEzwM5oQf4r0vs7ifWQ+yuVR1YkAHrjERQ+a8WRsStHHp4NRBg+NesjiFc+X2AFUpRvvrIeHDS1xFy9jY/IjQ==",
        "MIT",
        "https://github.com/huggingface/huggingface.js",
        {"dist/index.js": "jinja.js", "LICENSE": "jinja.LICENSE"},
    ),
)


def vendor(folder: Path, packages: tuple[Package, ...] = PINNED) -> None:
    """Puts the files of these packages, and a list of their licences, into `folder`.

    Raises:
        MissingDependency: a package is neither kept here nor to be had from the registry.
    """
    folder.mkdir(parents=True)
    for package in packages:
        wanted = {f"package/{member}": name for member, name in package.files.items()}
        # Once through: to go back in a gzip is to unpack it from its beginning.
        with tarfile.open(fileobj=BytesIO(fetch(package)), mode="r|gz") as archive:
            for member in archive:
                if name := wanted.pop(member.name, None):
                    content = archive.extractfile(member)
                    assert content is not None  # the tarball is the pinned one
                    (folder / name).write_bytes(content.read())
                if not wanted:
                    break
        assert not wanted
    lines = [f"{p.name} {p.version}, {p.licence}, {p.home}\n" for p in packages]
    (folder / "LICENCES.txt").write_text("".join(lines), encoding="utf-8")


def fetch(package: Package) -> bytes:
    """The tarball: of the user's cache, or else of the registry, and kept from then on.

    NPM_CONFIG_REGISTRY names another registry, as it does to npm; XDG_CACHE_HOME another cache.
    Processes that want it at the same time wait for the first of them.
    """
    kept = _cache() / package.tarball
    if (data := _read(kept, package)) is None:
        with exclusive(kept.parent, "cache", wait=True):
            if (data := _read(kept, package)) is None:
                data = _download(package, kept.parent)
                with atomic_writer(kept) as handle:
                    handle.write(data)
    return data


def _read(kept: Path, package: Package) -> bytes | None:
    return data if kept.is_file() and _fits(data := kept.read_bytes(), package) else None


def _download(package: Package, folder: Path) -> bytes:
    registry = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/")
    url = f"{registry}/{package.name}/-/{package.tarball}"
    fix = f"connect to the npm registry once, or put {package.tarball} into {folder}"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            data = bytes(response.read())
    except (OSError, ValueError, HTTPException) as error:
        raise MissingDependency(
            f"{package.name} {package.version} cannot be downloaded ({error})", where=url, fix=fix
        ) from None
    if not _fits(data, package):
        raise MissingDependency(
            f"this is not {package.name} {package.version}: its SHA-512 is another",
            where=url,
            fix=fix,
        )
    return data


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mwalimu" / "npm"


def _fits(data: bytes, package: Package) -> bool:
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return package.integrity == f"sha512-{digest}"
