"""The plots, as SVG for a page of either colour: nothing is filled, inks stand out on both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from quality_statistics import Interval

INK = "#7b8290"
COLOURS = {
    "gold": "#7b8290",
    "text": "#d97706",
    "sampled": "#3b82f6",
    "topk": "#0d9488",
    "dense": "#a855f7",
}
NAMES = {
    "gold": "labels of the data",
    "text": "teacher's text alone",
    "sampled-12": "12 draws a token",
    "topk-32": "best 32 and a tail",
    "dense": "whole distribution",
}
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


Lines = Mapping[str, Sequence[tuple[int, Interval]]]
"""By arm: (prompts, score) in order."""


def by_prompts(name: str, teacher: float, scores: Lines, gains: Lines) -> str:
    """Scores against the number of prompts; beside them the points above text alone.

    Intervals are of 95 % over seeds; those of the gains are of paired differences.
    """
    with _figure(f"quality-{name}-prompts") as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for axes, lines in ((left, scores), (right, gains)):
            _draw_lines(axes, lines)
            axes.set_xlabel("prompts (log scale)")
        left.axhline(100 * teacher, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        left.annotate("teacher", (0.01, 100 * teacher), (0, 3), **_BESIDE)
        left.set_ylabel("score on the test rows, %")
        left.set_title(f"{name}: students by what they learn from")
        left.legend(loc="lower right")
        right.axhline(0, color=COLOURS["text"], linewidth=1.2)
        right.set_ylabel("points above the teacher's text alone")
        right.set_title("the same, less text alone")
        return _svg(figure)


def by_bytes(name: str, prompts: int, gains: Mapping[str, tuple[float, Interval]]) -> str:
    """(bytes a token of the cache, score above text alone) by arm; a line a kind of signal."""
    with _figure(f"quality-{name}-bytes") as figure:
        axes = figure.subplots()
        axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.6)
        for kind in ("sampled", "topk", "dense"):
            own = {arm: gain for arm, gain in gains.items() if arm.partition("-")[0] == kind}
            points = sorted(own.items(), key=lambda item: item[1][0])
            sizes = [size for _, (size, _) in points]
            _points(axes, sizes, [gain for _, (_, gain) in points], kind, kind)
            for arm, (size, gain) in points:
                axes.annotate(arm.partition("-")[2], (size, 100 * gain.mean), (3, 4), **_NEAR)
        axes.axhline(0, color=COLOURS["text"], linewidth=1.2)
        axes.annotate("text alone", (0.99, 0), (0, 3), **_BESIDE | {"ha": "right"})
        _scale(axes, [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192])
        axes.set_xlabel("bytes a token of the teacher's answers in the cache (log scale)")
        axes.set_ylabel("points above the teacher's text alone")
        axes.set_title(f"{name}, {prompts:,} prompts, by draws or best tokens kept (numbers)")
        axes.legend(loc="upper right")
        return _svg(figure)


_BESIDE: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "fontsize": 8,
    "color": INK,
}
_NEAR: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": INK}


def _draw_lines(axes: Any, lines: Lines) -> None:
    axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.6)
    for place, (arm, points) in enumerate(lines.items()):
        shift = 1 + 0.03 * (place - (len(lines) - 1) / 2)  # intervals side by side
        prompts = [count * shift for count, _ in points]
        _points(axes, prompts, [one for _, one in points], arm.partition("-")[0], NAMES[arm])
    _scale(axes, sorted({count for points in lines.values() for count, _ in points}))


def _points(
    axes: Any, places: Sequence[float], of: Sequence[Interval], kind: str, label: str
) -> None:
    means = [100 * one.mean for one in of]
    reach = [
        [0.0 if end is None else 100 * abs(one.mean - end) for one, end in pairs]
        for pairs in ([(one, one.low) for one in of], [(one, one.high) for one in of])
    ]
    style = {"color": COLOURS[kind], "label": label, "linewidth": 1.2, "markersize": 4}
    axes.errorbar(places, means, yerr=reach, marker="o", capsize=2, elinewidth=0.8, **style)


def _scale(axes: Any, ticks: Sequence[int]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.75 * ticks[0], 1.35 * ticks[-1])


@contextmanager
def _figure(name: str) -> Iterator[Any]:
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(STYLE | {"svg.hashsalt": name}, after_reset=True):
        yield Figure(figsize=(7.6, 3.6), layout="constrained")


def _svg(figure: Any) -> str:
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return text.getvalue()
