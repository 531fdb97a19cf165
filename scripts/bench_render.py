#!/usr/bin/env python3
"""Time the renderer: every back end on one dense head in one table, then the differentiable render.

    python scripts/bench_render.py                 # the open head, subdivided once more, without neck, scalp, mouth inside
                                                   # and eyes: about 105,000 triangles at 256 x 256
    python scripts/bench_render.py --mesh head     # the whole head, about 145,000
    python scripts/bench_render.py --mesh sphere   # a closed mesh made on the spot, when no model is there (105,850)

Medians of repeated calls; the first call, which compiles or loads, is shown apart. `ratio` is the time over that of numba on
one core. Numbers mean something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import facerecon
from facerecon import geometry, render
from facerecon.errors import BackendError, ModelError

BATCH = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", choices=("head", "face", "sphere"), default="face")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels (default 256)")
    parser.add_argument("--repeats", type=int, default=50, help="timed calls of the fast back end (default 50)")
    parser.add_argument("--backends", default="numba,reference,pytorch3d", help="which to time (default all)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of the rows with several")
    options = parser.parse_args()

    model = None
    if options.mesh != "sphere":
        try:
            model = facerecon.load_model("open")
        except ModelError as error:
            print(f"bench_render: {error}\nRun with --mesh sphere, or build the model: python scripts/build_open_model.py",
                  file=sys.stderr)
            return 2
    vertices, faces = dense_mesh(model, options.mesh)
    pose = framing_pose(vertices, options.size)
    projected = pose.project(vertices)
    covered = render.rasterize(projected, faces, (options.size, options.size), backend="numba").mask.float().mean()
    print(f"{options.mesh}: {len(faces):,} triangles, {options.size} x {options.size}, {covered:.0%} of the pixels covered; "
          f"torch {torch.__version__}, {options.threads} threads\n")
    bench_rasterizers(projected, faces, options)
    bench_differentiable(model, options)
    return 0


def bench_rasterizers(projected: torch.Tensor, faces: torch.Tensor, options: argparse.Namespace) -> None:
    """Print one row for each back end."""
    size = (options.size, options.size)
    wanted = options.backends.split(",")
    cores, some = f"{options.threads} cores", max(options.repeats // 5, 3)
    rows = [
        ("numba, 1 core", "numba", 1, 1, options.repeats),
        (f"numba, {cores}", "numba", options.threads, 1, options.repeats),
        (f"numba, {cores}, batch {BATCH}, each", "numba", options.threads, BATCH, some),
        ("reference, 1 core", "reference", 1, 1, 1),
        ("pytorch3d CPU, 1 core", "pytorch3d", 1, 1, 1),
    ]
    print(f"{'rasteriser':<32}{'median ms':>12}{'best ms':>12}{'first ms':>12}{'calls':>7}{'ratio':>10}   same faces")
    base, truth = None, None
    for name, backend, threads, batch, repeats in rows:
        if backend not in wanted:
            continue
        torch.set_num_threads(threads)
        batched = projected.expand(batch, -1, -1).contiguous()

        def call(vertices=batched, backend=backend):
            return render.rasterize(vertices, faces, size, backend=backend)

        try:
            # A slow back end compiles nothing, so its first call is its timing.
            first, fragments = once(call)
        except BackendError as error:
            print(f"{name:<32}not run: {error}")
            continue
        times = [first] if repeats == 1 else repeat(call, repeats)
        times = [elapsed / batch for elapsed in times]
        if truth is None:
            truth = fragments.face_index
        agree = float((fragments.face_index == truth).float().mean())
        median = statistics.median(times)
        base = base or median
        print(f"{name:<32}{median * 1e3:>12.2f}{min(times) * 1e3:>12.2f}{first * 1e3:>12.1f}{len(times):>7}"
              f"{median / base:>10.2f}   {agree:.4%}", flush=True)
    print()


def bench_differentiable(model: torch.nn.Module | None, options: argparse.Namespace) -> None:
    """Print the time of model -> shaded image and back, 224 x 224, gradients to every parameter."""
    print(f"{'model -> shaded image, 224 x 224':<40}{'forward ms':>12}{'with backward':>15}{'first ms':>12}")
    for threads in sorted({1, options.threads}):
        for shading in ("vertex", "pixel"):
            torch.set_num_threads(threads)
            step, vertex_count = differentiable_step(model, shading)
            first, _ = once(step)
            forward = statistics.median(repeat(lambda step=step: step(backward=False), options.repeats // 2 + 1))
            both = statistics.median(repeat(step, options.repeats // 2 + 1))
            label = f"{vertex_count:,} vertices, per {shading}, {threads} cores"
            print(f"{label:<40}{forward * 1e3:>12.2f}{both * 1e3:>15.2f}{first * 1e3:>12.1f}")


def differentiable_step(model: torch.nn.Module | None, shading: str) -> tuple[Callable[..., None], int]:
    """A function that renders once and, unless told otherwise, runs the backward pass; and the number of vertices."""
    generator = torch.Generator().manual_seed(0)
    size = (224, 224)
    light = render.ambient_light(0.8)
    light[2] = 0.4
    if model is None:
        shape, faces = sphere(32)
        reflectance = torch.rand(len(shape), 3, generator=generator)
        leaves = [shape, reflectance]
    else:
        faces = model.faces
        counts = [len(basis) for basis in (model.identity_basis, model.albedo_basis, model.expression_basis)]
        leaves = [0.3 * torch.rand(1, count, generator=generator) for count in counts]
        shape = model.mean
    pose = framing_pose(shape, size[0])
    rotvec = geometry.matrix_to_rotvec(pose.rotation)
    leaves += [light, rotvec, pose.translation, pose.scale]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    target = torch.rand(1, *size, 3, generator=generator)

    def step(*, backward: bool = True) -> None:
        if model is None:
            vertices, albedo, *rest = leaves
        else:
            identity, colour, expression, *rest = leaves
            vertices, albedo = model.vertices(identity, expression), model.albedo(colour)
        light, turn, translation, scale = rest
        camera = geometry.ScaledOrthographicPose(geometry.rotvec_to_matrix(turn), translation, scale)
        picture = render.render_colour(vertices, faces, albedo, light, camera, size, shading=shading)
        loss = ((picture.image - target) * picture.mask[..., None]).square().mean()
        if backward:
            for leaf in leaves:
                leaf.grad = None
            loss.backward()

    return step, len(shape)


def dense_mesh(model: torch.nn.Module | None, mesh: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The open head, or its face, after one more Loop subdivision; or a closed sphere of 105,850 triangles."""
    if model is None:
        return sphere(73)
    faces = model.faces
    if mesh == "face":
        for name in ("neck", "scalp", "mouth", "eyes"):
            faces = faces[~model.masks[name][faces].all(-1)]
    matrix, faces = geometry.loop_subdivide(faces.numpy(), len(model.mean))
    return torch.from_numpy(matrix @ model.mean.double().numpy()).float(), torch.from_numpy(faces)


def sphere(cuts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed ellipsoid of the size of a head: an octahedron-like grid with about 20 cuts^2 triangles."""
    rings, sides = 2 * cuts, 5 * cuts
    latitude = torch.linspace(0, torch.pi, rings + 1, dtype=torch.float64)[1:-1]
    longitude = torch.arange(sides, dtype=torch.float64) * (2 * torch.pi / sides)
    x = latitude.sin()[:, None] * longitude.sin()
    z = latitude.sin()[:, None] * longitude.cos()
    y = latitude.cos()[:, None].expand_as(x)
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    vertices = torch.cat([torch.stack([x, y, z], -1).reshape(-1, 3), poles]) * torch.tensor([75.0, 120.0, 95.0])
    index = torch.arange(len(vertices) - 2).reshape(rings - 1, sides)
    following = index.roll(-1, 1)
    a, b, c, d = index[:-1], following[:-1], index[1:], following[1:]
    north, south = torch.full_like(index[0], len(vertices) - 2), torch.full_like(index[0], len(vertices) - 1)
    faces = [torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3),
             torch.stack([north, index[0], following[0]], -1), torch.stack([south, following[-1], index[-1]], -1)]
    return vertices.float(), torch.cat(faces)


def framing_pose(vertices: torch.Tensor, size: int) -> geometry.ScaledOrthographicPose:
    """A nearly frontal pose in which the mesh fills 90 % of the image's height or width."""
    rotation = geometry.euler_deg_to_matrix_aflw(4.0, 12.0, 3.0)
    turned = vertices @ rotation.T
    low, high = turned.amin(0)[:2], turned.amax(0)[:2]
    scale = 0.9 * size / (high - low).max()
    return geometry.ScaledOrthographicPose(rotation, (size - 1) / 2 + 0.123 - scale * (low + high) / 2, scale)


def once(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def repeat(call: Callable[[], object], repeats: int) -> list[float]:
    for _ in range(3):
        call()
    return [once(call)[0] for _ in range(repeats)]


if __name__ == "__main__":
    sys.exit(main())
