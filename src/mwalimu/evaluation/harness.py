"""The tasks of lm-evaluation-harness on the student, beside the job's own (Gao et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mwalimu.errors import ConfigError, MissingDependency


def run_harness(
    folder: Path,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Results by task, each metric as the harness names it, with the harness's version.

    `include` is a folder of task YAMLs of the user's own; `limit` rows a task. The chat template is
    applied, as in training.

    Raises:
        MissingDependency: lm-eval is not installed.
        ConfigError: it knows no such task.
    """
    try:
        import lm_eval
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise MissingDependency(
            "lm-eval is not installed",
            where="--harness",
            fix="pip install 'mwalimu[harness]'",
        ) from None
    import torch

    manager = TaskManager(include_path=str(include) if include else None)
    if unknown := [task for task in tasks if not manager.match_tasks([task])]:
        raise ConfigError(
            f"lm-eval knows no task {', '.join(unknown)}",
            where="--harness",
            fix="list them with 'lm-eval ls tasks', or name a folder of YAMLs with --harness-tasks",
        )
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder), "trust_remote_code": False},
        tasks=list(tasks),
        task_manager=manager,
        batch_size=batch_size,
        device="cuda" if torch.cuda.is_available() else "cpu",
        limit=limit,
        apply_chat_template=True,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    numbers = {task: _numbers(values) for task, values in found["results"].items()}
    return {"lm_eval": lm_eval.__version__, "limit": limit, "tasks": numbers}


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        name.removesuffix(",none"): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
