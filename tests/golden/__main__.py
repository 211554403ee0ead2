"""`python -m tests.golden`: trains each recipe and writes its curve. Look at the diff."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from tests.golden.recipes import FOLDER, RECIPES, curve

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            found = curve(name, Path(folder))
        text = ",\n".join(f' "{column}": {json.dumps(found[column])}' for column in found)
        (FOLDER / f"{name}.json").write_text(f"{{\n{text}\n}}\n")
        print(f"{name}: loss {found['loss'][0]:.4f} to {found['loss'][-1]:.4f}")
