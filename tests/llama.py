"""What the tests of gguf share: they need llama-cpp-python, which needs a C++ compiler."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Precision, TargetConfig
from mwalimu.errors import MissingDependency
from mwalimu.export.llama_source import converter
from mwalimu.export.make import make
from mwalimu.runtimes.llama_library import library
from tests.tiny import make_tiny_model


def require_llama() -> None:
    """Skips where llama.cpp or its converter is not there, and says why."""
    try:
        library()
        converter()
    except MissingDependency as error:
        pytest.skip(f"{error} (make gguf)")


def exported(
    folder: Path, *, arch: str, tokenizer: Any = None, precision: Precision = "fp32"
) -> tuple[Path, Path]:
    """A tiny student and its export."""
    require_llama()
    student = make_tiny_model(folder / "student", arch=arch, spread=0.3, tokenizer=tokenizer)
    make(student, folder / "gguf", TargetConfig(to="gguf", precision=precision))
    return student, folder / "gguf"
