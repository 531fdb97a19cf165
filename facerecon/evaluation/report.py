"""A score table as text, JSON and CSV: every figure with its interval, its count and what it was measured under."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np

from facerecon.evaluation.published import published_for
from facerecon.evaluation.scores import ScoreTable, is_pose
from facerecon.files import write_atomic
from facerecon.metrics.aggregate import BIN_NAMES, Summary, summarise
from facerecon.metrics.bootstrap import Interval, bootstrap_intervals, resampling_counts
from facerecon.metrics.curves import area_under_ced, failure_rate

TITLES = {
    "nme2d": "NME 68, 2D [%]", "nme3d": "NME 68, 3D [%]", "dense2d": "Dense 2D [%]", "dense3d": "Dense 3D [%]",
    "rec": "3D reconstruction [%]", "pitch": "pitch MAE [deg]", "yaw": "yaw MAE [deg]", "roll": "roll MAE [deg]",
    "mae": "pose MAE [deg]", "geodesic": "geodesic [deg]",
}
VIEWS = ("found", "all")
RELEASE = 2000
_WITH_INTERVAL = (*BIN_NAMES, "mean_of_bins", "mean_all")


@dataclasses.dataclass(frozen=True)
class Line:
    """One metric over one set of images, in the units of the table (percent, degrees).

    Attributes:
        metric: its name; `kept` says whether the configuration's exclusions apply (the pose is given both ways).
        summary: the figures. intervals: figure name -> interval.
    """

    metric: str
    kept: bool
    summary: Summary
    intervals: dict[str, Interval]


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a table shows.

    Attributes:
        table: the scores. lines: view ("found" or "all") -> lines. curves: view -> {"AUC 7 %": Interval, "FR 7 %": ...} of the
            2D landmark error, as percentages.
    """

    table: ScoreTable
    lines: dict[str, list[Line]]
    curves: dict[str, dict[str, Interval]]

    def to_text(self, *, published: bool = True) -> str:
        """The table for a reader."""
        return render_text(self, published=published)

    def to_dict(self) -> dict:
        """The same as plain JSON types; figures in percent or degrees, NaN as null."""
        table = self.table
        return _plain({
            "schema": 1, "context": table.context, "preset": table.config.title, "config": table.config.to_dict(),
            "images": len(table), "with_truth": int(table.has_truth.sum()), "found": int((table.found & table.has_truth).sum()),
            "codes": _codes(table), "not_computed": table.missing,
            "views": {view: {"metrics": [{"metric": line.metric, "exclusions_applied": line.kept,
                                          **dataclasses.asdict(line.summary),
                                          "intervals": {name: [value.low, value.high]
                                                        for name, value in line.intervals.items()}} for line in lines],
                             "curves": {name: dataclasses.asdict(value) for name, value in self.curves[view].items()}}
                      for view, lines in self.lines.items()},
            "published": published_for(list(table.metrics)),
        })

    def write(self, folder: str | os.PathLike[str]) -> dict[str, Path]:
        """Write report.txt, report.json and scores.csv; each appears whole or not at all."""
        folder = Path(folder)
        return {"text": write_atomic(folder / "report.txt", self.to_text()),
                "json": write_atomic(folder / "report.json", json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"),
                "csv": self.table.write_csv(folder / "scores.csv")}


def build_report(table: ScoreTable) -> Report:
    """Aggregate a score table: bins, means, balanced subsets, intervals, AUC and failure rates."""
    config = table.config
    truth = np.flatnonzero(table.has_truth)
    bins = table.bins[truth]
    misses = bool((~table.found[truth]).any())
    views = VIEWS if misses else ("found",)
    counts = resampling_counts(bins, resamples=config.bootstrap_resamples, seed=config.bootstrap_seed)
    lines: dict[str, list[Line]] = {}
    curves: dict[str, dict[str, Interval]] = {}
    for view in views:
        # Resamples must hold as many found images per bin as there are, so the view has its own draws.
        chosen = np.flatnonzero(table.found[truth]) if view == "found" and misses else np.arange(len(truth))
        drawn = resampling_counts(bins[chosen], resamples=config.bootstrap_resamples, seed=config.bootstrap_seed) if (
            view == "found" and misses) else counts
        lines[view] = []
        for metric in table.metrics:
            ways = (True, False) if is_pose(metric) and not table.pose_kept[truth].all() else (True,)
            for kept in ways:
                values = table.values(metric, over=view, exclude=kept)[truth][chosen] * (1 if is_pose(metric) else 100)
                lines[view].append(Line(metric, kept, summarise(values, bins[chosen], seeds=config.balanced_seeds),
                                        bootstrap_intervals(values, bins[chosen], drawn, level=config.bootstrap_level)))
        errors = table.values("nme2d", over=view)[truth][chosen]
        curves[view] = _curves(errors, bins[chosen], drawn, config.thresholds, config.bootstrap_level)
    return Report(table, lines, curves)


def _curves(errors: np.ndarray, bins: np.ndarray, counts: np.ndarray, thresholds: tuple[float, ...],
            level: float) -> dict[str, Interval]:
    # AUC and failure rate are means over images too, so the same resamples give their intervals.
    result = {}
    kept = np.isfinite(errors)
    for threshold in thresholds:
        if not kept.any() or threshold <= 0:
            continue
        area = np.where(kept, np.maximum(0.0, 1 - errors / threshold), np.nan) * 100
        above = np.where(kept, errors > threshold, np.nan) * 100
        for name, values, check in (("AUC", area, area_under_ced), ("FR", above, failure_rate)):
            interval = bootstrap_intervals(values, bins, counts, level=level)["mean_all"]
            result[f"{name} {100 * threshold:g} %"] = dataclasses.replace(interval, figure=100 * check(errors[kept], threshold))
    return result


def render_text(report: Report, *, published: bool) -> str:
    """The table of `Report.to_text`."""
    table, config = report.table, report.table.config
    context = table.context
    found, total = int((table.found & table.has_truth).sum()), int(table.has_truth.sum())
    head = [("data set", context.get("dataset")), ("preset", config.title), ("method", context.get("method")),
            ("model", context.get("model")), ("crop source", context.get("crop_from")),
            ("landmark truth", _landmark_truth(config.annotation)),
            ("dense truth", context.get("dense_truth") or "none (dense figures not computed)"),
            ("region", context.get("region")), ("yaw bins", f"{config.yaw_labels}, |yaw| in [0,30] (30,60] (60,..) degrees"),
            ("found", f"{found} / {total}" + (f" ({len(table) - total} images without readable truth)" if total < len(table) else ""))]
    lines = [f"{name + ':':<16}{value}" for name, value in head if value not in (None, "")]
    if codes := _codes(table):
        lines.append(f"{'not found:':<16}" + ", ".join(f"{count} {code}" for code, count in codes.items()))
    for view, rows in report.lines.items():
        label = ("all images, misses scored by the mean face in the whole image" if view == "all" else
                 "images with a result" if len(report.lines) > 1 else "all images")
        lines += ["", f"{label}  [95 % intervals: bootstrap, {config.bootstrap_resamples} resamples, "
                      f"seed {config.bootstrap_seed}]" if math.isclose(config.bootstrap_level, 0.95) else label]
        lines += _grid(rows)
        if report.curves[view]:
            lines.append("2D landmarks: " + "; ".join(f"{name} {_figure(value.figure)} [{_figure(value.low)}, {_figure(value.high)}]"
                                                      for name, value in report.curves[view].items()))
    sizes = {line.summary.balanced_size for rows in report.lines.values() for line in rows}
    lines += ["", f"balanced: mean over subsets with equally many images per bin ({', '.join(map(str, sorted(sizes)))}), seeds "
                  f"{', '.join(map(str, config.balanced_seeds))}"]
    lines += [f"not computed: {TITLES.get(name, name)}: {reason}" for name, reason in table.missing.items()]
    if published and (rows := published_for(list(table.metrics))):
        lines += ["", "published by others on the 2,000 images of AFLW2000-3D (from their papers, not measured here"
                  + ("):" if len(table) == RELEASE else f"; the table above is over {len(table)} images and not comparable):")]
        lines += [f"  {row['metric']:<22}{row['method']:<30}{row['text']}" for row in rows]
    lines += ["", "configuration: " + ", ".join(f"{name}={_short(value)}" for name, value in config.to_dict().items())]
    return "\n".join(lines) + "\n"


def _grid(rows: list[Line]) -> list[str]:
    names = [TITLES.get(row.metric, row.metric) + ("" if row.kept else " (none excluded)") for row in rows]
    width = max(len(name) for name in names) + 2
    columns = [*BIN_NAMES, "mean_of_bins", "mean_all", "std_of_bins", "median", "balanced"]
    lines = [" " * width + f"{'n':>5}" + "".join(f"{column:>{17 if column in _WITH_INTERVAL else 13}}" for column in columns)]
    for name, row in zip(names, rows):
        cells, spread = [], []
        for column in columns:
            if column in _WITH_INTERVAL:
                value = row.intervals[column]
                cells.append(f"{_figure(value.figure):>17}")
                spread.append(f"{f'[{_figure(value.low)}, {_figure(value.high)}]':>17}")
            else:
                cells.append(f"{_figure(getattr(row.summary, column)):>13}")
        lines += [f"{name:<{width}}{row.summary.n:>5}" + "".join(cells), " " * (width + 5) + "".join(spread)]
    counts = rows[0].summary.counts if rows else ()
    lines.append(f"{'images per bin':<{width}}{'':>5}" + "".join(f"{count:>17}" for count in counts))
    return lines


def _figure(value: float) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def _landmark_truth(annotation: str) -> str:
    return "pt3d_68 (original)" if annotation == "original" else "re-annotated 2D points (LS3D-W)"


def _codes(table: ScoreTable) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status, code in zip(table.statuses, table.codes):
        if status != "ok":
            key = f"{status}: {code}"
            counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))


def _short(value) -> str:
    if isinstance(value, list):
        return f"[{len(value)} values]" if len(value) > 12 else "[" + " ".join(map(str, value)) + "]"
    return str(value)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if not math.isfinite(value) else float(value)
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
