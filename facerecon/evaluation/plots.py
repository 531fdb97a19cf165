"""Pictures of score tables: cumulative error curves, and errors against the yaw."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerecon.errors import BackendError
from facerecon.evaluation.report import TITLES
from facerecon.evaluation.scores import ScoreTable, is_pose
from facerecon.files import atomic_path
from facerecon.metrics.curves import ced_curve

# Distinct also in grey and for colour-blind readers (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")


def plot_ced(tables: Sequence[ScoreTable], path: str | os.PathLike[str], *, metric: str = "nme2d", over: str = "all",
             limit: float | None = None) -> Path:
    """Cumulative error distribution of one metric, one curve per table, as PNG.

    Args:
        limit: right end in percent (or degrees); by default twice the median of the worst table.

    Raises:
        BackendError: `backend_missing` without matplotlib.
    """
    figure, axes = new_figure()
    errors = [_values(table, metric, over) for table in tables]
    if limit is None:
        limit = max(2.5 * float(np.median(values)) for values in errors if values.size) if any(v.size for v in errors) else 1.0
    limit = limit or 1.0
    grid = np.linspace(0, limit, 801)
    for number, (table, values) in enumerate(zip(tables, errors)):
        if values.size:
            axes.plot(grid, 100 * ced_curve(values, grid), label=_label(table, values, metric), color=COLOURS[number % 7],
                      linestyle=DASHES[number // 7 % 4], linewidth=1.8)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 100)
    axes.set_xlabel(TITLES.get(metric, metric))
    axes.set_ylabel("images [%]")
    axes.set_title(_title(tables, over))
    axes.legend(loc="lower right", fontsize=8)
    return save_figure(figure, path)


def plot_error_by_yaw(tables: Sequence[ScoreTable], path: str | os.PathLike[str], *, metric: str = "nme2d",
                      over: str = "all", window: float = 10.0) -> Path:
    """Error of every image against its |yaw|, with a running median (over +-`window` degrees), as PNG."""
    figure, axes = new_figure()
    highest = 0.0
    for number, table in enumerate(tables):
        values = table.values(metric, over=over) * (1 if is_pose(metric) else 100)
        yaw = np.abs(table.true_yaw)
        kept = np.isfinite(values) & np.isfinite(yaw) & (yaw <= 95)
        if not kept.any():
            continue
        colour = COLOURS[number % 7]
        axes.plot(yaw[kept], values[kept], ".", color=colour, markersize=max(2, 9 - kept.sum() ** 0.25), alpha=0.35)
        grid = np.linspace(yaw[kept].min(), yaw[kept].max(), 91)
        near = [values[kept][np.abs(yaw[kept] - place) <= window] for place in grid]
        axes.plot(grid, [np.median(part) if part.size else np.nan for part in near], color=colour, linewidth=2,
                  label=_label(table, values[kept], metric))
        highest = max(highest, float(np.quantile(values[kept], 0.98)))
    for edge in (30, 60):
        axes.axvline(edge, color="0.7", linewidth=0.8)
    axes.set_xlim(0, 95)
    axes.set_ylim(0, 1.15 * highest or 1.0)
    axes.set_xlabel("|yaw| [deg]")
    axes.set_ylabel(TITLES.get(metric, metric))
    axes.set_title(_title(tables, over))
    axes.legend(loc="upper left", fontsize=8)
    return save_figure(figure, path)


def _values(table: ScoreTable, metric: str, over: str) -> np.ndarray:
    values = table.values(metric, over=over) * (1 if is_pose(metric) else 100)
    return values[np.isfinite(values)]


def _label(table: ScoreTable, values: np.ndarray, metric: str) -> str:
    name = ", ".join(str(table.context[key]) for key in ("method", "model") if table.context.get(key))
    return f"{name}: mean {values.mean():.2f}, n {len(values)}"


def _title(tables: Sequence[ScoreTable], over: str) -> str:
    titles = sorted({table.config.title for table in tables})
    data = sorted({str(table.context.get("dataset", "")) for table in tables})
    return f"{', '.join(data)}, {'misses as mean face' if over == 'all' else 'found images'}\n{', '.join(titles)}"


def new_figure():
    """An empty figure and its axes, drawn without a window system.

    Raises:
        BackendError: `backend_missing` without matplotlib.
    """
    try:
        # The object interface draws into memory: no window system, no global state.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendError("plots need matplotlib: pip install matplotlib", code="backend_missing") from error
    figure = Figure(figsize=(7.2, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(True, color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all."""
    # Without a time stamp equal tables give equal files.
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return Path(path)
