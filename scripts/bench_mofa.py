#!/usr/bin/env python3
"""Time MoFA: one training step's render and losses with its parts, and the encoder on one face.

    python scripts/bench_mofa.py                       # batch 16 at 128 px, the open model's face, 1 and 2 threads
    python scripts/bench_mofa.py --region all          # the whole head
    python scripts/bench_mofa.py --device cuda         # the pytorch3d back end on a GPU

Medians of repeated calls; the first call, which compiles or loads, is left out. `CPU ms` is the time of all threads together,
which other programs on the machine disturb less. Nothing is trained and no weights are needed.
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

import facerecon
from facerecon.geometry import vertex_normals
from facerecon.mofa import (
    CodeLayout, EncoderFacts, EncoderFile, EncoderPredictor, FaceDecoder, FaceEncoder, MofaTargets, MofaTerms, read_code,
    total_loss)
from facerecon.render import interpolate, rasterize, shade


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128, help="side of the crops in pixels (default 128)")
    parser.add_argument("--region", default="face", help="mask of the model that is drawn (default face)")
    parser.add_argument("--camera", choices=("orthographic", "perspective"), default="orthographic")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", default="1,2", help="numbers of threads to time with (default 1,2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()

    model = facerecon.load_model("open")
    layout = CodeLayout.of(model, camera=options.camera)
    decoder = FaceDecoder(model, layout, image_size=options.size, region=options.region).to(options.device)
    print(f"open model, {len(model.mean):,} vertices; {options.region}: {len(decoder.vertex_index):,} vertices, "
          f"{len(decoder.faces):,} triangles; batch {options.batch} at {options.size} px on {options.device}; "
          f"torch {torch.__version__}")
    for threads in (int(part) for part in options.threads.split(",")):
        torch.set_num_threads(threads)
        print(f"\n{f'{threads} thread(s)':<44}{'median ms':>11}{'best ms':>10}{'CPU ms':>10}")
        bench_step(decoder, options)
        if options.device == "cpu":
            bench_encoder(model, layout, options)
    return 0


def bench_step(decoder: FaceDecoder, options: argparse.Namespace) -> None:
    """The whole step, then what it consists of."""
    raw, targets = batch_of(decoder, options)
    terms = MofaTerms(albedo_symmetry=1.0, parameters=1.0, vertices=1.0)

    def step(used: MofaTerms, backward: bool = True) -> None:
        start = raw.detach().clone().requires_grad_(backward)
        with torch.set_grad_enabled(backward):
            code = read_code(start, decoder.layout, image_size=options.size)
            total, _ = total_loss(code, decoder(code), targets, decoder, terms=used)
        if backward:
            total.backward()

    report("render + MoFA's losses, forward + backward", lambda: step(MofaTerms()), options)
    report("render + all losses, forward + backward", lambda: step(terms), options)
    report("render + MoFA's losses, forward alone", lambda: step(MofaTerms(), backward=False), options)
    with torch.no_grad():
        code = read_code(raw, decoder.layout, image_size=options.size)
        drawn = decoder(code)
        side = (options.size, options.size)
        fragments = rasterize(drawn.projected, decoder.faces, side, perspective=decoder.layout.perspective, cull_back=True)
        normals = vertex_normals(drawn.vertices, decoder.faces)
        parts: dict[str, Callable[[], object]] = {
            "geometry": lambda: decoder.geometry(code),
            "normals": lambda: vertex_normals(drawn.vertices, decoder.faces),
            "shading": lambda: shade(drawn.albedo, code.camera.light_frame(normals), code.illumination),
            "rasterising": lambda: rasterize(drawn.projected, decoder.faces, side, perspective=decoder.layout.perspective,
                                             cull_back=True),
            "interpolation": lambda: interpolate(fragments, drawn.albedo, decoder.faces),
        }
        for name, call in parts.items():
            report(f"  of it, forward: {name}", call, options)


def batch_of(decoder: FaceDecoder, options: argparse.Namespace) -> tuple[torch.Tensor, MofaTargets]:
    """Raw codes of random faces, and random targets for all terms."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(options.batch, decoder.layout.size, generator=generator) * 0.3
    truth = read_code(raw * 0.9, decoder.layout, image_size=options.size).to(options.device)
    images = torch.rand(options.batch, options.size, options.size, 3, generator=generator).to(options.device)
    with torch.no_grad():
        points = decoder.landmarks(truth) + 1
    return raw.to(options.device), MofaTargets(images, points, torch.ones_like(points[..., 0]), truth=truth)


def bench_encoder(model: facerecon.morphable.MorphableModel, layout: CodeLayout, options: argparse.Namespace) -> None:
    """One face of a photo of 12 megapixels: crop, network and parameters."""
    photo = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    for depth, channels, size in ((18, 3, 128), (18, 6, 128), (50, 3, 224)):
        encoder = FaceEncoder(layout=layout, depth=depth, channels=channels, image_size=size)
        predictor = EncoderPredictor(model, EncoderFile(encoder, EncoderFacts.of(model)))
        code = np.zeros((128, 128, 3), np.float32) if channels == 6 else None
        crops = np.zeros((1, size, size, 3), np.uint8)
        name = f"ResNet-{depth}, {size} px, {channels} channels"
        report(f"{name}: photo to parameters", lambda: predictor.predict(photo, (1500, 1000, 2300, 1900), pncc=code), options)
        codes = None if code is None else code[None]
        report(f"{name}: the network", lambda: predictor.predict_crops(crops, pncc=codes), options)


def report(name: str, call: Callable[[], object], options: argparse.Namespace) -> None:
    """Print one row."""
    cuda = options.device == "cuda"
    call()
    walls, cpus = [], []
    for _ in range(options.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        if cuda:
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    print(f"{name:<44}{statistics.median(walls) * 1e3:>11.1f}{min(walls) * 1e3:>10.1f}{statistics.median(cpus) * 1e3:>10.1f}")


if __name__ == "__main__":
    sys.exit(main())
