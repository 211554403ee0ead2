"""The plot of exports: what each keeps against what it costs, and those that no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, zip_longest
from typing import Any, NamedTuple

from mwalimu.config import PRECISIONS
from mwalimu.report.plots import BESIDE, FAINT, RUNS, as_svg, drawing, short_number

_SHAPES: dict[str, str] = dict(zip(PRECISIONS, "osD^", strict=True))


class Spot(NamedTuple):
    """An export in a plot: `cost` in the panel's unit, `kept` an accuracy in 0..1."""

    name: str
    format: str
    precision: str
    cost: float
    kept: float


def trade_offs(panels: Mapping[str, Sequence[Spot]]) -> str:
    """Side by side, a panel a cost ("size, MiB"), whose scale is logarithmic.

    A colour is a format, a shape a precision. A line joins those that no other beats, being as
    cheap and as accurate or more; it names them.
    """
    every = [spot for spots in panels.values() for spot in spots]
    colour_of = dict(zip(dict.fromkeys(spot.format for spot in every), cycle(RUNS), strict=False))
    used = {spot.precision for spot in every}
    shape_of = {name: shape for name, shape in _SHAPES.items() if name in used}
    with drawing("exports", height=3.6) as figure:
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, spots) in zip(row, panels.items(), strict=True):
            _scale_costs(axes, [spot.cost for spot in spots])
            axes.set_xlabel(title)
            for one in spots:
                look = {"color": colour_of[one.format], "marker": shape_of[one.precision]}
                axes.plot([one.cost], [100 * one.kept], linestyle="none", alpha=0.85, **look)
            best = [spots[i] for i in pareto([(spot.cost, spot.kept) for spot in spots])]
            _draw_front(axes, best)
        kept = [100 * spot.kept for spot in every]
        row[0].set_ylim(min(kept) - 2, max(kept) + 2)  # a hundredth is not a cliff
        row[0].set_ylabel("accuracy, %")
        _draw_legend(figure, row[0], colour_of, shape_of)
        return as_svg(figure, "exports", "Accuracy of the exports against size and latency")


def _draw_front(axes: Any, best: Sequence[Spot]) -> None:
    """Names stand above and to the left, where none can be that is cheaper and as accurate."""
    points = [(spot.cost, 100 * spot.kept) for spot in best]
    axes.plot(*zip(*points, strict=True), color=FAINT, linewidth=1.0, zorder=1, label="_front")
    side: dict[str, Any] = {"xytext": (-3, 9), "ha": "right", "fontsize": 7.5, "color": FAINT}
    for spot, point in zip(best, points, strict=True):
        axes.annotate(spot.name, point, **BESIDE | side)


def _draw_legend(
    figure: Any, axes: Any, colour_of: Mapping[str, str], shape_of: Mapping[str, str]
) -> None:
    """Formats in the first line, precisions in the second; it is filled column by column."""
    columns = zip_longest(
        [(name, {"color": colour, "marker": "o"}) for name, colour in colour_of.items()],
        [(name, {"color": FAINT, "marker": shape}) for name, shape in shape_of.items()],
        fillvalue=("", {"marker": ""}),
    )
    looks = [look for column in columns for look in column]
    handles = [axes.plot([], [], linestyle="none", **look)[0] for _, look in looks]
    names = [name for name, _ in looks]
    figure.legend(handles, names, loc="outside upper left", ncols=len(looks) // 2)


def _scale_costs(axes: Any, costs: Sequence[float]) -> None:
    """Logarithmic, with room for a name at the left."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 4, max(costs) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of (cost, gain) that no other point beats, in order of cost.

    A point beats another that costs as much or more and gains as much or less, unless both are the
    same. Of equal points the first is kept.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    kept: list[int] = []
    for i in order:
        if not kept or points[i][1] > points[kept[-1]][1]:
            kept.append(i)
    return kept
