#!/usr/bin/env python3
"""Time the methods fit, encoder and auto on photos, and count the steps of fits that begin cold and at an encoder's answer.

    python scripts/bench_encoder.py run/weights.safetensors                    # assets/portraits
    python scripts/bench_encoder.py run/weights.safetensors FOLDER --faces all
    python scripts/bench_encoder.py run/weights.safetensors --networks         # the network plain, compiled, and as ONNX

First table: medians over photos, of the largest face, warm; `CPU ms` is the time of all threads together, which other programs
on the machine disturb less. A photo is decoded beforehand; export and texture are not part of the sums. Second table, for each
photo: accepted steps of all stages, and energies by one measure, that of the cold fit with its covered pixels left out.
`cold to there` is after how many steps the cold fit has reached the warm one's energy, counted in whole rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from facerecon import FaceReconstructor
from facerecon.data import load_image
from facerecon.errors import BackendError
from facerecon.fitting import FitResult, refine_photometric
from facerecon.fitting.occlusion import covered_pixels
from facerecon.fitting.start import view_of
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.mofa import load_encoder
from facerecon.morphable import FaceParameters, load_model
from facerecon.onnx_export import export_onnx
from facerecon.onnx_export.graphs import INPUT
from facerecon.pipeline.methods import Clock

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
WANTED_MS = 80.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "assets" / "portraits")
    parser.add_argument("--pncc-weights", type=Path, default=None)
    parser.add_argument("--model", default="open")
    parser.add_argument("--faces", default="largest", help="'largest' (default), or 'all' to time the thorough detection")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--count", type=int, default=16, help="most photos (default 16)")
    parser.add_argument("--networks", action="store_true", help="time the network alone, in several ways")
    options = parser.parse_args()
    photos = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)[:options.count]
    if not photos:
        print(f"bench_encoder: no photos in {options.folder}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    if options.networks:
        return bench_networks(options)
    model = load_model(options.model)
    pixels = [load_image(path).pixels for path in photos]
    print(f"{len(photos)} photos, torch {torch.__version__} with {options.threads} threads\n")
    made = {}
    for method in ("encoder", "auto", "fit"):
        given = {} if method == "fit" else {"weights": options.weights, "pncc_weights": options.pncc_weights}
        made[method] = FaceReconstructor(model, method=method, texture="none", faces=options.faces, **given)
    bench_stages(made, pixels, options.repeats)
    print()
    bench_steps(made["auto"], photos, pixels)
    return 0


def bench_stages(made: dict[str, FaceReconstructor], pixels: list[np.ndarray], repeats: int) -> None:
    """Wall and CPU medians of each method, and its stages."""
    print(f"{'method':9}{'ms':>8}{'CPU ms':>8}   stages (ms)")
    for method, reconstruct in made.items():
        walls, cpus, laps = [], [], {}
        for image in pixels:
            reconstruct(image)
            for _ in range(repeats if method == "encoder" else 1):
                wall, cpu = time.perf_counter(), time.process_time()
                face = reconstruct(image)[0]
                walls.append(1e3 * (time.perf_counter() - wall))
                cpus.append(1e3 * (time.process_time() - cpu))
                for name, value in face.timings_ms.items():
                    laps.setdefault(name, []).append(value)
        stages = "  ".join(f"{name} {statistics.median(values):.1f}" for name, values in laps.items())
        mark = f"   wanted at most {WANTED_MS:g}" if method == "encoder" else ""
        print(f"{method:9}{statistics.median(walls):8.1f}{statistics.median(cpus):8.1f}   {stages}{mark}")


def bench_steps(auto: FaceReconstructor, photos: list[Path], pixels: list[np.ndarray]) -> None:
    """Steps and energies of both fits."""
    print(f"{'photo':24}{'cold':>6}{'warm':>6}{'cold to there':>15}{'E cold':>9}{'E warm / E cold':>17}"
          "  began from the encoder")
    rows = []
    for path, image in zip(photos, pixels):
        found = [face for face in auto._find(image, None) if getattr(face, "points478", None) is not None]
        if not found:
            print(f"{path.name:24}  no face with dense landmarks")
            continue
        warm = auto._estimate(image, found[0], Clock({}))
        rows.append(row := steps_of(auto, image, found[0].points478, warm))
        print(f"{path.name:24}{row[0]:6d}{row[1]:6d}{row[2]:15d}{row[3]:9.2f}{row[4]:17.4f}  {' '.join(warm.warm) or '-'}")
    used = [row for row in rows if row[5]]
    print(f"\nbegan from the encoder: {len(used)} of {len(rows)}")
    for name, chosen in (("all", rows), ("of these", used)):
        if chosen:
            cold, warm, there, _, energy, _ = (np.array(column, float) for column in zip(*chosen))
            print(f"{name}: steps warm / cold {np.median(warm / cold):.2f} (wanted at most 0.5), warm / cold to there "
                  f"{np.median(warm / there):.2f}; energy warm / cold {np.median(energy):.4f}, at most {energy.max():.4f}")


def steps_of(auto: FaceReconstructor, image: np.ndarray, points: np.ndarray, warm: FitResult
             ) -> tuple[int, int, int, float, float, bool]:
    """Cold and warm steps, cold steps until the warm energy, the cold energy and the ratio, whether the start was used."""
    from facerecon.fitting import fit_landmarks

    start = fit_landmarks(auto.model, points)
    fits = [refine_photometric(auto.model, image, start, rounds=rounds) for rounds in (1, 2, 3, 4)]
    problem = SynthesisProblem(auto.model, image, start, size=176)
    state = state_of(problem, fits[-1].parameters)
    _, render, _ = problem.value(state)
    skin = problem.pixel_weight(render.fragments, render.projected) > 0
    problem.covered = covered_pixels(render.image[0], problem.photo, skin)
    cold, *_ = problem.value(state)
    energy, *_ = problem.value(state_of(problem, warm.parameters))
    there = next((fit.iterations for fit in fits if problem.value(state_of(problem, fit.parameters))[0] <= energy),
                 fits[-1].iterations)
    return fits[-1].iterations, warm.iterations, there, cold, energy / cold, bool(warm.warm)


def state_of(problem: SynthesisProblem, parameters: FaceParameters):
    """Parameters as a point of the search."""
    return problem.start.replace(
        coefficients=torch.cat([parameters.identity, parameters.expression]).double().numpy(),
        view=view_of(problem.crop.to_crop(parameters.pose)), albedo=parameters.albedo.double().numpy(),
        light=parameters.illumination.double().numpy())


def bench_networks(options: argparse.Namespace) -> int:
    """The network on one crop: as it runs, channels first, compiled, and by ONNX Runtime where it is installed."""
    encoder = load_encoder(options.weights).encoder
    crop = torch.rand(1, encoder.channels, encoder.image_size, encoder.image_size)
    last = encoder.to(memory_format=torch.channels_last)
    ways = {"channels last (as it runs)": lambda: last(crop.to(memory_format=torch.channels_last))}
    first = load_encoder(options.weights).encoder
    ways["channels first"] = lambda: first(crop)
    compiled = torch.compile(load_encoder(options.weights).encoder)
    ways["torch.compile"] = lambda: compiled(crop)
    try:
        ways["ONNX Runtime"] = onnx_way(options, crop)
    except BackendError as error:
        print(f"ONNX Runtime: not tried ({error})")
    print(f"ResNet-{encoder.depth}, {encoder.image_size} px, {options.threads} threads\n{'network':28}{'ms':>8}{'CPU ms':>8}")
    for name, call in ways.items():
        walls, cpus = [], []
        with torch.inference_mode():
            try:
                call()
            # A compiler that is not there, or refuses: the other rows count all the same.
            except Exception as error:
                print(f"{name:28}  {type(error).__name__}: {str(error).strip().splitlines()[0]}")
                continue
            for _ in range(40):
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                walls.append(1e3 * (time.perf_counter() - wall))
                cpus.append(1e3 * (time.process_time() - cpu))
        print(f"{name:28}{statistics.median(walls):8.1f}{statistics.median(cpus):8.1f}")
    return 0


def onnx_way(options: argparse.Namespace, crop: torch.Tensor) -> Callable[[], list[np.ndarray]]:
    """The network as `facerecon models export` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(options.weights, Path(folder) / "encoder.onnx").path
        import onnxruntime

        setting = onnxruntime.SessionOptions()
        setting.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(file.read_bytes(), setting, providers=["CPUExecutionProvider"])
    given = {INPUT: crop.numpy()}
    return lambda: session.run(None, given)


if __name__ == "__main__":
    sys.exit(main())
