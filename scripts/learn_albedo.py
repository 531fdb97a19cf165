#!/usr/bin/env python3
"""Learn from real photos what the painted albedo of the open model lacks, and add it to the model file.

    python scripts/learn_albedo.py FACES_FOLDER [--model assets/models/open-head.facemodel]

FACES_FOLDER holds `faces.jsonl` and `faces-NN.tar` with permissively licensed colour photos. Each near-frontal face is fitted;
what its colours, divided by the fitted light, differ from the fitted albedo is collected at the vertices, left and right averaged
(what is lopsided is light, not skin). The mean difference corrects the mean albedo and its texture: shade in the eye
sockets and beside the nose, real lips and brows. Principal components of the rest become further albedo modes, N(0,1) like
the others. Both fade out beyond the face. Run it after calibrate_landmarks.py, once for each build of the model.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
import tarfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from PIL import Image

from facerecon.detection.landmarker import Landmarker
from facerecon.errors import LandmarkError
from facerecon.fitting import fit_landmarks
from facerecon.fitting.colour_search import ColourSearch
from facerecon.fitting.region import face_region
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.geometry import vertex_normals
from facerecon.morphable import MorphableModel, load_model, read_model, write_model
from facerecon.morphable.modelfile import ModelData
from facerecon.render import interpolate, rasterize, shade

MODEL = Path(__file__).resolve().parents[1] / "assets" / "models" / "open-head.facemodel"
PREFIX = "photo "
# Colour photos of many people; generated portraits and grey pictures are left out.
SOURCES = ("uda", "mask")
LARGEST_NME, FRONTAL, LEAST_SEEN, LEAST_LIGHT, LARGEST_DIFFERENCE = 1.2, 0.85, 0.45, 0.25, 0.35
FADE_MM = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--photos", type=int, default=1100, help="photos to look at")
    parser.add_argument("--modes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    clock = time.perf_counter()
    data = read_model(arguments.model)
    if any(name.startswith(PREFIX) for name in data.header["albedo_names"]):
        raise SystemExit(f"{arguments.model} has learned albedo already; build it again first")
    model = load_model(arguments.model)
    difference, weight = collect(model, arguments.faces, arguments.photos, arguments.seed)
    print(f"{len(difference)} faces, {weight.mean():.0%} of the skin seen in each ({time.perf_counter() - clock:.0f} s)")
    mean, modes = components(difference, weight, arguments.modes)
    print(f"mean difference {rms(mean):.4f}, modes " + ", ".join(f"{rms(mode):.4f}" for mode in modes[:6]) + " ...")
    spread = extension(data, face_region(model).vertex_index.numpy())
    mean, modes = spread(mean), np.stack([spread(mode) for mode in modes])
    header = {**data.header, "albedo_names": [*data.header["albedo_names"],
                                              *(f"{PREFIX}{index + 1}" for index in range(len(modes)))]}
    write_model(arguments.model, dataclasses.replace(
        data, albedo_mean=data.albedo_mean + mean, albedo_basis=np.concatenate([data.albedo_basis, modes]),
        albedo_texture=corrected_texture(data, mean), header=header))
    print(f"{arguments.model}: {arguments.model.stat().st_size / 1e6:.1f} MB ({time.perf_counter() - clock:.0f} s)")


def collect(model: MorphableModel, folder: Path, limit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Albedo differences (P, n, 3) float32 at the region's vertices, mirrored halves averaged, and weights (P, n) 0 or 1."""
    rows = [json.loads(line) for line in (folder / "faces.jsonl").read_text(encoding="utf-8").splitlines()]
    people: dict[str, int] = {}
    chosen = []
    for index in np.random.default_rng(seed).permutation(len(rows)):
        row = rows[index]
        # Strongly enlarged crops are blurred.
        if row["source"] not in SOURCES or row.get("kind") == "with_mask" or row["scale"] >= 2.0:
            continue
        person = row.get("subject") or row["name"]
        people[person] = people.get(person, 0) + 1
        if people[person] <= 3 and len(chosen) < limit:
            chosen.append(row)
    region = face_region(model)
    place = torch.full((len(model.mean),), -1)
    place[region.vertex_index] = torch.arange(len(region.vertex_index))
    mirror = place[model.symmetry[region.vertex_index]].numpy()
    differences, weights = [], []
    finder = Landmarker(detection_threshold=0.3, presence_threshold=0.3)
    for shard in sorted({row["shard"] for row in chosen}):
        with tarfile.open(folder / shard) as archive:
            for row in (row for row in chosen if row["shard"] == shard):
                pixels = np.asarray(Image.open(io.BytesIO(archive.extractfile(row["name"]).read())).convert("RGB"))
                found = difference_of(model, pixels, finder)
                if found is None:
                    continue
                difference, weight = found
                both = weight + weight[mirror]
                average = (difference * weight[:, None] + (difference * weight[:, None])[mirror]) / np.maximum(both, 1)[:, None]
                differences.append(average.astype(np.float32))
                weights.append((both > 0).astype(np.float32))
    finder.close()
    return np.stack(differences), np.stack(weights)


def difference_of(model: MorphableModel, pixels: np.ndarray, finder: Landmarker) -> tuple[np.ndarray, np.ndarray] | None:
    """(difference (n, 3), weight (n,) 0 or 1) of one photo; None when it is grey, turned, or badly fitted."""
    if np.abs(pixels[..., 0].astype(int) - pixels[..., 2]).mean() < 4:
        return None
    faces = finder.landmarks(pixels)
    if not faces:
        return None
    try:
        fit = fit_landmarks(model, faces[0].points, image_size=pixels.shape[:2])
    except LandmarkError:
        return None
    if fit.landmark_nme_percent > LARGEST_NME or -float(fit.parameters.pose.rotation[2, 2]) < FRONTAL:
        return None
    problem = SynthesisProblem(model, pixels, fit, size=144)
    search = ColourSearch(problem)
    if float(search.weight.sum()) < 3000:
        return None
    search.solve_colours()
    for _ in range(2):
        search.choose_covered()
        search.solve_colours()
    state, region = search.state, problem.region
    with torch.no_grad():
        normals = problem.pose(state).light_frame(vertex_normals(problem.vertices(state), region.faces))
        light = shade(torch.ones_like(region.albedo_mean), normals, torch.tensor(state.light, dtype=torch.float32))
        screen = search.render.projected[0]
        height, width = problem.photo.shape[:2]
        grid = torch.stack([(screen[:, 0] + 0.5) / width, (screen[:, 1] + 0.5) / height], dim=-1)[None, None] * 2 - 1

        def sampled(image: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.grid_sample(image.permute(2, 0, 1)[None], grid, align_corners=False)[0, :, 0].T

        colour, compared = sampled(problem.photo), sampled(search.weight[..., None])[:, 0]
        fragments = search.render.fragments
        depth = torch.where(fragments.face_index[0] >= 0, fragments.depth[0], torch.inf)
        column, row = (screen[:, axis].round().long().clamp(0, side - 1) for axis, side in ((0, width), (1, height)))
        seen = (screen[:, 2] - depth[row, column] < 3 * state.view.scale) & (compared > 0.9)
        seen &= (normals[:, 2] > 0.4) & (light.amin(dim=1) > LEAST_LIGHT)
        difference = colour / light.clamp_min(LEAST_LIGHT) - problem.albedo(state)
    if float(seen.float().mean()) < LEAST_SEEN:
        return None
    return difference.clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE).numpy(), seen.numpy().astype(np.float32)


def components(difference: np.ndarray, weight: np.ndarray, count: int, *, rounds: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """(mean (n, 3), modes (count, n, 3) times standard deviation): principal components with missing values.

    Missing values start at the mean and are replaced by their reconstruction in each round.
    """
    seen = weight.sum(axis=0)
    mean = (difference * weight[..., None]).sum(axis=0) / np.maximum(seen, 0.05 * len(weight))[:, None]
    known = np.repeat(weight, 3, axis=1) > 0
    given = ((difference - mean) * weight[..., None]).reshape(len(difference), -1)
    filled = given.copy()
    for _ in range(rounds):
        _, vectors = np.linalg.eigh(filled @ filled.T)
        basis = vectors[:, ::-1][:, :count]
        filled = np.where(known, given, basis @ (basis.T @ filled))
    modes = basis.T @ filled / np.sqrt(len(filled))
    return mean, modes.reshape(count, -1, 3)


def extension(data: ModelData, inside: np.ndarray):
    """A function that carries values (n, 3) of the vertices `inside` to all (V, 3), fading over some 20 mm outside."""
    count = len(data.mean)
    edges = np.concatenate([data.faces[:, [0, 1]], data.faces[:, [1, 2]], data.faces[:, [2, 0]]])
    length = np.linalg.norm(data.mean[edges[:, 0]] - data.mean[edges[:, 1]], axis=1)
    links = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    links = ((links + links.T) > 0).astype(float)
    degree = np.asarray(links.sum(axis=1)).ravel()
    smooth = scipy.sparse.diags(1 / np.maximum(degree, 1)) @ links
    outside = np.setdiff1d(np.arange(count), inside)
    # Skin runs on into ears, scalp and neck; eyes and the inside of the mouth keep their paint.
    outside = outside[~(data.masks["eyes"] | data.masks["mouth"])[outside]]
    decay = (np.median(length) / FADE_MM) ** 2
    system = scipy.sparse.eye(len(outside)) * (1 + decay) - smooth[outside][:, outside]
    solve = scipy.sparse.linalg.factorized(system.tocsc())
    rim = smooth[outside][:, inside]

    def spread(values: np.ndarray) -> np.ndarray:
        result = np.zeros((count, 3))
        result[inside] = values
        result[outside] = np.stack([solve(column) for column in (rim @ values).T.astype(np.float64)], axis=1)
        return result

    return spread


def corrected_texture(data: ModelData, mean: np.ndarray) -> np.ndarray:
    """The atlas of the mean albedo with the mean difference (V, 3) added, gutters included."""
    height, width = data.albedo_texture.shape[:2]
    per_uv = np.zeros((len(data.uv), 3), np.float32)
    per_uv[data.uv_faces.ravel()] = mean[data.faces.ravel()]
    screen = np.stack([data.uv[:, 0] * width - 0.5, (1 - data.uv[:, 1]) * height - 0.5, np.zeros(len(data.uv))], axis=1)
    uv_faces = torch.from_numpy(np.ascontiguousarray(data.uv_faces, dtype=np.int64))
    fragments = rasterize(torch.from_numpy(screen.astype(np.float32)), uv_faces, (height, width))
    added = interpolate(fragments, torch.from_numpy(per_uv), uv_faces)[0].numpy()
    inside = (fragments.face_index[0].numpy() >= 0).astype(np.float32)
    # Gutters take the mean of the texels near them.
    blurred, share = cv2.blur(added, (9, 9)), cv2.blur(inside, (9, 9))
    added = np.where(inside[..., None] > 0, added, blurred / np.maximum(share, 1e-3)[..., None] * (share > 0)[..., None])
    return (data.albedo_texture + added * 255 + 0.5).clip(0, 255).astype(np.uint8)


def rms(values: np.ndarray) -> float:
    """Root mean square of all entries."""
    return float(np.sqrt((values**2).mean()))


if __name__ == "__main__":
    main()
