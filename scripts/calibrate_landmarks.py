"""Move the landmark embeddings of a face model until the mean residual over many real photos vanishes.

    python scripts/calibrate_landmarks.py FACES_FOLDER [--model assets/models/open-head.facemodel]

FACES_FOLDER holds `faces.jsonl` and `faces-NN.tar` with permissively licensed photos. MediaPipe's 478 points are calibrated on
neutral faces, fitted with hardly any expression, so that a neutral face fits with neutral expressions afterwards. The iBUG-68
points of eyes, nose and mouth follow the given points of nearly frontal photos, those of the brows the middle of MediaPipe's
calibrated brows; the jaw, which is anatomical, stays. Shifts are made in the surface's tangent plane, left and right averaged,
and the points put back on the mean surface. Writes the model file and, if
it is there, the file that the model builder reads (--json). Equal seeds give equal results.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facerecon.detection.landmarker import Landmarker
from facerecon.files import write_atomic
from facerecon.fitting.gauss_newton import LandmarkEnergy, LandmarkSolution, Priors, solve_landmarks
from facerecon.fitting.initial_pose import estimate_view
from facerecon.fitting.landmark_fit import landmark_priors
from facerecon.fitting.rows import rows_at
from facerecon.fitting.visibility import facing_weight
from facerecon.morphable import LandmarkEmbedding, MorphableModel, load_model, with_embeddings
from facerecon.morphable.embedding import embed_points
from facerecon.morphable.modelcheck import topology_sha256
from facerecon.morphable.schemes import FLIPS, IBUG68_GROUPS, MEDIAPIPE478_GROUPS
from open_model.landmarks import five_points

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "assets" / "models" / "open-head.facemodel"
JSON = HERE / "open_model" / "embeddings.json"
# Blendshape scores that a neutral face keeps low.
NEUTRAL = {"jawOpen": 0.05, "mouthSmileLeft": 0.15, "mouthSmileRight": 0.15, "browInnerUp": 0.2, "browOuterUpLeft": 0.25,
           "browOuterUpRight": 0.25, "browDownLeft": 0.3, "browDownRight": 0.3, "mouthPucker": 0.3, "eyeBlinkLeft": 0.4,
           "eyeBlinkRight": 0.4, "mouthRollLower": 0.3, "mouthFrownLeft": 0.3, "mouthFrownRight": 0.3}
# Expressions of a neutral face are held down by this factor while its landmarks are calibrated.
STIFF = 6.0
# A landmark gives up its place against this many photos' worth of evidence, and moves no more than this in a round and in all.
INERTIA, ROUND_LIMIT_MM, TOTAL_LIMIT_MM = 0.05, 6.0, 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--json", type=Path, default=JSON)
    parser.add_argument("--photos", type=int, default=3000, help="photos to look at")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="keep the detected landmarks in this .npz")
    parser.add_argument("--dry-run", action="store_true", help="print, write nothing")
    arguments = parser.parse_args()
    clock = time.perf_counter()
    photos = read_landmarks(arguments.faces, arguments.photos, arguments.seed, arguments.cache)
    model = load_model(arguments.model)
    print(f"{len(photos['points'])} photos with landmarks, {photos['neutral'].sum()} neutral "
          f"({time.perf_counter() - clock:.0f} s)")
    dense = calibrate_dense(model, model.embeddings["mediapipe478"], photos["points"][photos["neutral"]], arguments.rounds)
    sparse = calibrate_sparse(model, model.embeddings["ibug68"], dense, photos)
    embeddings = {"mediapipe478": dense, "ibug68": sparse}
    embeddings["five"] = five_points(embeddings)
    moved = ", ".join(f"{scheme} {moved_mm(model, scheme, value):.2f} mm" for scheme, value in embeddings.items())
    print(f"moved: {moved} (root mean square; {time.perf_counter() - clock:.0f} s)")
    if arguments.dry_run:
        return
    with_embeddings(arguments.model, embeddings)
    write_json(arguments.json, model, embeddings)


def read_landmarks(folder: Path, limit: int, seed: int, cache: Path | None) -> dict[str, np.ndarray]:
    """points (P, 478, 2), neutral (P,), points68 (P, 68, 2) with NaN where there are none."""
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored}
    rows = [json.loads(line) for line in (folder / "faces.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row.get("kind") != "with_mask"]
    people: dict[str, int] = {}
    chosen = []
    for index in np.random.default_rng(seed).permutation(len(rows)):
        person = rows[index].get("subject") or rows[index]["name"]
        people[person] = people.get(person, 0) + 1
        # Video frames of one person are not independent.
        if people[person] <= 4 and len(chosen) < limit:
            chosen.append(rows[index])
    points, neutral, given = [], [], []
    finder = Landmarker(detection_threshold=0.3, presence_threshold=0.3)
    for shard in sorted({row["shard"] for row in chosen}):
        with tarfile.open(folder / shard) as archive:
            for row in (row for row in chosen if row["shard"] == shard):
                pixels = np.asarray(Image.open(io.BytesIO(archive.extractfile(row["name"]).read())).convert("RGB"))
                for face in finder.landmarks(pixels):
                    points.append(face.points[:, :2])
                    neutral.append(all(face.blendshapes[name] < most for name, most in NEUTRAL.items()))
                    given.append(row.get("points68") or np.full((68, 2), np.nan))
    finder.close()
    photos = {"points": np.array(points, np.float64), "neutral": np.array(neutral), "points68": np.array(given, np.float64)}
    if cache is not None:
        stream = io.BytesIO()
        np.savez(stream, **photos)
        write_atomic(cache, stream.getvalue())
    return photos


def calibrate_dense(model: MorphableModel, embedding: LandmarkEmbedding, photos: np.ndarray, rounds: int) -> LandmarkEmbedding:
    """MediaPipe's points, from landmarks (P, 478, 2) of neutral faces."""
    priors = landmark_priors(model, len(embedding))
    stiff = Priors(identity=priors.identity, expression_sparse=STIFF * priors.expression_sparse,
                   expression_ridge=STIFF * priors.expression_ridge, sigma_mm=priors.sigma_mm)
    embedding = place_invalid(model, embedding)
    first = embedding.locate(model.mean.numpy(), model.faces.numpy())
    for step in range(rounds + 1):
        rows = rows_at(model, embedding)
        evidence = Evidence(len(embedding))
        identity, expression = [], []
        for points in photos:
            solution, weights, residual = fit(rows, points, stiff, model.expression_range)
            evidence.add(solution.view.rotation, weights, residual)
            identity.append(solution.identity)
            expression.append(solution.expression)
        shift = evidence.tangent_shift(rows.normals)
        mean_expression = np.mean(expression, axis=0)
        top = np.argsort(-mean_expression)[:3]
        print(f"round {step}: mean residual {rms(shift):.3f} mm, per photo {evidence.rms:.2f} mm, mean identity "
              f"{rms(np.mean(identity, axis=0)[:, None]):.2f}, expressions "
              + ", ".join(f"{model.expression_names[index]} {mean_expression[index]:.2f}" for index in top))
        if step < rounds:
            embedding = move(model, embedding, shift, first, np.array(FLIPS["mediapipe478"]))
    return embedding


def place_invalid(model: MorphableModel, embedding: LandmarkEmbedding) -> LandmarkEmbedding:
    """Put points without a trusted place, and their mirror partners, between their neighbours on the face's oval."""
    oval, flip = MEDIAPIPE478_GROUPS["oval"], FLIPS["mediapipe478"]
    bad = {row for row in np.flatnonzero(~embedding.valid)}
    bad |= {flip[row] for row in bad}
    points = embedding.locate(model.mean.numpy(), model.faces.numpy())
    anchors = embedding.triangle.copy()
    for row in sorted(bad & set(oval)):
        place = oval.index(row)
        neighbours = [oval[place - 1], oval[(place + 1) % len(oval)]]
        points[row] = points[neighbours].mean(axis=0)
        anchors[row] = embedding.triangle[neighbours[0]]
    valid = embedding.valid | np.isin(np.arange(len(points)), list(oval))
    return put(model, LandmarkEmbedding(anchors, embedding.barycentric, valid), points)


def calibrate_sparse(model: MorphableModel, embedding: LandmarkEmbedding, dense: LandmarkEmbedding,
                     photos: dict[str, np.ndarray], *, rounds: int = 3, frontal: float = 0.94) -> LandmarkEmbedding:
    """iBUG points but the jaw, from the given points of photos whose fit to the dense landmarks is nearly frontal."""
    dense_rows, priors = rows_at(model, dense), landmark_priors(model, len(dense))
    chosen = np.flatnonzero(np.isfinite(photos["points68"]).all(axis=(1, 2)))
    fits = [(fit(dense_rows, photos["points"][index], priors, model.expression_range)[0], photos["points68"][index])
            for index in chosen]
    fits = [(solution, points) for solution, points in fits if -solution.view.rotation[2, 2] > frontal]
    flip = np.array(FLIPS["ibug68"])
    embedding = place_brows(model, embedding, dense)
    first = embedding.locate(model.mean.numpy(), model.faces.numpy())
    fixed = [row for name, rows in IBUG68_GROUPS.items() if name == "jaw" or name.endswith("brow") for row in rows]
    free = np.setdiff1d(np.arange(68), fixed)
    for step in range(rounds + 1):
        rows = rows_at(model, embedding)
        drawn = [solution.view.project(rows.basis.points(solution.identity, solution.expression)) for solution, _ in fits]
        # The given points lie off by a constant of their making, which symmetry shows in x: faces have no side. Its y is
        # taken to be the same, as from a shift of the pixel origin.
        offset = np.median([(points - place)[free, 0].mean() for (_, points), place in zip(fits, drawn)])
        evidence = Evidence(len(embedding))
        for (solution, points), place in zip(fits, drawn):
            residual = (points - offset - place) / solution.view.scale
            # Machine-made points are sometimes of another face; a far one says nothing.
            weights = facing_weight(rows.normals, solution.view.rotation) * (np.linalg.norm(residual, axis=1) < 12.0)
            evidence.add(solution.view.rotation, weights, residual)
        shift = evidence.tangent_shift(rows.normals)
        shift[fixed] = 0.0
        both = (shift + shift[flip] * [-1, 1, 1]) / 2
        print(f"iBUG round {step}: {len(fits)} photos, constant offset {offset:.2f} px, mean residual {rms(both[free]):.3f} mm, "
              f"per photo {evidence.rms:.2f} mm")
        if step < rounds:
            moved = move(model, embedding, shift, first, flip)
            triangle, barycentric = moved.triangle.copy(), moved.barycentric.copy()
            triangle[fixed], barycentric[fixed] = embedding.triangle[fixed], embedding.barycentric[fixed]
            embedding = LandmarkEmbedding(triangle, barycentric, embedding.valid)
    return embedding


def place_brows(model: MorphableModel, embedding: LandmarkEmbedding, dense: LandmarkEmbedding) -> LandmarkEmbedding:
    """Put the iBUG brow points, at their own x, on the middle line between MediaPipe's upper and lower brow points."""
    mean, faces = model.mean.numpy(), model.faces.numpy()
    sparse_points, dense_points = embedding.locate(mean, faces), dense.locate(mean, faces)
    for side in ("right brow", "left brow"):
        group = MEDIAPIPE478_GROUPS[side]
        edges = [dense_points[list(rows)] for rows in (group[:5], group[5:])]
        for row in IBUG68_GROUPS[side]:
            x = sparse_points[row, 0]
            heights = []
            for edge in edges:
                order = np.argsort(edge[:, 0])
                heights.append([np.interp(x, edge[order, 0], edge[order, axis]) for axis in (1, 2)])
            sparse_points[row, 1:] = np.mean(heights, axis=0)
    return put(model, embedding, sparse_points)


class Evidence:
    """Sums of 2D residuals as seen from many views, for one 3D shift of each landmark."""

    def __init__(self, count: int) -> None:
        self.normal, self.right = np.zeros((count, 3, 3)), np.zeros((count, 3))
        self.photos, self.squares, self.weight = 0, 0.0, 0.0

    def add(self, rotation: np.ndarray, weights: np.ndarray, residual: np.ndarray) -> None:
        """One photo: rotation (3, 3), weights (N,), residual (N, 2) in mm, measured minus drawn."""
        rows = rotation[:2]
        self.normal += weights[:, None, None] * (rows.T @ rows)
        self.right += weights[:, None] * (residual @ rows)
        self.photos += 1
        self.squares += weights @ (residual**2).sum(axis=1)
        self.weight += weights.sum()

    @property
    def rms(self) -> float:
        """Weighted root mean square residual in mm."""
        return (self.squares / self.weight) ** 0.5

    def tangent_shift(self, normals: np.ndarray) -> np.ndarray:
        """(N, 3) mm, the least-squares shift of each landmark within its tangent plane."""
        shift = np.zeros_like(normals)
        for row, normal in enumerate(normals):
            plane = np.linalg.svd(normal[None])[2][1:]
            matrix = plane @ self.normal[row] @ plane.T + INERTIA * self.photos * np.eye(2)
            shift[row] = plane.T @ np.linalg.solve(matrix, plane @ self.right[row])
        return shift


def fit(rows, points: np.ndarray, priors: Priors, limits) -> tuple[LandmarkSolution, np.ndarray, np.ndarray]:
    """(solution, weights (N,), residual (N, 2) mm) of one face."""
    base = rows.valid.astype(np.float64)
    view = estimate_view(rows.basis.mean, points, base)
    weights = base * facing_weight(rows.normals, view.rotation)
    view = estimate_view(rows.basis.mean, points, weights)
    weights = base * facing_weight(rows.normals, view.rotation)
    energy = LandmarkEnergy(rows.basis, points, weights, priors=priors, unit_px=view.scale, expression_range=limits)
    start = LandmarkSolution(view, np.zeros(energy.split), np.zeros(energy.count - energy.split), ())
    solution = solve_landmarks(energy, start, iterations=8)
    residual = (points - solution.view.project(rows.basis.points(solution.identity, solution.expression))) / solution.view.scale
    robust = 1.0 / (1.0 + (residual**2).sum(axis=1) / (priors.kernel * priors.sigma_mm) ** 2)
    return solution, weights * robust, residual


def move(model: MorphableModel, embedding: LandmarkEmbedding, shift: np.ndarray, first: np.ndarray,
         flip: np.ndarray) -> LandmarkEmbedding:
    """Shift the points, average left and right, and put them back on the same part of the mean surface."""
    mean, faces = model.mean.numpy(), model.faces.numpy()
    length = np.maximum(np.linalg.norm(shift, axis=1, keepdims=True), 1e-9)
    points = embedding.locate(mean, faces) + shift * np.minimum(1.0, ROUND_LIMIT_MM / length)
    points = (points + points[flip] * [-1, 1, 1]) / 2
    away = points - first
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    points = first + away * np.minimum(1.0, TOTAL_LIMIT_MM / length)
    return put(model, embedding, points)


def put(model: MorphableModel, embedding: LandmarkEmbedding, points: np.ndarray) -> LandmarkEmbedding:
    """The closest places of the mean surface to `points` (N, 3): on an eyeball where the landmark was on one, else on skin."""
    mean, faces = model.mean.numpy(), model.faces.numpy()
    corners = model.masks["eyes"].numpy()[faces]
    on_eye, off_eye = corners.all(axis=1), ~corners.any(axis=1)
    centres = mean[faces].mean(axis=1)
    allowed = []
    for point, own in zip(points, embedding.triangle):
        # The closest surface of an eyelid may be the eyeball under it.
        near = np.where(on_eye if on_eye[own] else off_eye, np.linalg.norm(centres - point, axis=1), np.inf)
        allowed.append(np.flatnonzero(near < near.min() + 6.0))
    moved, _ = embed_points(points, mean, faces, allowed=allowed)
    return LandmarkEmbedding(moved.triangle, moved.barycentric, embedding.valid)


def moved_mm(model: MorphableModel, scheme: str, embedding: LandmarkEmbedding) -> float:
    """Root mean square distance of a new embedding from the model's own, on the mean face."""
    places = (value.locate(model.mean.numpy(), model.faces.numpy()) for value in (embedding, model.embeddings[scheme]))
    return rms(next(places) - next(places))


def rms(vectors: np.ndarray) -> float:
    """Root mean square length of the rows."""
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))


def write_json(path: Path, model: MorphableModel, embeddings: dict[str, LandmarkEmbedding]) -> None:
    """Keep the embeddings for the model builder; schemes that are not calibrated here stay as they are."""
    content = {"topology_sha256": topology_sha256(model.faces.numpy()), "embeddings": {}}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        content = before if before["topology_sha256"] == content["topology_sha256"] else content
    for scheme, value in embeddings.items():
        content["embeddings"][scheme] = {"triangle": value.triangle.tolist(), "valid": value.valid.astype(int).tolist(),
                                         "barycentric": np.round(value.barycentric, 6).tolist()}
    write_atomic(path, json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
