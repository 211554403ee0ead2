import json
from pathlib import Path
from typing import Any

from mwalimu.config import build_config
from mwalimu.estimate import estimate

SERVED = {"model": "m", "base_url": "http://127.0.0.1:1/v1", "max_tokens": 10}
PRICES = {"usd_per_million_input": 2.0, "usd_per_million_output": 8.0}


def job(folder: Path, teacher: dict[str, Any], row: dict[str, str], student: str = "none") -> Any:
    (folder / "p.jsonl").write_text("\n".join([json.dumps(row)] * 100), encoding="utf-8")
    raw = {
        "task": "qa",
        "data": {"train": "p.jsonl"},
        "teacher": teacher,
        "student": {"model": student, "method": "full"},
        "finetune": {"epochs": 2},
    }
    return build_config(raw, base=folder)


def test_tokens_and_dollars_by_hand(tmp_path: Path) -> None:
    # 100 rows x (40 characters / 4) = 1,000 prompt tokens; answers at most 10 tokens each.
    result = estimate(job(tmp_path, SERVED | PRICES, {"prompt": "x" * 40}))
    assert (result.calls, result.prompt_tokens, result.answer_tokens) == (100, 1000, 1000)
    assert result.usd == (1000 * 2.0 + 1000 * 8.0) / 1e6
    assert result.training_tokens == 4000


def test_gold_answers_replace_the_upper_bound(tmp_path: Path) -> None:
    row = {"prompt": "x" * 40, "completion": "y" * 8}
    assert estimate(job(tmp_path, SERVED, row)).answer_tokens == 200


def test_an_unknown_price_is_unknown_not_zero(tmp_path: Path) -> None:
    result = estimate(job(tmp_path, SERVED, {"prompt": "x"}))
    assert result.usd is None
    assert any("unknown: set teacher.usd_per_million" in line for line in result.lines())


def test_memory_counts_the_weights_in_the_folder(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    save_file({"a": torch.zeros(64, 1024), "b": torch.zeros(512)}, folder / "model.safetensors")
    result = estimate(job(tmp_path, SERVED, {"prompt": "x"}, student="student"))
    assert result.student_parameters == 64 * 1024 + 512
    assert result.training_gib == (64 * 1024 + 512) * 16 / 2**30
