"""What pass two leaves: one row per image, as columns, with what was measured and what could not be."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerecon.errors import ArgumentError, PathError
from facerecon.evaluation.protocol import EvalConfig
from facerecon.files import write_atomic

LABELS = ("name", "status", "code", "true_yaw", "bin", "pose_kept", "nme_kept")


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores of n images, in the order of the data set.

    Attributes:
        config: the switches they were made under.
        context: what tables name: data set, truth, method, model, crop source, region (plain JSON values).
        names, statuses, codes: per image; status "ok", "refused", "failed", or "no_truth" when the image's annotation cannot
            be read.
        true_yaw: (n,) degrees; bins: (n,) 0, 1, 2, or -1 without truth.
        pose_kept, nme_kept: (n,) bool, False where the configuration excludes the image.
        metrics: name -> (n,) float64; NaN where the image has no value.
        missing: metric -> why it was not computed at all.
    """

    config: EvalConfig
    context: dict
    names: tuple[str, ...]
    statuses: tuple[str, ...]
    codes: tuple[str | None, ...]
    true_yaw: np.ndarray
    bins: np.ndarray
    pose_kept: np.ndarray
    nme_kept: np.ndarray
    metrics: dict[str, np.ndarray]
    missing: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def found(self) -> np.ndarray:
        """(n,) bool: images with a result."""
        return np.array([status == "ok" for status in self.statuses], dtype=bool)

    @property
    def has_truth(self) -> np.ndarray:
        """(n,) bool: images whose annotation could be read."""
        return self.bins >= 0

    def values(self, metric: str, *, over: str, exclude: bool = True) -> np.ndarray:
        """(n,) values with NaN where an image does not count.

        Args:
            over: "found" leaves misses out, "all" takes the mean face's error for them.
            exclude: apply the configuration's exclusions; False scores the pose on all images too.
        """
        values = self.metrics[metric].copy()
        if over == "found":
            values[~self.found] = np.nan
        if exclude:
            values[~(self.pose_kept if is_pose(metric) else self.nme_kept)] = np.nan
        return values

    def to_csv(self) -> str:
        """One line per image; numbers with all digits, errors as fractions, angles in degrees."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = list(self.metrics)
        writer.writerow([*LABELS, *names])
        for row in range(len(self)):
            numbers = (self.metrics[name][row] for name in names)
            writer.writerow([self.names[row], self.statuses[row], self.codes[row] or "", _number(self.true_yaw[row]),
                             int(self.bins[row]), int(self.pose_kept[row]), int(self.nme_kept[row]),
                             *(_number(number) for number in numbers)])
        return stream.getvalue()

    def write_csv(self, path: str | os.PathLike[str]) -> Path:
        return write_atomic(path, self.to_csv())


def is_pose(metric: str) -> bool:
    """Whether a metric is an angle in degrees."""
    return metric in ("pitch", "yaw", "roll", "mae", "geodesic")


def read_scores_csv(path: str | os.PathLike[str], *, config: EvalConfig, context: dict) -> ScoreTable:
    """Read `ScoreTable.to_csv` back."""
    path = Path(path)
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError as error:
        raise PathError(f"{path}: no such file", code="path_missing") from error
    if not rows or not set(LABELS) <= set(rows[0]):
        raise ArgumentError(f"{path}: wanted the scores.csv of an evaluation, with columns {', '.join(LABELS)}")

    def column(name: str) -> list[str]:
        return [row[name] for row in rows]

    metrics = {name: _numbers(column(name)) for name in rows[0] if name not in LABELS}
    return ScoreTable(config=config, context=context, names=tuple(column("name")), statuses=tuple(column("status")),
                      codes=tuple(code or None for code in column("code")), true_yaw=_numbers(column("true_yaw")),
                      bins=np.array([int(value) for value in column("bin")]),
                      pose_kept=np.array([value == "1" for value in column("pose_kept")]),
                      nme_kept=np.array([value == "1" for value in column("nme_kept")]), metrics=metrics, missing={})


def _number(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def _numbers(texts: Sequence[str]) -> np.ndarray:
    return np.array([float(text) if text else np.nan for text in texts], dtype=np.float64)
