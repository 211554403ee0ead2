"""The report's plots: plain numbers in, SVG text out, the same bytes every time.

Each SVG is meant to stand inside an HTML page beside others: no prolog, ids that carry the plot's
name, text as text. matplotlib (extra `eval`) is imported on the first drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import cycle
from typing import Any

Interval = Mapping[str, float]
"""mean, low, high."""
Curve = Sequence[tuple[float, float]]
"""(epoch, loss), in order."""

# Each has a contrast of 3:1 or more on white.
COLOURS = {
    "teacher": "#566074",
    "student-before": "#8c93a1",
    "student-labels": "#c9780c",
    "student-text": "#0b7a6f",
    "student-distilled": "#1f5fbf",
}
_SPARE = ("#8e4585", "#6b5b1e", "#a23b3b", "#3f7f3a")
RUNS = ("#1f5fbf", "#c9780c", *_SPARE)
_BARS = ("#1f5fbf", "#d9dee8")  # kept, let go
_INK, FAINT, _GRID = "#1f2430", "#5b6271", "#e3e6eb"
_TAG = re.compile(r"<[^!<>][^<>]*>")  # matplotlib escapes < and > in text and attributes
_ID = re.compile(r'(\sid="|href="#|url\(#)')
_WIDTH = 7.0  # inches, 672 px on a page
_MOST_POINTS = 600
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5}
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,  # names are the user's: a dollar sign is a dollar sign
    "axes.edgecolor": "#b6bcc8",
    "axes.labelcolor": FAINT,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def loss_curves(training: Curve, validation: Curve, baseline: Curve = ()) -> str:
    """Training loss (raw and smoothed), validation loss with the best marked, the baseline's.

    Raises ImportError without matplotlib, as all plots do.
    """
    with drawing("loss", height=3.0) as figure:
        axes = figure.subplots()
        axes.grid(visible=True, axis="y")
        own, other = COLOURS["student-distilled"], COLOURS["student-labels"]
        if training:
            axes.plot(*_columns(_thinned(training)), color=own, alpha=0.25, linewidth=0.8)
            smooth = _thinned(_smoothed(training))
            axes.plot(*_columns(smooth), color=own, linewidth=1.8, label="training, smoothed")
        if baseline:
            smooth = _thinned(_smoothed(baseline))
            style: dict[str, Any] = {"color": other, "linewidth": 1.5, "linestyle": (0, (4, 2))}
            axes.plot(*_columns(smooth), **style, label="trained on your labels, training")
        if validation:
            _draw_validation(axes, validation)
        axes.set_xlabel("epoch")
        _scale_losses(axes, [loss for curve in (training, validation) for _, loss in curve])
        axes.legend(loc="upper right")
        return as_svg(figure, "loss", "Loss per epoch")


def accuracy_by_task(groups: Sequence[str], arms: Mapping[str, Sequence[Interval | None]]) -> str:
    """Grouped bars with their 95 % intervals: one group a task, one bar an arm."""
    with drawing("accuracy", height=3.0) as figure:
        axes = figure.subplots()
        axes.grid(visible=True, axis="y")
        width = 0.8 / len(arms)
        for place, (arm, intervals) in enumerate(arms.items()):
            offset = (place - (len(arms) - 1) / 2) * width
            known = [(g + offset, i) for g, i in enumerate(intervals) if i is not None]
            _draw_bars(axes, known, 0.9 * width, colours(arms)[arm], arm)
        size = 9 if len(groups) <= 5 else 7.5
        axes.set_xticks(range(len(groups)), groups, fontsize=size)
        axes.set_xlim(-0.55, max(len(groups), 2) - 0.45)
        axes.set_ylim(0, 105)
        axes.set_ylabel("accuracy, %")
        figure.legend(loc="outside upper left", ncols=len(arms))
        return as_svg(figure, "accuracy", "Accuracy by task and arm")


def costs(panels: Mapping[str, Mapping[str, float | None]]) -> str:
    """Side by side, a panel a measure ("latency, ms"): one bar an arm, its value at the end."""
    arms = list(next(iter(panels.values())))
    with drawing("costs", height=0.75 + 0.3 * len(arms)) as figure:
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, values) in zip(row, panels.items(), strict=True):
            known = [value or 0.0 for value in values.values()]
            places = range(len(arms))
            axes.barh(places, known, height=0.62, color=[colours(arms)[arm] for arm in arms])
            axes.set_xlim(0, 1.45 * max(known) or 1.0)  # room for the labels
            for place, value in enumerate(values.values()):
                text = "unknown" if value is None else short_number(value)
                axes.annotate(text, (value or 0.0, place), (4, 0), **BESIDE)
            axes.set_title(title)
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)
        row[0].set_yticks(range(len(arms)), arms)
        row[0].invert_yaxis()
        return as_svg(figure, "costs", "Latency, memory and parameters by arm")


def funnel(steps: Sequence[tuple[str, int, int]]) -> str:
    """A bar a step (title, rows in, rows out): what it kept, and what it let go beside it."""
    most = max(rows for _, rows, _ in steps) or 1
    with drawing("funnel", height=0.6 + 0.38 * len(steps)) as figure:
        axes = figure.subplots()
        for place, (_, rows_in, rows_out) in enumerate(steps):
            kept, gone = _BARS
            axes.barh(place, rows_out, height=0.62, color=kept)
            axes.barh(place, rows_in - rows_out, left=rows_out, height=0.62, color=gone)
            text = f"{rows_out:,} of {rows_in:,}"
            axes.annotate(text, (rows_in, place), (4, 0), **BESIDE)
        axes.set_yticks(range(len(steps)), [title for title, _, _ in steps])
        axes.set_xlim(0, 1.3 * most)  # room for the labels
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.invert_yaxis()
        return as_svg(figure, "funnel", "Rows that each step kept")


def curves(runs: Mapping[str, Curve]) -> str:
    """A validation loss a run, in one picture."""
    with drawing("runs", height=3.0) as figure:
        axes = figure.subplots()
        axes.grid(visible=True, axis="y")
        for (name, points), colour in zip(runs.items(), cycle(RUNS), strict=False):
            axes.plot(*_columns(points), color=colour, linewidth=1.6, marker="o", markersize=4)
            axes.lines[-1].set_label(name)
        axes.set_xlabel("epoch")
        _scale_losses(axes, [loss for points in runs.values() for _, loss in points])
        figure.legend(loc="outside upper left", ncols=min(4, len(runs)))
        return as_svg(figure, "runs", "Validation loss of each run")


def colours(arms: Mapping[str, Any] | Sequence[str]) -> dict[str, str]:
    """The same arm has the same colour in every plot of every report."""
    spare = cycle(_SPARE)
    return {arm: COLOURS.get(arm) or next(spare) for arm in arms}


def short_number(value: float) -> str:
    """1234567 -> 1.23 M; three digits are enough beside a bar."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _scale_losses(axes: Any, losses: list[float]) -> None:
    """Logarithmic where the first steps would hide all that came after."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if min(losses) <= 0 or max(losses) < 8 * min(losses):
        axes.set_ylabel("loss, nats per token")
        axes.set_ylim(bottom=0)
        return
    axes.set_ylabel("loss, nats per token (log scale)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_validation(axes: Any, validation: Curve) -> None:
    style: dict[str, Any] = {"color": COLOURS["teacher"], "linewidth": 1.0, "markersize": 4.5}
    axes.plot(*_columns(validation), marker="o", **style, label="validation")
    epoch, loss = min(validation, key=lambda point: point[1])
    ring = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.6}
    axes.plot([epoch], [loss], "o", **ring, color=_INK, clip_on=False, label=f"best: {loss:.3f}")


def _draw_bars(
    axes: Any, known: Sequence[tuple[float, Interval]], width: float, colour: str, label: str
) -> None:
    means = [100 * i["mean"] for _, i in known]
    spread = [
        [max(0.0, 100 * (i["mean"] - i["low"])) for _, i in known],
        [max(0.0, 100 * (i["high"] - i["mean"])) for _, i in known],
    ]
    whiskers = {"ecolor": _INK, "elinewidth": 0.9, "capsize": 2.2, "capthick": 0.9}
    places = [place for place, _ in known]
    axes.bar(places, means, width, color=colour, label=label, yerr=spread, error_kw=whiskers)


def _smoothed(curve: Curve) -> list[tuple[float, float]]:
    """A centred moving average over a twenty-fifth of the curve."""
    reach = len(curve) // 50
    points = []
    for place, (epoch, _) in enumerate(curve):
        near = curve[max(0, place - reach) : place + reach + 1]
        points.append((epoch, sum(loss for _, loss in near) / len(near)))
    return points


def _thinned(curve: Curve) -> Curve:
    """Every n-th point and the last: a long training must not make a heavy page."""
    step = -(-len(curve) // _MOST_POINTS)
    return curve if step < 2 else [*curve[:-1:step], curve[-1]]


def _columns(curve: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in curve], [y for _, y in curve]


@contextmanager
def drawing(name: str, *, height: float) -> Iterator[Any]:
    """A figure of its own, without pyplot; the settings hold inside only."""
    import warnings

    from matplotlib import style
    from matplotlib.figure import Figure

    settings = _STYLE | {"svg.hashsalt": name}
    with style.context(settings, after_reset=True), warnings.catch_warnings():
        # A name in a script that the measuring font lacks: the browser has a font for it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(_WIDTH, height), layout="constrained")


def as_svg(figure: Any, name: str, label: str) -> str:
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = _TAG.sub(lambda tag: _own_ids(tag.group(), name), svg[svg.index("<svg") :])
    svg = svg.replace('css">*{', 'css">svg *{', 1)  # a page has more than plots
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _own_ids(tag: str, name: str) -> str:
    return _ID.sub(rf"\g<1>{name}-", tag)
