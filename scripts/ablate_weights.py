#!/usr/bin/env python3
"""What each source of the encoder's training is worth: the recipe of the weights that ship, shortened, without one source each.

    python scripts/ablate_weights.py --run RUN --faces FACES -o OUT [--steps 1200] [--only all,no-turned]

RUN is a folder of `train_weights` whose data stage is done, FACES the crop archive. Each variant is trained with the same seed
for the same number of steps and is then asked about the test faces: photos of test people turned aside, and labelled crops of
test people. Crops are cut around the true points, so that detection plays no part. OUT/report.md has the table. Killed, the
same command goes on: variants at their last checkpoint.

Processor seconds: a step 0.5, a test face 0.03.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

import numpy as np  # noqa: E402
from evaluate_weights_methods import Answer, angles_of  # noqa: E402
from evaluate_weights_scores import errors_of, subject_counts  # noqa: E402
from evaluate_weights_sets import FaceSet, real_crops, turned_photos  # noqa: E402
from stages import Interrupted, Stages, exit_status  # noqa: E402
from train_weights import RECIPE, SHARES  # noqa: E402

from facerecon.files import write_atomic  # noqa: E402
from facerecon.metrics.aggregate import BIN_NAMES, yaw_bins  # noqa: E402
from facerecon.metrics.bootstrap import bootstrap_intervals  # noqa: E402

# name -> (title, the archives' shares, changes of the recipe)
VARIANTS: dict[str, tuple[str, dict[str, float], tuple[str, ...]]] = {
    "all": ("everything", SHARES, ()),
    "no-turned": ("no photos turned aside", {"fitted": 0.64, "heads": 0.36}, ()),
    "no-heads": ("no synthetic heads", {"fitted": 0.6, "turned": 0.4}, ()),
    "no-fitted": ("no fitted photos", {"turned": 0.55, "heads": 0.45}, ()),
    "no-photometric": ("no self-supervised term (photometric)", SHARES, ("terms.photometric=0.0",)),
}
RESAMPLES = 2000


def train_variant(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Train one variant; its steps and the samples it saw."""
    import torch

    from facerecon.training import load_material, load_recipe, train

    torch.set_num_threads(options.threads)
    _, shares, changes = VARIANTS[name]
    recipe = load_recipe(RECIPE, [f"steps={options.steps}", *changes])
    sources = [f"{options.run / 'data' / archive}={share}" for archive, share in shares.items()]
    material = load_material(recipe, sources, seed=options.seed, licence="Apache-2.0")
    result = train(recipe, material, options.output / name, resume=True, seed=options.seed)
    if not result.finished:
        raise Interrupted(name)
    return {"steps": result.steps, "samples": len(material.training)}


def measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """{set: {metric: {column: [figure, low, high]}}} of a trained variant."""
    from facerecon.mofa import EncoderPredictor
    from facerecon.morphable import load_model

    predictor = EncoderPredictor(load_model("open"), options.output / name / "weights.safetensors")
    sets = (turned_photos(options.run / "test" / "turned"), real_crops(options.faces))
    return {faces.key: scores(predictor, faces, every=options.every) for faces in sets}


def scores(predictor: Any, faces: FaceSet, *, every: int) -> dict[str, Any]:
    """Intervals of the errors, by bin where yaw is known."""
    chosen = faces.faces[::every]
    rows, yaw = [], []
    for face in chosen:
        found = predictor.predict(face.photo.read(), points=face.points)
        euler = angles_of(found.parameters.pose)
        rows.append(errors_of(face, Answer(face.name, None, found.landmarks68.astype(np.float64), euler)))
        # Where nobody knows the yaw, only the mean over all is a figure.
        yaw.append(0.0 if face.euler is None else face.euler[1])
    people = {subject: number for number, subject in enumerate(dict.fromkeys(face.subject for face in chosen))}
    counts = subject_counts(np.array([people[face.subject] for face in chosen]), resamples=RESAMPLES, seed=0)
    bins, known = yaw_bins(np.array(yaw)), chosen[0].euler is not None
    columns = (*BIN_NAMES, "mean_all") if known else ("mean_all",)
    found = {}
    for metric in ("nme68", "yaw") if known else ("nme51",):
        intervals = bootstrap_intervals(np.array([row[metric] for row in rows]), bins, counts)
        found[metric] = {column: [round(getattr(intervals[column], part), 4) for part in ("figure", "low", "high")]
                         for column in columns}
    return {"faces": len(chosen), "errors": found}


def report(options: argparse.Namespace, names: list[str], measured: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown."""
    turned, real = (measured[names[0]][key] for key in ("profiled", "real"))
    lines = [f"{options.steps} steps each, seed {options.seed}; {turned['faces']} turned photos and {real['faces']} labelled "
             "crops of test people; 95 % intervals over people.", "",
             "| training | NME 0-30 | 30-60 | 60-90 | yaw error 60-90, degrees | real crops, 51 inner points |",
             "|---|---|---|---|---|---|"]
    for name in names:
        found = measured[name]
        cells = [_cell(found["profiled"]["errors"]["nme68"][column]) for column in BIN_NAMES]
        cells += [_cell(found["profiled"]["errors"]["yaw"][BIN_NAMES[-1]]), _cell(found["real"]["errors"]["nme51"]["mean_all"])]
        lines.append(f"| {VARIANTS[name][0]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(figures: list[float]) -> str:
    return "{:.2f} ({:.2f}-{:.2f})".format(*figures)


def run(options: argparse.Namespace) -> None:
    """All variants that were asked for, then the table of those that are done."""
    stages = Stages(options.output)
    measured = {}
    for name in options.only:
        told = {"variant": name, "steps": options.steps, "seed": options.seed}
        stages.run(f"train-{name}", told, lambda: train_variant(options, name))
        measured[name] = stages.run(f"measure-{name}", {**told, "every": options.every}, lambda: measure(options, name))
        text = report(options, list(measured), measured)
        write_atomic(options.output / "report.md", text)
    print(text, end="")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ablate_weights", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="output folder of train_weights")
    parser.add_argument("--faces", type=Path, required=True, help="crop archive with labels and subjects")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--only", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)} (default: all)")
    parser.add_argument("--every", type=int, default=1, help="of the test faces, every n-th")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in VARIANTS]
    if unknown:
        parser.error(f"--only: wanted some of {', '.join(VARIANTS)}, got {', '.join(unknown)}")
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
