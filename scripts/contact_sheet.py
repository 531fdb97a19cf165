#!/usr/bin/env python3
"""Fit portraits and put what came out side by side in one picture, to be looked at.

    python scripts/contact_sheet.py FOLDER -o docs/images/contact_sheet.jpg

For each photo: the photo; the fitted mesh over it, with detected landmarks (green) and fitted ones (red); albedo and light
drawn over the photo; the shape; the neutral face turned; and the face with the photo's texture turned.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from PIL import Image

from facerecon.data import load_image
from facerecon.detection import FaceFinder
from facerecon.files import write_atomic
from facerecon.fitting import FitResult, bake_texture, fit_landmarks, refine_photometric
from facerecon.geometry import ScaledOrthographicPose, vertex_normals
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.morphable import MorphableModel, load_model
from facerecon.render import antialias, interpolate, rasterize, sample_texture, shade

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
PAPER = np.array([0.94, 0.94, 0.93], np.float32)
CLAY_LIGHT = torch.zeros(9, 3) + torch.tensor([1.35, 0.55, 0.75, -0.3, 0, 0, 0, 0, 0])[:, None]
CLAY = torch.tensor([0.80, 0.77, 0.74])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="open")
    parser.add_argument("--cell", type=int, default=170, help="side of a picture in px")
    parser.add_argument("--columns", type=int, default=1, help="photos side by side")
    options = parser.parse_args()
    model = load_model(options.model)
    rows = []
    with FaceFinder() as finder:
        for path in sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES):
            pixels = load_image(path).pixels
            faces = [face for face in finder.find(pixels) if face.points478 is not None]
            if not faces:
                print(f"{path.name}: no face with dense landmarks")
                continue
            start = fit_landmarks(model, faces[0].points478, image_size=pixels.shape[:2])
            rows.append(panels(model, pixels, refine_photometric(model, pixels, start), size=options.cell))
    if not rows:
        return 3
    while len(rows) % options.columns:
        rows.append(np.full_like(rows[0], 240))
    height = len(rows) // options.columns
    columns = [np.concatenate(rows[index * height:(index + 1) * height]) for index in range(options.columns)]
    sheet = np.concatenate(columns, axis=1)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG" if options.output.suffix.lower() in (".jpg", ".jpeg") else "PNG", quality=88)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.output, stream.getvalue())
    print(f"{options.output}: {sheet.shape[1]} x {sheet.shape[0]}")
    return 0


def panels(model: MorphableModel, pixels: np.ndarray, fit: FitResult, *, size: int) -> np.ndarray:
    """(size, 6 size, 3) uint8: the pictures of one fit."""
    parameters = fit.parameters
    with torch.no_grad():
        vertices = model.vertices(parameters.identity, parameters.expression)
        neutral = model.vertices(parameters.identity)
        albedo = model.albedo(parameters.albedo)
    texture, _ = bake_texture(model, parameters, pixels, size=512)
    photo, pose = face_window(model, pixels, vertices, parameters.pose, size)
    shown = ~(model.masks["neck"] | model.masks["scalp"] | model.masks["mouth"] | model.masks["ears"])
    grey = CLAY.expand_as(albedo)

    def draw(points: torch.Tensor, camera: ScaledOrthographicPose, colours: torch.Tensor, light: torch.Tensor,
             keep: torch.Tensor | None, ground: np.ndarray) -> np.ndarray:
        large = camera.scaled_image(2)
        fragments = rasterize(large.project(points), model.faces, (2 * size, 2 * size))
        normals = interpolate(fragments, large.light_frame(vertex_normals(points, model.faces)), model.faces)
        image = shade(interpolate(fragments, colours, model.faces), torch.nn.functional.normalize(normals, dim=-1), light)
        return over(image, fragments, keep, ground)

    def over(image: torch.Tensor, fragments, keep: torch.Tensor | None, ground: np.ndarray) -> np.ndarray:
        mask = fragments.mask
        if keep is not None:
            mask = mask & keep[model.faces[fragments.face_index.clamp_min(0)]].all(-1)
        colour, alpha = antialias(image * mask[..., None], mask, 2)
        return ground * (1 - alpha[0, ..., None].numpy()) + colour[0].clamp(0, 1).numpy() * alpha[0, ..., None].numpy()

    ground = np.broadcast_to(PAPER, (size, size, 3))
    turned = turned_pose(vertices, size, yaw=-38.0)
    fragments = rasterize(turned.scaled_image(2).project(vertices), model.faces, (2 * size, 2 * size))
    with torch.no_grad():
        textured = sample_texture(fragments, model.uv, model.uv_faces, torch.from_numpy(texture).float() / 255)
        pictures = [photo, wire(model, photo, vertices, pose, fit, size),
                    draw(vertices, pose, albedo, parameters.illumination, shown, photo),
                    draw(vertices, pose, grey, CLAY_LIGHT, None, ground),
                    draw(neutral, turned_pose(neutral, size, yaw=38.0), grey, CLAY_LIGHT, None, ground),
                    over(textured, fragments, None, ground)]
    return (np.concatenate(pictures, axis=1).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def face_window(model: MorphableModel, pixels: np.ndarray, vertices: torch.Tensor, pose: ScaledOrthographicPose,
                size: int) -> tuple[np.ndarray, ScaledOrthographicPose]:
    """The photo around the head as (size, size, 3) float in [0, 1], and the pose in it."""
    projected = pose.project(vertices)[~model.masks["neck"], :2].numpy()
    low, high = projected.min(axis=0), projected.max(axis=0)
    side = 1.08 * float((high - low).max())
    factor = size / side
    window = pose.shifted(*(side / 2 - (low + high) / 2).tolist()).scaled_image(factor)
    # Where the pose says that the photo's origin went.
    origin = (window.translation - factor * (pose.translation + 0.5) + 0.5).numpy()
    smooth = cv2.GaussianBlur(pixels, (0, 0), 0.5 / factor) if factor < 1 else pixels
    matrix = np.array([[factor, 0, origin[0] + 0.5 * factor - 0.5], [0, factor, origin[1] + 0.5 * factor - 0.5]])
    picture = cv2.warpAffine(smooth, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(240, 240, 238))
    return picture.astype(np.float32) / 255, window


def turned_pose(vertices: torch.Tensor, size: int, *, yaw: float) -> ScaledOrthographicPose:
    """The head seen from the side, filling the picture."""
    rotation = torch.as_tensor(euler_deg_to_matrix_aflw(4.0, yaw, 0.0), dtype=torch.float32)
    points = vertices @ rotation.T
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    scale = 0.94 * size / float((high - low).max())
    return ScaledOrthographicPose(rotation, (size - 1) / 2 - scale * (low + high) / 2, torch.tensor(scale))


def wire(model: MorphableModel, photo: np.ndarray, vertices: torch.Tensor, pose: ScaledOrthographicPose, fit: FitResult,
         size: int) -> np.ndarray:
    """The photo with every fourth mesh edge of the face and the landmarks, drawn at four times the size."""
    zoom = 4
    canvas = cv2.resize((photo * 255).astype(np.uint8), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    large = pose.scaled_image(zoom)
    projected = large.project(vertices).numpy()
    faces = model.faces.numpy()
    corners = projected[faces, :2]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    towards = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    inside = model.masks["face"].numpy()[faces].all(axis=1)
    # The middle child of each subdivided triangle outlines a coarser mesh.
    chosen = np.flatnonzero(towards & inside & (np.arange(len(faces)) % 4 == 3))
    lines = canvas.copy()
    cv2.polylines(lines, list(np.round(corners[chosen] * 8).astype(np.int32)), True, (255, 255, 255), 1, cv2.LINE_AA, 3)
    canvas = cv2.addWeighted(lines, 0.45, canvas, 0.55, 0)
    found = fit.points + 0.0
    factor = float(large.scale / fit.parameters.pose.scale)
    shift = (large.translation - factor * (fit.parameters.pose.translation + 0.5) + 0.5).numpy()
    found = (found + 0.5) * factor - 0.5 + shift
    fitted = model.embeddings[fit.scheme].locate(projected, faces)[:, :2]
    for points, colour, radius in ((found, (60, 230, 90), 5), (fitted, (235, 50, 50), 3)):
        for x, y in np.round(points * 8).astype(int):
            cv2.circle(canvas, (int(x), int(y)), radius * 8, colour, -1, cv2.LINE_AA, 3)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


if __name__ == "__main__":
    sys.exit(main())
