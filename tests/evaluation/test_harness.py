import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mwalimu.errors import ConfigError, MissingDependency
from mwalimu.evaluation.harness import run_harness


def test_without_the_harness_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[harness\]'") as caught:
        run_harness(Path("student"), ["gsm8k"])
    assert caught.value.exit_code == 10 and "\n" not in str(caught.value)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a stand-in for lm-eval was called with."""
    seen: dict[str, Any] = {}

    class TaskManager:
        def __init__(self, include_path: str | None) -> None:
            seen["include"] = include_path

        def match_tasks(self, names: list[str]) -> list[str]:
            return [name for name in names if name == "shop"]

    def simple_evaluate(**options: Any) -> dict[str, Any]:
        seen.update(options)
        return {"results": {"shop": {"alias": "shop", "exact_match,none": 0.5, "ok": True}}}

    root, tasks = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.tasks")
    root.simple_evaluate, root.__version__ = simple_evaluate, "0.4.x"  # type: ignore[attr-defined]
    tasks.TaskManager = TaskManager  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lm_eval", root)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    return seen


def test_the_student_is_asked_as_it_was_trained(asked: dict[str, Any]) -> None:
    found = run_harness(Path("student"), ["shop"], include=Path("mine"), limit=3, seed=5)
    assert found == {"lm_eval": "0.4.x", "limit": 3, "tasks": {"shop": {"exact_match": 0.5}}}
    assert asked["include"] == "mine" and asked["limit"] == 3 and asked["torch_random_seed"] == 5
    assert asked["model_args"] == {"pretrained": "student", "trust_remote_code": False}
    assert asked["apply_chat_template"] is True


def test_an_unknown_task_is_told_before_the_model_is_loaded(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="knows no task nonsense"):
        run_harness(Path("student"), ["shop", "nonsense"])
    assert "tasks" not in asked
