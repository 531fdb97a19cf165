#!/usr/bin/env python3
"""Reconstruct held-out faces of all poses and put them side by side in one picture, to be looked at.

    python scripts/poses_contact_sheet.py FACES -o docs/images/poses.jpg [--weights run/weights.safetensors]
    python scripts/poses_contact_sheet.py FACES --photos FOLDER -o sheet.png

FACES is a crop archive: labelled crops of its test subjects are taken, at evenly spaced yaws, and one person again only where
nobody else is near. `--photos` adds folders of photos that no network was trained on. For each face: the photo with its yaw (of
a fit to the labels; of a photo, of a fit to what is found), the reconstruction over it, the mesh in the same pose, and the
textured head turned 35 degrees further to the front (a frontal one to the side). A face that is not found stays, crossed out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

import cv2
import numpy as np
import torch
from evaluate_weights_methods import LEAST_OVERLAP, LabelFit, method_specs
from evaluate_weights_sets import real_crops

from facerecon.detection import CropRule
from facerecon.detection.boxes import iou, points_box
from facerecon.detection.crop_pose import pose_to_crop
from facerecon.detection.crop_rule import cut_square
from facerecon.errors import FaceReconError
from facerecon.export import write_image
from facerecon.pipeline import FaceReconstructor
from facerecon.reconstruction import Reconstruction
from facerecon.synthesis.profile_photos import Photo, list_photos
from facerecon.views import PhotoView, render_view

PAPER, CROSS = 240, (205, 60, 50)
PICTURES, GAP = 4, 8
TURN_DEG = 35.0
# Showing somebody again counts as much as a face that is so many degrees beside the wanted yaw.
AGAIN_DEG = 6.0


class Candidate(NamedTuple):
    """A face that may be shown: its photo, who it is, its yaw, and its 68 points where they are known."""

    photo: Photo
    subject: str
    yaw: float
    points: np.ndarray | None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="crop archive with labels and subjects")
    parser.add_argument("--photos", type=Path, action="append", default=[], help="folder of photos never trained on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="of the encoder; default: those that ship")
    parser.add_argument("--pncc-weights", type=Path)
    parser.add_argument("--method", choices=("auto", "encoder", "fit"), default="auto")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--every", type=int, default=1, help="look at every n-th crop only")
    parser.add_argument("--columns", type=int, default=4, help="faces side by side")
    parser.add_argument("--cell", type=int, default=112, help="side of a picture, px")
    options = parser.parse_args(arguments)
    try:
        return draw(options)
    except FaceReconError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 2


def draw(options: argparse.Namespace) -> int:
    """Make the sheet; 3 when there is nobody to show."""
    torch.set_num_threads(1)
    (spec,) = method_specs([options.method], weights=options.weights, pncc_weights=options.pncc_weights, threads=1)
    candidates = crop_candidates(options.faces, every=options.every)
    for folder in options.photos:
        candidates += photo_candidates(folder)
    chosen = choose_evenly([one.yaw for one in candidates], [one.subject for one in candidates], options.count)
    if not chosen:
        print("nobody to show", file=sys.stderr)
        return 3
    cells, missed = [], 0
    with FaceReconstructor(method=spec.key, weights=spec.weights, pncc_weights=spec.pncc_weights, texture_size=512) as maker:
        for index in chosen:
            one = candidates[index]
            pixels = one.photo.read()
            face = the_face(maker, pixels, one.points)
            missed += face is None
            cells.append(missing(pixels, one.yaw, options.cell) if face is None else
                         pictures(face, pixels, one.yaw, options.cell))
    sheet = in_columns(cells, options.columns)
    write_image(options.output, sheet)
    yaws = [candidates[index].yaw for index in chosen]
    print(f"{options.output}: {sheet.shape[1]} x {sheet.shape[0]}, {len(cells)} faces of "
          f"{len({candidates[index].subject for index in chosen})} people, yaw {min(yaws):.0f} to {max(yaws):.0f}, "
          f"{missed} not found")
    return 0


def crop_candidates(folder: Path, *, every: int) -> list[Candidate]:
    """Labelled crops of test subjects whose labels can be fitted."""
    fit = LabelFit()
    return [Candidate(face.photo, face.subject, float(answer.euler[1]), face.points)
            for face in real_crops(folder).faces[::every] if (answer := fit(face)).euler is not None]


def photo_candidates(folder: Path) -> list[Candidate]:
    """Photos in which a face is found; each counts as another person."""
    found = []
    with FaceReconstructor(method="fit", stages="landmarks", texture="none", faces="largest") as maker:
        for photo in list_photos(folder)[0]:
            try:
                yaw = maker(photo.read())[0].pose.to_dict()["euler_deg"]["yaw"]
            except FaceReconError as error:
                print(f"{photo.name}: {error.code}", file=sys.stderr)
                continue
            found.append(Candidate(photo, f"{folder}/{photo.name}", yaw, None))
    return found


def choose_evenly(yaws: Sequence[float], subjects: Sequence[str], count: int) -> list[int]:
    """Indices of at most `count` different faces, by yaw: as near as can be to even steps from the least yaw to the largest.

    Wanted yaws are served from the outside in, where there is least to choose from. A face of somebody who is in already counts
    as `AGAIN_DEG` farther away for each time.
    """
    yaws = np.asarray(yaws, np.float64)
    chosen: list[int] = []
    if not len(yaws):
        return chosen
    targets = np.linspace(yaws.min(), yaws.max(), min(count, len(yaws)))
    shown = Counter()
    for target in sorted(targets, key=lambda yaw: -abs(yaw - targets.mean())):
        far = np.abs(yaws - target) + AGAIN_DEG * np.array([shown[subject] for subject in subjects])
        far[chosen] = np.inf
        chosen.append(int(np.argmin(far)))
        shown[subjects[chosen[-1]]] += 1
    return sorted(chosen, key=lambda index: yaws[index])


def the_face(maker: FaceReconstructor, pixels: np.ndarray, points: np.ndarray | None) -> Reconstruction | None:
    """The face of these points, or the largest; None when it is not found."""
    try:
        faces = maker(pixels)
    except FaceReconError:
        return None
    if points is None:
        return faces[0]
    overlaps = iou(points_box(points), np.stack([face.box for face in faces]))
    best = int(np.argmax(overlaps))
    return faces[best] if overlaps[best] >= LEAST_OVERLAP else None


def pictures(face: Reconstruction, pixels: np.ndarray, yaw: float, size: int) -> np.ndarray:
    """(size, PICTURES size, 3) uint8."""
    vertices = torch.from_numpy(face.vertices)
    crop = CropRule().crop(points_box(face.landmarks68), size=size, box_of="points")
    photo, pose = cut_square(pixels, crop), pose_to_crop(face.pose, crop)
    with torch.no_grad():
        albedo = face.model.albedo(face.parameters.albedo)
    view = PhotoView(face.model, vertices, albedo, face.parameters.illumination, pose, (size, size))
    angles = face.pose.to_dict()["euler_deg"]
    turned = angles["yaw"] - TURN_DEG if angles["yaw"] > 0 else angles["yaw"] + TURN_DEG
    clay = render_view(face.vertices, face.faces, **angles, size=size, style="clay", fill=0.95)
    textured = render_view(face.vertices, face.faces, yaw=turned, size=size, uv=face.uv, uv_faces=face.uv_faces,
                           texture=face.texture, fill=0.95)
    return np.concatenate([named(photo, yaw), view.overlay(photo), on_paper(clay), on_paper(textured)], axis=1)


def missing(pixels: np.ndarray, yaw: float, size: int) -> np.ndarray:
    """The same for a face that was not found: the photo alone, crossed out."""
    scale = size / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:size, :size]
    photo = np.full((size, size, 3), PAPER, np.uint8)
    photo[:small.shape[0], :small.shape[1]] = small
    for first, second in (((0, 0), (size - 1, size - 1)), ((0, size - 1), (size - 1, 0))):
        cv2.line(photo, first, second, CROSS, 2, cv2.LINE_AA)
    return np.concatenate([named(photo, yaw), np.full((size, (PICTURES - 1) * size, 3), PAPER, np.uint8)], axis=1)


def named(picture: np.ndarray, yaw: float) -> np.ndarray:
    """The picture with its yaw in a corner."""
    picture, place = picture.copy(), (3, picture.shape[0] - 5)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, f"{yaw:+.0f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, width, cv2.LINE_AA)
    return picture


def on_paper(picture: np.ndarray) -> np.ndarray:
    """RGBA (H, W, 4) over the sheet's grey."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    return (picture[..., :3] * alpha + PAPER * (1 - alpha) + 0.5).astype(np.uint8)


def in_columns(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """The cells row by row, with gaps between the columns."""
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * height, columns * (width + GAP) - GAP, 3), PAPER, np.uint8)
    for number, cell in enumerate(cells):
        top, left = number // columns * height, number % columns * (width + GAP)
        sheet[top:top + height, left:left + width] = cell
    return sheet


if __name__ == "__main__":
    sys.exit(main())
