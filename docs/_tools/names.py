"""The page of formats and names: every word that a config or an option may take, and of extras."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

from docs._tools.wording import code, table

from mwalimu.config.curation import CHECKS
from mwalimu.config.evaluation import ArmName
from mwalimu.config.export import DEFAULT_PRECISIONS
from mwalimu.config.objective import PART_KINDS
from mwalimu.config.prompts import METHODS
from mwalimu.config.settings import TASKS
from mwalimu.config.teacher import Kind
from mwalimu.data.formats import FORMATS, Format
from mwalimu.export.installed import to_install
from mwalimu.runtimes import FORMATS as EXPORTS
from mwalimu.signals.manifest import ENCODINGS

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

HEAD = """\
# Formats and names
Derived from the code: what a config, a file or an option may be called, and where it is explained.

"""
LISTS = (
    ("task", TASKS, "evaluation"),
    ("teacher.kind", get_args(Kind), "teachers"),
    ("prompts.method", METHODS, "prompts"),
    ("curate.checks", CHECKS, "curation"),
    ("finetune.objective", PART_KINDS, "objectives"),
    ("evaluate.arms", get_args(ArmName), "evaluation"),
)
"""Key of the config, its words, the page that explains them."""


def page() -> str:
    parts = [
        "## Words of the config",
        table(["key", "words", "explained in"], [_list(*one) for one in LISTS]),
        "## Rows: formats of data",
        "Found by the first readable row, or named by `--format`: [data](../data.md).",
        table(
            ["name", "what", "written by `convert`", "rules of its owner", "holds paid answers"],
            [_data(one) for one in FORMATS],
        ),
        "## Signals: encodings",
        "What is kept of a teacher's distribution. To the byte in [formats](../formats.md).",
        table(["encoding", "what"], [_encoding(name) for name in ENCODINGS]),
        "## Exports",
        "Each has a page: [onnx](../export/onnx.md), [gguf](../export/gguf.md), "
        "[openvino](../export/openvino.md), [executorch](../export/executorch.md), "
        "[web](../export/web.md); all of them in [export](../export.md).",
        table(
            ["`--to`", "precision if none is named", "needs"],
            [(code(one), DEFAULT_PRECISIONS[one], code(to_install(one))) for one in EXPORTS],
        ),
        "## Extras",
        "`pip install 'mwalimu[NAME]'`; `mwalimu doctor` says which of them a machine lacks.",
        table(["extra", "packages"], list(extras().items())),
    ]
    return HEAD + "\n\n".join(parts) + "\n"


def extras() -> dict[str, str]:
    """The extras for users, each with its packages; `dev` is for those who change the project."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return {
        code(name): ", ".join(map(code, packages))
        for name, packages in project["optional-dependencies"].items()
        if name != "dev"
    }


def _list(key: str, words: tuple[str, ...], explained: str) -> tuple[str, str, str]:
    return code(key), ", ".join(map(code, words)), f"[{explained}](../{explained}.md)"


def _data(one: Format) -> tuple[str, ...]:
    paid = "yes" if one.exchange else ""
    if one.joined_by:
        paid += ", with `--requests`"
    written, rules = ("yes" if has else "" for has in (one.write, one.rules))
    return code(one.name), one.title, written, rules, paid


def _encoding(name: str) -> tuple[str, str]:
    said = (ENCODINGS[name].__doc__ or "").strip().splitlines()[0]
    return code(name), said
