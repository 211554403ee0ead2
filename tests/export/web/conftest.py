from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from mwalimu.config import Precision
from tests.export.web import exported


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.make_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def export(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], Path]:
    """The student's export in a precision, made once; not to be changed."""
    for package in ("onnxruntime_genai", "onnx_ir"):
        pytest.importorskip(package)
    root = tmp_path_factory.mktemp("export")

    @cache
    def made(precision: Precision) -> Path:
        return exported.export(student, root / f"web-{precision}", precision)

    return made
