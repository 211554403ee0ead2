"""A good config, and the places in it where a path, a name or an address is wanted."""

from __future__ import annotations

import copy
from typing import Any

ROWS = b'{"prompt": "a", "completion": "b"}\n'
SECRET = "the secret of the machine"
GOOD: dict[str, Any] = {
    "task": "generic",
    "data": {"train": "dataset:good"},
    "teacher": {"model": "fake"},
    "student": {"model": "phi-4-mini"},
}
FILES = (
    *("data.train", "data.validation", "data.test", "data.labelled", "data.traffic"),
    *("prompts.seeds", "prompts.documents", "prompts.personas", "prompts.template"),
    *("prepare.select.scores", "prepare.public_sets.0", "generate.json_schema"),
    *("curate.json_schema", "evaluate.tasks_file", "evaluate.encoder", "teacher.tokenizer"),
)
NAMED = (
    *("student.model", "teacher.model", "judge.model", "ensemble.others.0.model"),
    *("ensemble.judge.model", "generate.user_model.model", "curate.judge.teacher.model"),
)
CALLED = (
    *("teacher.base_url", "judge.base_url", "ensemble.others.0.base_url"),
    *("generate.user_model.base_url", "curate.judge.teacher.base_url", "evaluate.load.url"),
)
AROUND: dict[str, dict[str, Any]] = {
    "prompts": {"method": "self_instruct", "rows": 1, "topics": ["tea"]},
    "prepare": {"select": {"rows": 1}},
    "judge": {"model": "fake"},
    "ensemble": {"strategy": "vote", "others": [{"model": "fake"}]},
}


def written(key: str, value: Any) -> dict[str, Any]:
    """A good config in which one key holds what somebody wrote."""
    config = copy.deepcopy(GOOD)
    section = key.split(".")[0]
    if section == "prompts":
        del config["data"]
    if section in AROUND:
        config[section] = copy.deepcopy(AROUND[section])
    if key == "prepare.select.scores":
        config["prepare"]["select"]["by"] = "loss"
    node: Any = config
    *parents, leaf = key.split(".")
    for part, after in zip(parents, [*parents[1:], leaf], strict=True):
        if isinstance(node, list):
            node = node[int(part)]
            continue
        node = node.setdefault(part, [] if after.isdigit() else {})
    if isinstance(node, list):
        node.append(value)
    else:
        node[leaf] = value
        if leaf == "base_url":
            node |= {"model": "any", "kind": "openai_compatible"}
    return config
