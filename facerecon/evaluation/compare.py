"""Two methods on the same images: the difference of each figure, with its interval."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.errors import ArgumentError
from facerecon.evaluation.report import TITLES
from facerecon.evaluation.scores import ScoreTable, is_pose
from facerecon.metrics.aggregate import BIN_NAMES
from facerecon.metrics.bootstrap import Interval, paired_difference, resampling_counts


@dataclasses.dataclass(frozen=True)
class Comparison:
    """First minus second, in percent or degrees: negative where the first method errs less.

    Attributes:
        first, second: names for the table. n: images that both are scored on. over: "found" counts images where both have a
            result, "all" every image, with misses scored by the mean face.
        differences: metric -> figure name -> interval. wins: metric -> share of images where the first errs less, in percent.
    """

    first: str
    second: str
    over: str
    n: int
    differences: dict[str, dict[str, Interval]]
    wins: dict[str, float]
    title: str

    def to_text(self) -> str:
        """The comparison for a reader; a star marks intervals that leave zero out."""
        lines = [f"first:  {self.first}", f"second: {self.second}", f"preset: {self.title}",
                 f"first minus second on {self.n} images ({self.over}); * = the 95 % interval leaves out zero"]
        names = [*BIN_NAMES, "mean_of_bins", "mean_all"]
        lines.append(" " * 24 + "".join(f"{name:>26}" for name in names) + f"{'first is better on':>20}")
        for metric, figures in self.differences.items():
            cells = [f"{_signed(figures[name]):>26}" for name in names]
            lines.append(f"{TITLES.get(metric, metric):<24}" + "".join(cells) + f"{self.wins[metric]:>18.1f} %")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict:
        """Plain JSON types; NaN as null."""
        def plain(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        return {"schema": 1, "first": self.first, "second": self.second, "over": self.over, "n": self.n, "preset": self.title,
                "differences": {metric: {name: {key: plain(number) for key, number in dataclasses.asdict(value).items()}
                                         for name, value in figures.items()} for metric, figures in self.differences.items()},
                "first_is_better_percent": self.wins}


def compare(first: ScoreTable, second: ScoreTable, *, over: str = "found") -> Comparison:
    """Compare two score tables of one data set under one configuration.

    Raises:
        ArgumentError: when images or configurations differ: figures of different protocols are never subtracted.
    """
    if first.names != second.names:
        raise ArgumentError(f"second: wanted scores of the same images in the same order, got {len(second)} for {len(first)}")
    if first.config != second.config:
        changed = [name for name, value in first.config.to_dict().items() if second.config.to_dict()[name] != value]
        raise ArgumentError(f"second: wanted scores under the same configuration, got others in {', '.join(changed)}")
    for key in ("region", "dense_truth"):
        if first.context.get(key) != second.context.get(key) and None not in (first.context.get(key), second.context.get(key)):
            raise ArgumentError(f"second: wanted the {key} {first.context.get(key)!r}, got {second.context.get(key)!r}")
    chosen = np.flatnonzero(first.has_truth & second.has_truth & (first.found & second.found if over == "found" else True))
    bins = first.bins[chosen]
    counts = resampling_counts(bins, resamples=first.config.bootstrap_resamples, seed=first.config.bootstrap_seed)
    differences, wins = {}, {}
    for metric in first.metrics:
        if metric not in second.metrics:
            continue
        unit = 1 if is_pose(metric) else 100
        a, b = (table.values(metric, over=over)[chosen] * unit for table in (first, second))
        both = np.isfinite(a) & np.isfinite(b)
        if not both.any():
            continue
        differences[metric] = paired_difference(a, b, bins, counts, level=first.config.bootstrap_level)
        wins[metric] = float(100 * (a[both] < b[both]).mean())
    return Comparison(_name(first), _name(second), over, len(chosen), differences, wins, first.config.title)


def _name(table: ScoreTable) -> str:
    parts = [table.context.get(key) for key in ("method", "model", "crop_from")]
    return ", ".join(str(part) for part in parts if part)


def _signed(value: Interval) -> str:
    if np.isnan(value.figure):
        return "-"
    star = "*" if value.low > 0 or value.high < 0 else " "
    return f"{value.figure:+.2f} [{value.low:+.2f}, {value.high:+.2f}]{star}"
