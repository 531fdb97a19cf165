#!/usr/bin/env python3
"""Time the acquisition functions on heatmaps of 68 landmarks, and print one table.

    python scripts/bench_acquisition.py
    python scripts/bench_acquisition.py --images 64 --batch 1 --repeats 50

All are whole-array operations, on the same heatmaps, one thread. Each is called once before the clock starts; the rounds then
alternate between the functions, so that a slow moment of the machine meets all of them; ratios are of medians.

NNM sums a window around each predicted landmark (equation 3.1 of Dornier's thesis): once with the landmarks that prediction
found, and once with the search for them, which reads every pixel and is as fast as memory. Spatial entropy is timed as the
library has it (a few maps at a time, in the cache) and as one expression over the batch, which is what one writes first. The
thesis (section 3.4.2.1) has 0.042 s over 0.012 s = 3.5. Exit status 1 when NNM is not 3.5 times as fast as the faster entropy.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facerecon.alignment import encode_heatmaps, k_center_greedy, nnm, random_order, spatial_entropy
from facerecon.alignment.heatmaps import brightest_pixels

POINTS, SIDE, LATENT = 68, 128, 99
WANTED_RATIO = 3.5
NOISE = 0.02
AT, SEARCHED, ENTROPY, PLAIN = "NNM", "NNM and search of the peaks", "spatial entropy", "spatial entropy, one expression"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32, help="photos that are scored in one round (default 32)")
    parser.add_argument("--batch", type=int, default=8, help="photos of one call (default 8)")
    parser.add_argument("--repeats", type=int, default=15, help="timed rounds (default 15)")
    parser.add_argument("--pool", type=int, default=2000, help="photos for k-center and random (default 2000)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batches = heatmaps(options.images).split(options.batch)
    peaks = [brightest_pixels(batch) for batch in batches]
    features = np.random.default_rng(0).normal(size=(options.pool, LATENT))
    calls: dict[str, Callable[[], object]] = {
        AT: lambda: [nnm(batch, peaks=found) for batch, found in zip(batches, peaks)],
        SEARCHED: lambda: [nnm(batch) for batch in batches],
        ENTROPY: lambda: [spatial_entropy(batch) for batch in batches],
        PLAIN: lambda: [plain_entropy(batch) for batch in batches],
        "k-center greedy, 50 chosen": lambda: k_center_greedy(features, np.arange(10), 50),
        "random order": lambda: random_order(options.pool, seed=0),
    }
    times = timed(calls, options.repeats)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {options.images} photos of {POINTS} x {SIDE} x "
          f"{SIDE} in batches of {options.batch}, {options.repeats} rounds; k-center and random: {options.pool} photos\n")
    print(f"{'function':34} {'median ms':>10} {'fastest':>9} {'slowest':>9} {'ms / photo':>11}")
    for place, (name, values) in enumerate(times.items()):
        median = statistics.median(values)
        photos = options.images if place < 4 else options.pool
        print(f"{name:34} {median:10.3f} {min(values):9.3f} {max(values):9.3f} {median / photos:11.4f}")
    medians = {name: statistics.median(values) for name, values in times.items()}
    print()
    for slow in (ENTROPY, PLAIN):
        for fast in (AT, SEARCHED):
            print(f"{slow} / {fast}: {medians[slow] / medians[fast]:.1f}")
    ratio = min(medians[ENTROPY], medians[PLAIN]) / medians[AT]
    print(f"\nwanted at least {WANTED_RATIO}: {ratio:.1f} {'ok' if ratio >= WANTED_RATIO else 'NOT REACHED'}")
    return 0 if ratio >= WANTED_RATIO else 1


def plain_entropy(maps: torch.Tensor) -> torch.Tensor:
    """`spatial_entropy` as one expression over the batch."""
    positive = maps.flatten(2).clamp_min(torch.finfo(maps.dtype).tiny)
    mass = positive.sum(2)
    return (mass.log() - positive.log().mul_(positive).sum(2) / mass).mean(1)


def heatmaps(images: int) -> torch.Tensor:
    """(N, 68, 128, 128) float32 like a trained network's: peaks of different height over a little noise around 0."""
    generator = torch.Generator().manual_seed(0)
    points = 8 + 112 * torch.rand(images, POINTS, 2, generator=generator)
    peaks = encode_heatmaps(points, image_size=SIDE) * torch.rand(images, POINTS, 1, 1, generator=generator)
    return peaks + NOISE * torch.randn(peaks.shape, generator=generator)


def timed(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after one call of each that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
        for _ in range(repeats):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    sys.exit(main())
