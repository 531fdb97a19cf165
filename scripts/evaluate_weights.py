#!/usr/bin/env python3
"""Measure encoder weights, and the whole pipeline with them, on held-out faces, by yaw.

    python scripts/evaluate_weights.py --faces FACES --profiled TURNED --aflw AFLW2000 -o OUT [--workers 2]
    python scripts/evaluate_weights.py --faces FACES -o OUT --weights run/weights.safetensors --every 10
    python scripts/evaluate_weights.py --faces FACES -o OUT --quick

Methods: (a) MediaPipe's own points mapped to 68; (b) the landmarks-only fit; (c) the encoder alone; (d) encoder and fit, the
whole pipeline; (e) the landmark network, and (f) the pose and mean face that explain the map of the PNCC network. Sets, each optional, at least one:

- `--faces`: a crop archive; the labelled crops of its test subjects (`facerecon.data.splits.split_of`), each as a whole photo;
- `--profiled`: an archive of `facerecon synthesise --profile`; its test subjects;
- `--aflw`: AFLW2000-3D, or some of its images.

OUT gets `report.md` (faces found, errors by bin with intervals, paired differences, times, and what is asked of weights that
ship), `faces.csv` (a line per face and method) and `answers/`. Killed at any moment, the same command goes on. Answers are kept
by method and weights: other weights, more faces and other methods can be asked about in the same OUT, and nothing is done
twice. Answers of other versions of the code are not told apart, unless the package's number changed: take another OUT.

Processor seconds per face on a busy core: (a) 0.15, (b) 0.2, (c) 0.15, (d) 1, (e) 0.3, (f) 0.5, and 0.05 for the yaw of a crop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from evaluate_weights_answers import answers_of  # noqa: E402
from evaluate_weights_methods import LABELS, TITLES, MethodSpec, method_specs  # noqa: E402
from evaluate_weights_report import faces_csv, markdown  # noqa: E402
from evaluate_weights_scores import Scored, score_set  # noqa: E402
from evaluate_weights_sets import FaceSet, open_sets  # noqa: E402
from stages import exit_status  # noqa: E402

from facerecon.checks import check_choice, check_range  # noqa: E402
from facerecon.errors import ArgumentError  # noqa: E402
from facerecon.files import write_atomic  # noqa: E402

# Of --quick: enough to see every part work, and nothing more.
QUICK_FACES, QUICK_RESAMPLES = 4, 50


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The checked options of a command line."""
    parser = argparse.ArgumentParser(prog="evaluate_weights", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="crop archive with labels and subjects")
    parser.add_argument("--profiled", type=Path, help="archive of facerecon synthesise --profile")
    parser.add_argument("--aflw", type=Path, help="AFLW2000-3D, or some of its images")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="of the encoder; default: those that ship")
    parser.add_argument("--pncc-weights", type=Path, help="of the PNCC network, for an encoder with PNCC input")
    parser.add_argument("--methods", default=",".join(TITLES), help="of mediapipe,fit,encoder,auto,landmarks,pncc (default: all)")
    parser.add_argument("--every", type=int, default=1, help="take every n-th face of each set")
    parser.add_argument("--limit", type=int, default=0, help="then the first so many of each set; 0: all")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 works in this one")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default 1)")
    parser.add_argument("--resamples", type=int, default=2000, help="of the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_FACES} faces of each set and {QUICK_RESAMPLES} resamples")
    options = parser.parse_args(arguments)
    if options.faces is None and options.profiled is None and options.aflw is None:
        raise ArgumentError("wanted at least one of --faces, --profiled and --aflw")
    chosen = {check_choice("--methods", key, tuple(TITLES)) for key in options.methods.split(",")}
    options.methods = [key for key in TITLES if key in chosen]
    for name, least in (("every", 1), ("limit", 0), ("workers", 0), ("threads", 1), ("resamples", 1), ("seed", 0)):
        check_range(f"--{name}", getattr(options, name), least)
    if options.quick:
        options.limit, options.resamples = options.limit or QUICK_FACES, min(options.resamples, QUICK_RESAMPLES)
    return options


def run(options: argparse.Namespace) -> str:
    """All sets and methods; the text of `report.md`, which is also written."""
    specs = method_specs(options.methods, weights=options.weights, pncc_weights=options.pncc_weights, threads=options.threads)
    sets = open_sets(faces=options.faces, profiled=options.profiled, aflw=options.aflw, every=options.every,
                     limit=options.limit)
    scored = [score(one, specs, options) for one in sets]
    text = markdown(scored, about=_about(specs), resamples=options.resamples)
    write_atomic(options.output / "faces.csv", faces_csv(scored))
    write_atomic(options.output / "report.md", text)
    return text


def score(faces: FaceSet, specs: list[MethodSpec], options: argparse.Namespace) -> Scored:
    """One set by all methods."""
    folder = options.output / "answers"
    labels = None
    if any(face.euler is None for face in faces.faces):
        labels = answers_of(faces, MethodSpec(LABELS), folder, workers=options.workers)
    answers = {spec.key: answers_of(faces, spec, folder, workers=options.workers) for spec in specs}
    return score_set(faces, answers, labels=labels, resamples=options.resamples, seed=options.seed)


def _about(specs: list[MethodSpec]) -> str:
    # A path is this machine's; the hash says which file it is.
    files = {f"{name.replace('_', ' ')} {value[:8]}": None for spec in specs for name, value in spec.files().items()}
    methods = ", ".join(TITLES[spec.key] for spec in specs)
    return f"Methods: {methods}." + (f" Files by the first digits of their SHA-256: {', '.join(files)}." if files else "")


def main(arguments: list[str] | None = None) -> int:
    return exit_status(lambda: print(run(parse(arguments)), end=""))


if __name__ == "__main__":
    # Workers start by importing this file.
    sys.exit(main())
