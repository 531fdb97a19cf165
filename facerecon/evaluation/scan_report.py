"""Files of a scan evaluation: text, JSON, coloured scan, cumulative curve."""

from __future__ import annotations

import json
import os
from pathlib import Path

from facerecon.evaluation.scan import ScanResult
from facerecon.files import write_atomic


def write_scan_result(result: ScanResult, folder: str | os.PathLike[str], *, limit_mm: float = 5.0, plot: bool = True) -> dict[str, Path]:
    """Write scan.txt, scan.json, scan_error.ply (the scan in the mesh's frame, mm, blue at 0 to red at `limit_mm`) and, unless
    `plot` is False, scan_curve.png.

    Raises:
        BackendError: `backend_missing` when a plot is wanted without matplotlib.
    """
    from facerecon.export.ply import write_ply

    folder = Path(folder)
    written = {"text": write_atomic(folder / "scan.txt", result.to_text()),
               "json": write_atomic(folder / "scan.json", json.dumps(result.to_dict(), indent=1) + "\n")}
    written["ply"] = folder / "scan_error.ply"
    write_ply(written["ply"], result.scan_vertices, result.scan_faces, colours=result.colours(limit_mm),
              comments=(f"distance to the mesh: blue 0 mm, white {limit_mm / 2:g} mm, red {limit_mm:g} mm and more",))
    if plot:
        written["plot"] = _plot(result, folder / "scan_curve.png")
    return written


def _plot(result: ScanResult, path: Path) -> Path:
    from facerecon.evaluation.plots import COLOURS, new_figure, save_figure

    figure, axes = new_figure()
    thresholds, share = result.curve()
    axes.plot(thresholds, share, color=COLOURS[0], linewidth=1.8)
    values = result.statistics()
    axes.set_xlim(0, thresholds[-1])
    axes.set_ylim(0, 100)
    axes.set_xlabel("distance from the scan to the mesh [mm]")
    axes.set_ylabel("points of the scan [%]")
    axes.set_title(f"{result.facts['mesh']} against {result.facts['scan']}: mean {values['mean']:.2f} mm, "
                   f"median {values['median']:.2f} mm")
    return save_figure(figure, path)
