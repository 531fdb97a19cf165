#!/usr/bin/env python3
"""Fit every portrait of a folder and print what was reached, with times; then the renderer's table.

    ./scripts/bench_fit                        # assets/portraits
    ./scripts/bench_fit FOLDER --no-render

One face a photo (the largest). Distances are percent of sqrt(w h) of the landmarks' bounding box; colour differences are root
mean square over pixels and channels, RGB in [0, 1], on visible skin (see FitResult). Times are medians after a warm-up, and
mean something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facerecon.data import load_image
from facerecon.detection import FaceFinder
from facerecon.fitting import FitResult, fit_landmarks, refine_photometric
from facerecon.morphable import MorphableModel, load_model

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Wanted at most: landmark distance in percent, colour difference, and milliseconds of the two stages.
NME_PERCENT, RMSE, LANDMARK_MS, PHOTOMETRIC_MS = 1.2, 0.08, 50.0, 1500.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "assets" / "portraits")
    parser.add_argument("--model", default="open", help="face model (default: the open one)")
    parser.add_argument("--repeats", type=int, default=3, help="timed fits of each photo (default 3)")
    parser.add_argument("--no-render", action="store_true", help="leave out the renderer's table")
    options = parser.parse_args()
    photos = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        print(f"bench_fit: no photos in {options.folder}", file=sys.stderr)
        return 2
    model = load_model(options.model)
    bench_fits(model, photos, options.repeats)
    if not options.no_render:
        print()
        import bench_render

        sys.argv = ["bench_render.py"]
        return bench_render.main()
    return 0


def bench_fits(model: MorphableModel, photos: list[Path], repeats: int) -> None:
    """Print one line for each photo and the summary."""
    print(f"model {model.name}, {len(photos)} photos, torch {torch.__version__} with {torch.get_num_threads()} threads\n")
    print("photo                     landmarks %   after photo %   rmse skin  (covered   rmse all)   |id| max  sum expr  "
          "albedo max     ms   photo ms  steps  flags")
    before, after, fit_ms, photo_ms = [], [], [], []
    with FaceFinder() as finder:
        for index, path in enumerate(photos):
            pixels = load_image(path).pixels
            faces = [face for face in finder.find(pixels) if face.points478 is not None]
            if not faces:
                print(f"{path.name:24}  no face with dense landmarks")
                continue
            points, size = faces[0].points478, pixels.shape[:2]
            if index == 0:
                refine_photometric(model, pixels, fit_landmarks(model, points, image_size=size))
            first, first_ms = timed(lambda: fit_landmarks(model, points, image_size=size), repeats)  # noqa: B023
            second, second_ms = timed(lambda: refine_photometric(model, pixels, first), repeats)  # noqa: B023
            before.append(first)
            after.append(second)
            fit_ms.append(first_ms)
            photo_ms.append(second_ms)
            print_line(path.name, first, second, first_ms, second_ms)
    rmse = [fit.photometric_rmse for fit in after if fit.photometric_rmse is not None]
    print()
    summary("mean landmark distance, landmark fit (%)", np.mean([fit.landmark_nme_percent for fit in before]), NME_PERCENT)
    summary("mean landmark distance, with the photo (%)", np.mean([fit.landmark_nme_percent for fit in after]), NME_PERCENT)
    summary("largest of them (%)", np.max([fit.landmark_nme_percent for fit in after]), NME_PERCENT)
    summary("mean colour difference on visible skin", np.mean(rmse), RMSE)
    summary("photos above 0.08", sum(value > RMSE for value in rmse), 0)
    summary("median landmark fit (ms)", statistics.median(fit_ms), LANDMARK_MS)
    summary("median photometric stage (ms)", statistics.median(photo_ms), PHOTOMETRIC_MS)


def timed(call, repeats: int) -> tuple[FitResult, float]:
    """The result, and the median of the times in ms."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(1e3 * (time.perf_counter() - start))
    return result, statistics.median(times)


def print_line(name: str, first: FitResult, second: FitResult, first_ms: float, second_ms: float) -> None:
    parameters = second.parameters
    colours = "   (photometric stage skipped)    " if second.photometric_rmse is None else (
        f"{second.photometric_rmse:10.4f}  {second.covered_share:8.1%} {second.photometric_rmse_all:11.4f}")
    print(f"{name:24}  {first.landmark_nme_percent:11.3f}  {second.landmark_nme_percent:14.3f}  {colours}  "
          f"{float(parameters.identity.abs().max()):10.2f}  {float(parameters.expression.sum()):8.2f}  "
          f"{float(parameters.albedo.abs().max()):10.2f}  {first_ms:6.1f} {second_ms:10.1f}  {second.iterations:5d}  "
          f"{' '.join(second.flags)}")


def summary(text: str, value: float, wanted: float) -> None:
    print(f"{text:45} {value:9.4g}   wanted at most {wanted:<6g} {'ok' if value <= wanted else 'NOT REACHED'}")


if __name__ == "__main__":
    sys.exit(main())
