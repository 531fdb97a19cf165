"""Time and memory of scoring dense predictions of the size of the whole benchmark.

    python scripts/bench_score.py [--images 2000] [--folder DIR]

Writes 2,000 predictions of 53,215 vertices (1.3 GB, random faces of a random basis of the real size, 199 + 29 coefficients) into
a folder that is removed afterwards, then scores them in a fresh process under the preset `sadrnet` over all vertices and over a
region of 43,867 mixtures of three vertices, and prints wall time and peak memory. Wanted: at most 60 s on 2 cores, under 2 GB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facerecon.evaluation.placement import MeanFace  # noqa: E402
from facerecon.evaluation.prediction import Prediction  # noqa: E402
from facerecon.evaluation.predictions import PredictionStore  # noqa: E402
from facerecon.evaluation.protocol import preset  # noqa: E402
from facerecon.evaluation.regions import Region, load_region  # noqa: E402
from facerecon.evaluation.truth import DenseTruth, FaceTruth  # noqa: E402
from facerecon.metrics.pose import CAMERA_FLIP, rotation_from_euler_deg  # noqa: E402

VERTICES, SHAPE, EXPRESSION = 53215, 199, 29


def make_truth(images: int) -> tuple[DenseTruth, list[FaceTruth]]:
    """A head-sized cloud with a random basis, and random faces of it."""
    generator = np.random.default_rng(0)
    mean = generator.normal(size=(VERTICES, 3)) * [40, 50, 30]
    basis = generator.standard_normal((SHAPE + EXPRESSION, VERTICES, 3), dtype=np.float32)
    dense = DenseTruth(mean=mean, identity=basis[:SHAPE] * 0.2, expression=basis[SHAPE:] * 0.2,
                       keypoints=np.arange(68) * 700, title="random, 199 + 29")
    truths = []
    for index in range(images):
        euler = generator.uniform(-60, 60, 3)
        truths.append(FaceTruth(
            name=f"image{index:05d}", image_size=(450, 450), landmarks68=np.zeros((68, 3)), euler_deg=euler,
            rotation=CAMERA_FLIP[:, None] * rotation_from_euler_deg(euler), shape=generator.normal(size=SHAPE),
            expression=generator.normal(size=EXPRESSION), translation=np.array([225.0, 225.0, 0.0]), scale=1.3e-3))
    return dense, truths




def write(folder: Path, images: int) -> None:
    """Predictions: the truth with noise of about 2 px."""
    dense, truths = make_truth(images)
    store = PredictionStore.create(folder / "predictions", {"topology": "bfm53215", "method": "noise"},
                                   [truth.name for truth in truths])
    generator = np.random.default_rng(1)
    landmarks = []
    for index, truth in enumerate(truths):
        vertices = dense.vertices([truth])[0]
        landmarks.append(vertices[dense.keypoints])
        noisy = vertices + generator.normal(size=(1, 3)) + generator.standard_normal(vertices.shape, dtype=np.float32)
        # No need to reach the disk for a timing: the plain write spares the wait for it.
        from facerecon.evaluation.prediction import encode_prediction

        store.item_path(index).write_bytes(encode_prediction(Prediction(
            name=truth.name, landmarks68=noisy[dense.keypoints], vertices=noisy, rotation=truth.rotation)))
    np.save(folder / "landmarks.npy", np.stack(landmarks))


def run(folder: Path, images: int, region_name: str) -> None:
    """Score in this process; print wall time and peak memory."""
    from facerecon.evaluation import score as scoring_pass
    from facerecon.evaluation.report import build_report

    dense, truths = make_truth(images)
    landmarks = np.load(folder / "landmarks.npy")
    truths = [FaceTruth(**{**truth.__dict__, "landmarks68": points}) for truth, points in zip(truths, landmarks)]
    if region_name == "mixtures":
        generator = np.random.default_rng(2)
        weights = generator.dirichlet(np.ones(3), 43867)
        scoring_pass.load_region = lambda name, files: Region("43,867 mixtures", generator.integers(0, VERTICES, (43867, 3)), weights)
    else:
        assert len(load_region("full53215")) == VERTICES
    start, processor = time.perf_counter(), time.process_time()
    store = PredictionStore.open(folder / "predictions")
    table = scoring_pass.score(store, truths, preset("sadrnet", region="full53215"), dense=dense,
                               sparse_miss=MeanFace(dense.mean[dense.keypoints]), log=folder / f"{region_name}.jsonl")
    scored = time.perf_counter()
    report = build_report(table)
    report.to_text()
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{region_name:<12}{images:>7} images  scoring {scored - start:6.1f} s  report and intervals {end - scored:5.1f} s  "
          f"together {end - start:6.1f} s ({time.process_time() - processor:.1f} s of processor time)  peak memory {peak:5.2f} GB  dense2d {100 * np.nanmean(table.metrics['dense2d']):.3f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where to write; default: the temporary folder of the system")
    parser.add_argument("--run", choices=("full53215", "mixtures"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.folder, arguments.images, arguments.run)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        start = time.perf_counter()
        write(Path(folder), arguments.images)
        print(f"wrote {arguments.images} predictions in {time.perf_counter() - start:.0f} s")
        for region in ("full53215", "mixtures"):
            subprocess.run([sys.executable, __file__, "--folder", folder, "--images", str(arguments.images), "--run", region],
                           check=True)


if __name__ == "__main__":
    main()
