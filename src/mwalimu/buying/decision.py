"""After a round: whether the next one pays, in numbers and in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from mwalimu.buying.forecast import Forecast, Point
from mwalimu.buying.law import PARTS
from mwalimu.buying.wording import bought, share
from mwalimu.config import ActiveConfig
from mwalimu.evaluation.statistics import Interval


class Next(NamedTuple):
    """What could be bought: `rows` at `usd` a row (None: unknown); 0 rows are why not."""

    rows: int
    usd: float | None
    why_none: str = ""


class Decision(NamedTuple):
    """`gain` is what the next rows would add, None where too few rounds tell; `buy` 0 ends it."""

    round: int
    rows: int
    quality: float
    gain: Interval | None
    usd: float | None
    buy: int
    why: str

    def in_words(self) -> str:
        lead = f"round {self.round}: {self.rows:,} rows bought, {share(self.quality)}"
        return f"{lead}; {self.why}"

    def to_json(self) -> dict[str, Any]:
        gain = None if self.gain is None else self.gain._asdict()
        return self._asdict() | {"gain": gain, "said": self.in_words()}


def decide(points: tuple[Point, ...], settings: ActiveConfig, offer: Next, seed: int) -> Decision:
    """Whether to buy what is offered, after the rounds of which these are the points.

    It ends where even the high end of the next round's gain is worth less than is asked for. Before
    the law can be fitted, and wherever its interval is wide, that is never so: it is bought.
    """
    last, number = points[-1], len(points) - 1
    told = len({point.rows for point in points}) > PARTS
    gain = Forecast(points, seed).gain(last.rows, offer.rows) if told and offer.rows else None
    usd = None if offer.usd is None else offer.rows * offer.usd
    buy, why = _judged(settings, offer, gain, usd)
    return Decision(number, last.rows, last.quality, gain, usd, buy, why)


def _judged(
    settings: ActiveConfig, offer: Next, gain: Interval | None, usd: float | None
) -> tuple[int, str]:
    if not offer.rows:
        return 0, f"the end: {offer.why_none}"
    if gain is None:
        return offer.rows, f"{offer.rows:,} more are bought: {PARTS + 1} rounds make a curve"
    said = bought(offer.rows, gain, usd)
    if 100 * gain.high < settings.stop_below:
        return 0, f"{said}: the end, surely less than {settings.stop_below:g} points"
    if settings.usd_per_point and usd and usd > 100 * gain.high * settings.usd_per_point:
        return 0, f"{said}: the end, surely more than ${settings.usd_per_point:,.2f} a point"
    return offer.rows, f"{said}: they are bought"
