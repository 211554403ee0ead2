"""`mwalimu forecast`: what more rows, and other students, would bring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mwalimu.buying.forecast import FEWEST, Forecast
from mwalimu.buying.ladder import climb, points_of
from mwalimu.buying.ledger import Paid
from mwalimu.buying.wording import bought, interval, share
from mwalimu.choosing import choose
from mwalimu.config import load_config
from mwalimu.errors import RunError
from mwalimu.evaluation.statistics import Interval
from mwalimu.progress import Progress
from mwalimu.run import Run


@dataclass(frozen=True)
class Told:
    """`more` are numbers of rows on top of the most that a point has; `usd` is of one row."""

    forecast: Forecast
    more: tuple[int, ...]
    usd: float | None
    parameters: int | None = None

    @classmethod
    def of(
        cls,
        folders: Sequence[Path],
        *,
        more: Sequence[int],
        parameters: int | None,
        progress: Progress,
    ) -> Self:
        """From several runs as they are; of one run alone smaller ones are made first.

        Raises:
            RunError: a folder is no finished run, or was not evaluated.
            DataError: too few points, or graded on different rows.
        """
        runs = [Run(folder) for folder in folders]
        points = [point for run in runs for point in points_of(run)]
        seed = 0
        if len(points) == 1:
            config = choose(load_config(folders[0] / "config.yaml")).config
            seed, points = config.seed, list(climb(config, runs[0], progress))
        points.sort(key=lambda point: (point.rows, point.parameters))
        forecast, most = Forecast(tuple(points), seed), points[-1].rows
        if parameters is not None and not forecast.over_sizes:
            raise RunError(
                "a forecast over sizes needs runs of three students of different sizes",
                where="--parameters",
                fix="name such runs, graded on the same rows",
            )
        usd = Paid.of(runs[-1]).usd
        return cls(forecast, tuple(more) or (max(1, most // 2), most), usd, parameters)

    @property
    def most(self) -> int:
        return self.forecast.points[-1].rows

    def gains(self) -> dict[int, Interval]:
        return {more: self.forecast.gain(self.most, more) for more in self.more}

    def price(self, more: int) -> float | None:
        return None if self.usd is None else more * self.usd

    def lines(self) -> Iterator[str]:
        """For people."""
        for point in self.forecast.points:
            yield f"{point.rows:>9,} rows  {share(point.quality)}"
        if self.forecast.too_few:
            have = len(self.forecast.points)
            yield (
                f"{have} points are too few to see how far a training strays from the curve: the "
                f"intervals below are too narrow; {FEWEST} or more are needed"
            )
        for more, gain in self.gains().items():
            yield bought(more, gain, self.price(more))
        if self.parameters is not None:
            of_size = interval(self.forecast.quality(self.most, self.parameters))
            yield f"a student of {self.parameters:,} parameters: {of_size} after {self.most:,} rows"

    def to_json(self) -> dict[str, Any]:
        """For programs: qualities and gains in 0..1."""
        return {
            "points": [
                {"rows": p.rows, "quality": p.quality, "parameters": p.parameters}
                for p in self.forecast.points
            ],
            "too_few": self.forecast.too_few,
            "more": [
                {"rows": more, "gain": gain._asdict(), "usd": self.price(more)}
                for more, gain in self.gains().items()
            ],
            "size": self.parameters and self.forecast.quality(self.most, self.parameters)._asdict(),
        }
