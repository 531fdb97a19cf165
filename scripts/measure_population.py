"""Measure where the landmarks of real, neutral, frontal faces lie, for the mean of the open model and its eyebrows.

    python scripts/measure_population.py FACES_FOLDER -o scripts/open_model/population.json

FACES_FOLDER holds `faces.jsonl` and `faces-NN.tar` with permissively licensed photos. Points are written in the eye frame:
origin midway between the irises, x along them, y up, unit the distance between them; medians over faces, left and right
averaged.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np

from facerecon.files import write_atomic
from facerecon.morphable.schemes import FLIPS
from open_model.detector import DenseDetector, yaw_pitch_deg

IRIS_RIGHT, IRIS_LEFT = 468, 473
# Blendshapes that a neutral face keeps low.
NEUTRAL = {"browInnerUp": 0.25, "browDownLeft": 0.3, "browDownRight": 0.3, "browOuterUpLeft": 0.25, "browOuterUpRight": 0.25,
           "jawOpen": 0.06, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.3, "eyeSquintLeft": 0.6, "eyeSquintRight": 0.6,
           "eyeBlinkLeft": 0.3, "eyeBlinkRight": 0.3, "mouthPucker": 0.4}


def eye_frame(points: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """(N, 2 or 3) image points -> (N, 2) in the eye frame of the dense points (478, 2 or 3)."""
    right, left = dense[IRIS_RIGHT, :2], dense[IRIS_LEFT, :2]
    across = (left - right) / np.linalg.norm(left - right)
    up = np.array([across[1], -across[0]])
    offset = (points[:, :2] - (left + right) / 2) / np.linalg.norm(left - right)
    return np.stack([offset @ across, offset @ up], axis=1)


def read_faces(folder: Path, limit: int, seed: int, per_subject: int):
    """Yield up to `limit` RGB crops in random order, at most `per_subject` of one person, each with its 68 points or None."""
    rows = [json.loads(line) for line in (folder / "faces.jsonl").read_text(encoding="utf-8").splitlines()]
    # Annotated faces first, since few are.
    rows = [row for row in rows if row.get("kind") != "with_mask"]
    seen: dict[str, int] = {}
    chosen: dict[str, dict[str, list | None]] = {}
    order = np.random.default_rng(seed).permutation(len(rows))
    for index in sorted(order, key=lambda index: "points68" not in rows[index]):
        row = rows[index]
        person = f"{row['source']}/{row.get('subject', row['name'])}"
        seen[person] = seen.get(person, 0) + 1
        if seen[person] <= per_subject and limit > 0:
            chosen.setdefault(row["shard"], {})[row["name"]] = row.get("points68")
            limit -= 1
    for shard, names in sorted(chosen.items()):
        with tarfile.open(folder / shard) as archive:
            for member in archive:
                if member.name in names:
                    data = np.frombuffer(archive.extractfile(member).read(), np.uint8)
                    yield cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), names[member.name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=6000, help="photos to look at")
    parser.add_argument("--per-subject", type=int, default=4)
    parser.add_argument("--angle", type=float, default=8.0, help="largest yaw and pitch in degrees")
    arguments = parser.parse_args()
    places: dict[str, list[np.ndarray]] = {"mediapipe478": [], "ibug68": []}
    with DenseDetector() as detector:
        for pixels, points68 in read_faces(arguments.faces, arguments.limit, 0, arguments.per_subject):
            found = detector.find(cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
            if found is None:
                continue
            points, rotation, shapes = found
            if max(map(abs, yaw_pitch_deg(rotation))) < arguments.angle and all(
                    shapes[name] < most for name, most in NEUTRAL.items()):
                places["mediapipe478"].append(eye_frame(points, points))
                if points68 is not None:
                    # Twice the size, pixel centres at whole numbers.
                    places["ibug68"].append(eye_frame((np.array(points68) + 0.5) * 2 - 0.5, points))
    content = {"frame": "eyes: origin midway between the irises, unit their distance, y up"}
    for scheme, kept in places.items():
        stack = np.array(kept)
        stack = np.concatenate([stack, stack[:, FLIPS[scheme]] * [-1, 1]])
        median = np.median(stack, axis=0)
        spread = 1.4826 * np.median(np.abs(stack - median), axis=0)
        content[scheme] = {"faces": len(kept), "median": np.round(median, 5).tolist(), "spread": np.round(spread, 5).tolist()}
        print(f"{scheme}: {len(kept)} neutral frontal faces of {arguments.limit} photos")
    write_atomic(arguments.output, json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
