"""Out of memory: one line, what to change, and whole checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mwalimu.errors import OutOfMemory
from mwalimu.finetune.teaching import Teaching
from tests.finetune.jobs import checkpoints, steps_of, train, weights

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"
MESSAGES = {
    "cuda": torch.OutOfMemoryError(CUDA),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate"
                        " memory: you tried to allocate 800 bytes. Error code 12"),
    "windows": RuntimeError("not enough memory: you tried to allocate 800 bytes."),
    "python": MemoryError(),
}  # fmt: skip


def fail_after(patch: pytest.MonkeyPatch, calls: int, error: BaseException) -> None:
    real, seen = Teaching.__call__, []

    def call(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) > calls:
            raise error
        return real(*arguments)

    patch.setattr(Teaching, "__call__", call)


@pytest.mark.parametrize("error", MESSAGES.values(), ids=MESSAGES)
def test_one_line_says_what_to_change(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    train(tiny, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(OutOfMemory) as told:
        fail_after(patch, 6, error)
        train(tiny, tmp_path / "job")
    text = str(told.value)
    assert told.value.exit_code == 6 and "\n" not in text
    assert text.startswith("finetune: out of memory")
    assert ("asked for 2.00 GiB more" in text) == (error is MESSAGES["cuda"])
    assert "set finetune.activation_checkpointing to on, or finetune.batch_size to 4 and " in text
    assert "accumulation to 2, or student.method to lora, or student.max_length below" in text
    assert "student.max_length below the 17 tokens of the longest row" in text
    assert checkpoints(tmp_path / "job") == ["step-0", "step-4"]
    train(tiny, tmp_path / "job")  # other programs gave their memory back
    assert weights(tmp_path / "job") == weights(tmp_path / "whole")
    assert steps_of(tmp_path / "job") == list(range(1, 17))


def test_an_adapter_of_one_row_is_told_what_is_left(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(monkeypatch, 2, MESSAGES["cuda"])
    with pytest.raises(OutOfMemory, match=r"more; set student.max_length below") as told:
        train(tiny, tmp_path, method="lora", batch_size=1, activation_checkpointing="on")
    assert "batch_size" not in str(told.value) and "lora" not in str(told.value)


def test_another_failure_is_none_of_memory(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(monkeypatch, 2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tiny, tmp_path)
