"""What a search found, for people: report.md, plots, and a distill.yaml that is ready to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mwalimu.config import AutoConfig, Config, TuneConfig, dump_config
from mwalimu.files import atomic_writer, write_json
from mwalimu.report.wording import escape_markdown
from mwalimu.tuning.axes import recipe
from mwalimu.tuning.conclusion import Conclusion, OnTest
from mwalimu.tuning.importance import bars
from mwalimu.tuning.search import WRITTEN, shown

PLOTS_NEED = "plots need: pip install 'mwalimu[eval]'"


def write_outcome(folder: Path, config: Config, found: Conclusion) -> None:
    """best.yaml, of several objectives front/<trial>.yaml, found.json, the plot, report.md."""
    _write(folder / "best.yaml", ready(config, found.of(found.chosen).changes))
    if len(found.objectives) > 1:
        for number in found.front:
            text = ready(config, found.of(number).changes)
            _write(folder / "front" / f"{number:04}.yaml", text)
    write_json(folder / "found.json", found.to_json())
    drawn = _draw(folder / "importance.svg", found)
    _write(folder / "report.md", "\n".join(lines(found, drawn)) + "\n")


def ready(config: Config, changes: dict[str, Any]) -> str:
    """The job with `changes`, every default written out, without the search."""
    final = recipe(config, changes).model_copy(update={"tune": TuneConfig(), "auto": AutoConfig()})
    return dump_config(final)


def lines(found: Conclusion, plot: str) -> Iterator[str]:
    """Markdown. `plot` is what stands for the importance's."""
    ended = [trial for trial in found.trials if trial.state == "complete"]
    yield "# The recipe that was found"
    yield ""
    yield (
        f"{len(found.trials)} trials, {len(ended)} measured to their end on "
        f"{found.measured_on} validation rows, graded by {found.graded_by}; "
        f"{found.seconds / 60:.1f} minutes of trials{_dollars(found.usd)}."
    )
    yield ""
    yield from _choice(found)
    yield from _students(found)
    yield from _test(found.on_test)
    yield from _front(found)
    if found.importances:
        yield "## What mattered"
        yield "Among the trials measured to their end, by conditional PED-ANOVA: the better quarter"
        yield "against all. A share says that good trials differ in it, not that it alone helps."
        yield ""
        yield plot
        yield ""
        yield from _table(
            ("parameter", "share"),
            [(name, f"{share:.0%}") for name, share in found.importances.items()],
        )
    yield "## Trials"
    yield from _table(
        ("trial", "state", *found.objectives, "seconds", "recipe"),
        [
            (
                str(trial.number),
                trial.state,
                *(f"{value:.4g}" for value in trial.values or ()),
                *("" for _ in range(len(found.objectives) - len(trial.values))),
                f"{trial.seconds:.0f}",
                trial.why or shown(trial.changes),
            )
            for trial in found.trials
        ],
    )


def _choice(found: Conclusion) -> Iterator[str]:
    best, written = found.of(found.chosen), found.of(WRITTEN)
    yield f"Chosen: trial {best.number}, in `best.yaml`."
    yield ""
    yield from _table(
        ("", *found.objectives, "recipe"),
        [
            (name, *(f"{value:.4g}" for value in trial.values), shown(trial.changes))
            for name, trial in (("chosen", best), ("as written", written))
        ],
    )
    if (honest := found.corrected) is not None:
        luck = best.values[0] - honest.mean
        yield (
            f"The chosen recipe's {best.values[0]:.4f} was chosen of {_count(found)} on these very "
            f"rows, so part of it is luck. Choosing so gives {honest.mean:.4f} "
            f"({honest.low:.4f} to {honest.high:.4f}) on rows that did not choose: the selection "
            f"bias is about {luck:+.4f} (bootstrap bias correction, Tsamardinos et al. 2018)."
        )
    else:
        yield "The values are those of the rows that chose, so part of what is best is luck."
    yield "The same rows decided which epoch of each training was published."
    yield ""


def _students(found: Conclusion) -> Iterator[str]:
    """Each model that learned, by its best trial; nothing where there was one only."""
    tried = {trial.student for trial in found.trials}
    if len(tried) < 2 or len(found.objectives) > 1:
        return
    yield "## Students"
    by_size = sorted(map(found.of, found.front), key=lambda trial: trial.parameters or 0)
    yield from _table(
        ("student", "parameters", "MiB", "trials", "its best", found.objectives[0]),
        [
            (
                f"{best.student}{' (chosen)' if best.number == found.chosen else ''}",
                "" if best.parameters is None else f"{best.parameters:,}",
                "" if best.size is None else f"{best.size:.4g}",
                str(sum(trial.student == best.student for trial in found.trials)),
                str(best.number),
                f"{best.values[0]:.4g}",
            )
            for best in by_size
        ],
    )
    if found.choose == "smallest":
        yield (
            "Chosen is the smallest student whose best trial falls behind the best of all by no "
            "more than one standard error of their differences, row by row."
        )
        yield ""


def _count(found: Conclusion) -> str:
    return f"{sum(trial.state == 'complete' for trial in found.trials)} recipes"


def _test(test: OnTest | None) -> Iterator[str]:
    yield "## On the test rows"
    if test is None:
        yield "Not measured: name a file of held-out rows in `data.test`."
        yield ""
        return
    yield from _table(
        ("recipe", "score", "95 % interval"),
        [
            (name, f"{part.mean:.4f}", f"{part.low:.4f} to {part.high:.4f}")
            for name, part in (("chosen", test.chosen), ("as written", test.written))
        ],
    )
    difference = test.difference
    yield (
        f"Difference {difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}), "
        f"p = {test.p_value:.3g} ({test.test}, {test.rows} rows). No test row took part in the "
        f"choice. This search has measured {test.looks} recipe(s) on them, the written one "
        "included; the figure of one that was looked at again after a longer search is no longer "
        "of rows that nobody has seen."
    )
    yield ""


def _front(found: Conclusion) -> Iterator[str]:
    if len(found.objectives) == 1:
        return
    yield "## Those that none beats"
    yield "Each is in `front/`. Trials of several objectives are never ended early."
    yield from _table(
        ("trial", *found.objectives, "recipe"),
        [
            (str(n), *(f"{value:.4g}" for value in found.of(n).values), shown(found.of(n).changes))
            for n in found.front
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(escape_markdown(cell)) for cell in row)} |"
    yield ""


def _dollars(usd: float) -> str:
    return f", ${usd:.2f}" if usd else ""


def _draw(path: Path, found: Conclusion) -> str:
    if not found.importances:
        path.unlink(missing_ok=True)
        return ""
    try:
        _write(path, bars(found.importances, "What mattered"))
    except ImportError:
        return PLOTS_NEED
    return f"![What mattered]({path.name})"


def _write(path: Path, text: str) -> None:
    with atomic_writer(path) as handle:
        handle.write(text.encode())
