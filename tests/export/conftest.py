"""Small meshes with known answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest


@dataclasses.dataclass
class Head:
    """An egg in millimetres, +y up, looking along +z, with a uv seam down its back."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    texture: np.ndarray


@pytest.fixture(scope="session")
def head() -> Head:
    rings, sectors = 12, 16
    vertices, uv = [], []
    for ring in range(rings + 1):
        polar = np.pi * ring / rings
        for sector in range(sectors):
            around = 2 * np.pi * sector / sectors
            vertices.append([-70 * np.sin(polar) * np.sin(around), 110 * np.cos(polar), -80 * np.sin(polar) * np.cos(around)])
        for sector in range(sectors + 1):
            # The seam is where `around` is 0: at the back, where z is most negative.
            uv.append([1 - sector / sectors, 1 - ring / rings])
    faces, uv_faces = [], []
    for ring in range(rings):
        for sector in range(sectors):
            after = (sector + 1) % sectors
            a, b = ring * sectors + sector, ring * sectors + after
            c, d = (ring + 1) * sectors + sector, (ring + 1) * sectors + after
            ta, tb = ring * (sectors + 1) + sector, ring * (sectors + 1) + sector + 1
            tc, td = ta + sectors + 1, tb + sectors + 1
            if ring > 0:
                faces.append([a, b, c])
                uv_faces.append([ta, tb, tc])
            if ring < rings - 1:
                faces.append([b, d, c])
                uv_faces.append([tb, td, tc])
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32] = [200, 40, 40]
    texture[32:] = [40, 40, 200]
    faces = np.array(faces)
    # Outward: the triangle's normal agrees with the direction from the centre.
    points = np.array(vertices)
    normal = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    outward = (normal * points[faces].mean(axis=1)).sum(axis=1) > 0
    faces[~outward] = faces[~outward][:, ::-1]
    uv_faces = np.array(uv_faces)
    uv_faces[~outward] = uv_faces[~outward][:, ::-1]
    # The poles have one vertex for each sector; unused duplicates keep the layout simple.
    return Head(points, faces, np.array(uv), uv_faces, texture)
