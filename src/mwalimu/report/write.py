"""Run folder -> report.md and report.html, from nothing but what the manifest lists.

`templates/report.jinja` holds the order and the prose, once; `report.html.jinja` and
`report.md.jinja` draw it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mwalimu.files import atomic_writer
from mwalimu.report.exports import gate_word
from mwalimu.report.facts import collect
from mwalimu.report.wording import (
    clip,
    escape_markdown,
    fenced,
    hourly,
    interval,
    ms,
    number,
    p_value,
    percent,
    points,
    ratio,
    short,
    si,
    usd,
    without_controls,
)
from mwalimu.run import Run, StageState, fingerprint

# Beside finetune, where done.
SHOWN = ("prompts", "prepare", "generate", "curate", "signals", "evaluate", "export")
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: Run) -> tuple[Path, Path]:
    """Writes report.md and report.html and lists them as stage "report"; same run, same bytes.

    Raises:
        RunError: the finetune stage is not finished here.
    """
    stages = stages_of(run)
    facts = collect(run, stages)
    paths = run.path("report.md"), run.path("report.html")
    for path in paths:
        with atomic_writer(path) as handle:
            # A teacher may answer half of a surrogate pair.
            handle.write(render(facts, path.suffix[1:]).encode("utf-8", "backslashreplace"))
    drawn_from = {name: [state.fingerprint, state.files] for name, state in stages.items()}
    run.finish("report", fingerprint(drawn_from), list(paths), {"verdict": facts["verdict"]})
    return paths


def stages_of(run: Run) -> dict[str, StageState]:
    """What there is to show: finetune, and what is done beside it.

    Raises:
        RunError: the finetune stage is not finished here.
    """
    beside = {name: state for name in SHOWN if (state := run.stage(name))}
    return {"finetune": run.require("finetune")} | beside


def render(facts: dict[str, Any], form: str, template: str = "report.jinja") -> str:
    """`form` is html or md; every value is escaped for it, unless a template made it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=escape_markdown if form == "md" else without_controls,
    )
    wording = (
        percent,
        interval,
        points,
        number,
        ms,
        si,
        usd,
        p_value,
        ratio,
        short,
        clip,
        fenced,
        hourly,
        gate_word,
    )
    environment.filters |= {function.__name__: function for function in wording}
    text = environment.get_template(template).render(facts, form=form)
    return re.sub(r"\n{3,}", "\n\n", text) if form == "md" else text
