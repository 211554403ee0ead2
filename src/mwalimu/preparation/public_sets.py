"""Public test sets as hashes: enough to keep clear of them, too little to read them.

    python -m mwalimu.preparation.public_sets test.jsonl --name gsm8k --licence MIT \\
        --source https://github.com/openai/grade-school-math --out gsm8k.hashes

A file is one line of JSON (`format`, `name`, `licence`, `source`, `rows`, `prompts`, `grams`) and
then two sorted arrays of little-endian uint64: the hashes of the prompts' user turns, and a part of
those of their 13-grams. The part is chosen by winnowing (Schleimer, Wilkerson and Aiken 2003): of
every `WINDOW` 13-grams in a row the smallest, so every run of 13 + WINDOW - 1 equal words is found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mwalimu.data.dataset import open_dataset
from mwalimu.errors import ConfigError, DataError
from mwalimu.files import atomic_writer
from mwalimu.preparation.contamination import PublicRows, distinctive
from mwalimu.preparation.words import Hashes, text_hash, user_turns

FORMAT = 1
WINDOW = 2
ENDING = ".hashes"
Header = dict[str, Any]


def shipped_sets() -> list[str]:
    folder = resources.files("mwalimu.preparation") / "public"
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))


def read_set(name: str) -> PublicRows:
    """The shipped set of that name, or the one in the file at that path.

    Raises:
        ConfigError: there is neither.
        DataError: the file is no such list.
    """
    header, prompts, grams = _parts(name, _content(name))
    return PublicRows(header["name"], prompts, grams)


def describe(name: str) -> Header:
    """The header of a list: name, licence, source, and how many hashes it holds."""
    return _parts(name, _content(name))[0]


def public_set_hash(name: str) -> str:
    """SHA-256 of the list; raises like `read_set`."""
    return hashlib.sha256(_content(name)).hexdigest()


def _content(name: str) -> bytes:
    shipped = resources.files("mwalimu.preparation") / "public" / f"{name}{ENDING}"
    if name in shipped_sets():
        return shipped.read_bytes()
    try:
        return Path(name).read_bytes()
    except OSError:
        raise ConfigError(
            f"no list of a public test set is called {name!r}",
            where="prepare.public_sets",
            fix=f"take {', '.join(shipped_sets())}, or the path of a list of your own",
        ) from None


def _parts(name: str, content: bytes) -> tuple[Header, Hashes, Hashes]:
    head, _, body = content.partition(b"\n")
    try:
        header = json.loads(head)
        if header["format"] != FORMAT or not isinstance(header["name"], str):
            raise ValueError
        hashes = np.frombuffer(body, "<u8").astype(np.uint64)
        prompts, grams = np.split(hashes, [header["prompts"]])
        if len(grams) != header["grams"]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DataError(
            "is no list of hashes, or a damaged one",
            where=name,
            fix="make it with 'python -m mwalimu.preparation.public_sets'",
        ) from None
    return header, prompts, grams


def winnow(hashes: Hashes, window: int = WINDOW) -> Hashes:
    """The smallest of every `window` hashes in a row; of fewer the smallest of all."""
    if len(hashes) <= window:
        return hashes[:1] if not len(hashes) else hashes.min(keepdims=True)
    return np.unique(sliding_window_view(hashes, window).min(axis=1))


def make_set(files: list[Path], out: Path, *, name: str, licence: str, source: str) -> Header:
    """Hashes the rows of `files` into `out`; returns the header."""
    texts: dict[int, str] = {}
    rows = 0
    for file in files:
        for record in open_dataset(file, task="generic", split="test"):
            text = user_turns(record)
            texts.setdefault(text_hash(text), text)
            rows += 1
    prompts = np.sort(np.fromiter(texts, np.uint64, len(texts)))
    grams = np.unique(np.concatenate([winnow(own) for own in distinctive(texts.values())]))
    header: Header = {"format": FORMAT, "name": name, "licence": licence, "source": source}
    header |= {"rows": rows, "prompts": len(prompts), "grams": len(grams)}
    with atomic_writer(out) as handle:
        handle.write(json.dumps(header, sort_keys=True).encode() + b"\n")
        handle.write(prompts.astype("<u8").tobytes() + grams.astype("<u8").tobytes())
    return header


def main() -> None:
    parser = argparse.ArgumentParser(description="Hashes of a public test set.")
    parser.add_argument("files", nargs="+", type=Path)
    for option in ("--name", "--licence", "--source"):
        parser.add_argument(option, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    header = make_set(
        given.files, given.out, name=given.name, licence=given.licence, source=given.source
    )
    counts = f"{header['prompts']} prompts, {header['grams']} 13-grams of {header['rows']} rows"
    print(f"{given.out}: {counts}")


if __name__ == "__main__":
    main()
