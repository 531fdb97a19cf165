"""Embed MediaPipe's 478 points, and iBUG's brows, on the open model, from renders of random heads with brows and irises.

    python scripts/embed_landmarks.py --textures TEXTURES [--heads 60] [--sheet sheet.png]
    python scripts/embed_landmarks.py --export

Each head is drawn from three directions under random light; MediaPipe finds its points; each point is carried through the
pixel's triangle to the mean head. The robust average over heads, directions and both sides is the landmark. The result goes
into scripts/open_model/embeddings.json (build_open_model.py uses it) and into the model file. `--export` writes the model
file's embeddings to that JSON file instead, after calibrate_landmarks.py has changed them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from facerecon.files import write_atomic
from facerecon.morphable.embedding import LandmarkEmbedding, embed_points
from facerecon.morphable.modelfile import ModelData, read_model, with_embeddings
from facerecon.morphable.schemes import FLIPS, IBUG68_GROUPS
from open_model import landmarks as marks
from open_model.backproject import MeanMap, build_mean_map, robust_mean
from open_model.detector import DenseDetector
from open_model.population import read_population
from open_model.portrait import Paint, draw_portrait, random_head

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "assets" / "models" / "open-head.facemodel"
STORE = HERE / "open_model" / "embeddings.json"
SIZE = 560


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", type=Path, help="folder of the MakeHuman pictures, for brow styles")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--heads", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sheet", type=Path, help="write a picture of some heads with what was found")
    parser.add_argument("--export", action="store_true", help="only copy the model's embeddings to the JSON file")
    arguments = parser.parse_args()
    data = read_model(arguments.model)
    if arguments.export:
        store(data, data.embeddings, {})
        return
    if arguments.textures is None:
        parser.error("--textures is needed")

    mean_map = build_mean_map(data)
    places, weights = observe(data, mean_map, arguments)
    flip = np.array(FLIPS["mediapipe478"])
    both = np.concatenate([places, places[:, flip] * [-1, 1, 1]])
    both_weights = np.concatenate([weights, weights[:, flip]])
    middle, spread = robust_mean(both, both_weights)
    middle = (middle + middle[flip] * [-1, 1, 1]) / 2
    dense, gap = embed_points(middle, data.mean.astype(np.float64), data.faces,
                              allowed=[mean_map.triangles_for(point) for point in range(478)])
    seen = (both_weights > 1e-4).sum(axis=0)
    dense = LandmarkEmbedding(dense.triangle, dense.barycentric, (seen >= 20) & (spread < 8))
    old = data.embeddings["mediapipe478"].locate(data.mean.astype(np.float64), data.faces)
    new = dense.locate(data.mean.astype(np.float64), data.faces)
    print(f"spread of a point over heads: median {np.median(spread):.2f} mm, largest {spread.max():.2f} mm "
          f"(point {spread.argmax()}); {int((~dense.valid).sum())} not valid; off the surface by {gap.mean():.2f} mm; "
          f"moved by {np.linalg.norm(new - old, axis=1).mean():.2f} mm")
    embeddings = {**data.embeddings, "mediapipe478": dense}
    embeddings["ibug68"] = place_brows(data, dense, embeddings["ibug68"])
    embeddings["five"] = marks.five_points(embeddings)
    store(data, embeddings, {"mediapipe478": spread})
    with_embeddings(arguments.model, embeddings)


def observe(data: ModelData, mean_map: MeanMap, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Draw, detect and carry back: places (D, 478, 3) on the mean head and their weights (D, 478), zero when unseen."""
    generator = np.random.default_rng(arguments.seed)
    places, weights, tiles = [], [], []
    missed = 0
    paint = Paint.make(data, arguments.textures)
    with DenseDetector() as detector:
        for _ in range(arguments.heads):
            head = random_head(data, paint, generator)
            for yaw in (-1, 0, 1):
                angles = (yaw * generator.uniform(8, 24), generator.uniform(-7, 7), generator.uniform(-4, 4))
                portrait = draw_portrait(data, head, generator, angles_deg=angles, size=SIZE)
                found = detector.find(portrait.pixels)
                if found is None:
                    missed += 1
                    continue
                place, weight = mean_map.carry(portrait, found[0])
                places.append(place)
                weights.append(weight)
                if len(tiles) < 24:
                    tiles.append(_mark(portrait.pixels, found[0]))
    print(f"{len(places)} detections on {3 * arguments.heads} renders, {missed} without a face")
    if arguments.sheet is not None:
        rows = [np.concatenate(tiles[start:start + 6], axis=1) for start in range(0, len(tiles) - 5, 6)]
        cv2.imwrite(str(arguments.sheet), np.concatenate(rows)[..., ::-1])
    return np.array(places), np.array(weights)


def place_brows(data: ModelData, dense: LandmarkEmbedding, sparse: LandmarkEmbedding) -> LandmarkEmbedding:
    """Put the iBUG brow points where annotated photos have them, seen from the front, on the mean head."""
    mean = data.mean.astype(np.float64)
    irises = dense.locate(mean, data.faces)[[468, 473]]
    target = read_population(HERE / "open_model" / "population.json", "ibug68")
    rows = np.array(IBUG68_GROUPS["right brow"] + IBUG68_GROUPS["left brow"])
    flat = irises.mean(axis=0)[:2] + target[rows] * abs(irises[1, 0] - irises[0, 0])
    corners = mean[data.faces]
    front = np.flatnonzero(data.masks["face"][data.faces].all(axis=1) & (corners[:, :, 2].min(axis=1) > irises[0, 2] - 45))
    flat_mean = mean * [1, 1, 0]
    moved, gap = embed_points(np.c_[flat, np.zeros(len(flat))], flat_mean, data.faces, allowed=front)
    triangle, barycentric = sparse.triangle.copy(), sparse.barycentric.copy()
    old = sparse.locate(mean, data.faces)[rows]
    triangle[rows], barycentric[rows] = moved.triangle, moved.barycentric
    result = LandmarkEmbedding(triangle, barycentric, sparse.valid)
    change = result.locate(mean, data.faces)[rows] - old
    print(f"iBUG brows: {gap.max():.3f} mm beside the surface, moved by {change[:, 1].mean():+.2f} mm upwards on average")
    return result


def store(data: ModelData, embeddings: dict[str, LandmarkEmbedding], spread: dict[str, np.ndarray]) -> None:
    """Write the JSON file that the build reads."""
    content = {"topology_sha256": data.header["topology_sha256"], "embeddings": marks.embeddings_to_json(embeddings),
               "spread_mm": {scheme: np.round(value, 2).tolist() for scheme, value in spread.items()}}
    write_atomic(STORE, json.dumps(content) + "\n")


def _mark(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    marked = pixels.copy()
    for x, y in points[:, :2]:
        cv2.circle(marked, (round(x * 8), round(y * 8)), 8, (60, 255, 60), -1, cv2.LINE_AA, 3)
    return cv2.resize(marked, (260, 260), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
