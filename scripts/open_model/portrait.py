"""Draw random heads of the open model as a detector likes to see them: textured, lit, with brows and irises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import torch

from facerecon.geometry.normals import vertex_normals
from facerecon.morphable.modelfile import ModelData
from facerecon.render import interpolate, rasterize, shade
from open_model import brows
from open_model.texture import atlas_fragments, gather
from open_model.topology import sphere
from open_model.uvmaps import sample

IDENTITY_STD = 0.8
ATLAS_SIZE = 1024


@dataclasses.dataclass(frozen=True)
class Head:
    """vertices (V,3) mm and texture (S,S,3) float in [0,1]."""

    vertices: np.ndarray
    texture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Portrait:
    """pixels (H,W,3) uint8; and supersampled (sH,sW): face_index; barycentric (...,3); facing, the cosine between normal and
    view; height, mm towards the viewer."""

    pixels: np.ndarray
    face_index: np.ndarray
    barycentric: np.ndarray
    facing: np.ndarray
    height: np.ndarray


@dataclasses.dataclass(frozen=True)
class Paint:
    """What does not change from head to head: the texture (S,S,3) without brows, each style's opacity (S,S) in the atlas, and
    the atlas's triangles."""

    bare: np.ndarray
    hair: dict[str, np.ndarray]
    fragments: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def make(data: ModelData, textures: Path) -> Paint:
        mean = data.mean.astype(np.float64)
        fragments = atlas_fragments(data.uv.astype(np.float64), data.uv_faces, ATLAS_SIZE)
        position = gather(mean, data.faces, fragments)
        left, right = (mean[data.masks["eyes"] & (side * mean[:, 0] > 0)] for side in (1, -1))
        centres = np.stack([sphere(right)[0], sphere(left)[0]])
        front = np.array([0, 0, mean[data.masks["eyes"], 2].max()])
        middle, distance = centres.mean(axis=0) * [0, 1, 0] + front, abs(centres[1, 0] - centres[0, 0])
        skin = gather(data.masks["skin"].astype(float)[:, None], data.faces, fragments)[..., 0]
        hair = {style: brows.brow_opacity(picture, position, middle, distance, thickness=1.45) * skin
                for style, picture in brows.read_brows(textures).items()}
        cover = np.max(list(hair.values()), axis=0)
        cover = cv2.dilate((cover > 0.03).astype(np.uint8), np.ones((9, 9), np.uint8))
        bare = cv2.inpaint(np.ascontiguousarray(data.albedo_texture), cover, 7, cv2.INPAINT_TELEA)
        return Paint(bare.astype(np.float32) / 255, hair, fragments)


def random_head(data: ModelData, paint: Paint, generator: np.random.Generator) -> Head:
    """A neutral head with random shape, skin, iris and brow style."""
    identity = IDENTITY_STD * generator.standard_normal(len(data.identity_basis)).astype(np.float32)
    vertices = data.mean + np.tensordot(identity, data.identity_basis, 1)
    names = data.header["albedo_names"]
    scale = np.array([0.0 if name.startswith("brow") else 0.45 if name.startswith(("beard", "moustache", "lip")) else 0.8
                      for name in names])
    change = np.tensordot(scale * generator.standard_normal(len(names)), data.albedo_basis, 1)
    ratio = np.clip(data.albedo_mean + change, 0.04, 0.97) / np.clip(data.albedo_mean, 0.04, 1)
    texture = paint.bare * np.clip(gather(ratio, data.faces, paint.fragments), 0.1, 4)
    style = brows.STYLES[generator.integers(len(brows.STYLES))]
    hair = np.clip(paint.hair[style] * generator.uniform(0.75, 1.15), 0, 0.92)[..., None]
    colour = np.array([0.16, 0.12, 0.10]) + generator.uniform(0, 0.16) * np.array([1.0, 0.7, 0.45])
    texture = texture * (1 - hair) + np.minimum(colour, texture * 0.75) * hair
    return Head(vertices.astype(np.float32), np.clip(texture, 0, 1).astype(np.float32))


def draw_portrait(data: ModelData, head: Head, generator: np.random.Generator, *, angles_deg: tuple[float, float, float],
                  size: int, supersampling: int = 2) -> Portrait:
    """Draw a head at yaw, pitch and roll, filling about 80 % of the picture, under a random soft light."""
    large = size * supersampling
    yaw, pitch, roll = np.radians(angles_deg)
    turn = _axis(2, roll) @ _axis(0, pitch) @ _axis(1, yaw)
    turned = head.vertices @ turn.T.astype(np.float32)
    skin = turned[data.masks["face"]]
    centre = (skin.max(axis=0) + skin.min(axis=0)) / 2
    scale = 0.62 * large / (skin[:, 1].max() - skin[:, 1].min())
    projected = np.stack([(turned[:, 0] - centre[0]) * scale + large / 2 - 0.5,
                          -(turned[:, 1] - centre[1]) * scale + large / 2 - 0.5, -turned[:, 2] * scale], axis=1)
    faces = torch.from_numpy(data.faces)
    fragments = rasterize(torch.from_numpy(projected), faces, (large, large))
    normals = vertex_normals(torch.from_numpy(turned), faces)
    normal = torch.nn.functional.normalize(interpolate(fragments, normals, faces)[0], dim=-1)
    index, weights = fragments.face_index[0].numpy(), fragments.barycentric[0].numpy()
    uv = np.einsum("hwk,hwkc->hwc", weights, data.uv[data.uv_faces[np.maximum(index, 0)]])
    colour = sample(head.texture, uv)
    lit = shade(torch.from_numpy(colour.astype(np.float32)), normal, torch.from_numpy(_light(generator))).numpy()
    shown = (index >= 0)[..., None]
    image = np.where(shown, lit, generator.uniform(0.25, 0.8, 3).astype(np.float32))
    pixels = cv2.resize((np.clip(image, 0, 1) * 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)
    return Portrait(pixels, index, weights, np.where(index >= 0, normal[..., 2].numpy(), 0),
                    -fragments.depth[0].numpy() / scale)


def _light(generator: np.random.Generator) -> np.ndarray:
    """Ambient light plus a soft lamp from above and the side: (9, 3)."""
    light = np.zeros((9, 3), dtype=np.float32)
    level = generator.uniform(0.85, 1.15) * (1 + generator.uniform(-0.05, 0.05, 3))
    light[0] = 3.545 * 0.72 * level
    # Order 1, y, z, x: a lamp at the upper front.
    light[1:4] = np.array([[generator.uniform(0.0, 0.45)], [generator.uniform(0.3, 0.6)], [generator.uniform(-0.45, 0.45)]]
                          ) * level
    return light


def _axis(axis: int, angle: float) -> np.ndarray:
    first, second = [other for other in range(3) if other != axis]
    turn = np.eye(3)
    sine = np.sin(angle) * (-1 if axis == 1 else 1)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -sine, sine
    return turn
