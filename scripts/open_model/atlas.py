"""The texture atlas of the open model: the hm08 charts, turned upright, the face magnified, packed without overlap.

The head chart keeps its seams and is bent by one monotone function of u and one of v, so it cannot fold over itself. Both
follow the length of the surface under each column and row, with the face counting more than the rest.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from open_model.regions import chart_of_uv
from open_model.topology import Topology

# Boxes (u0, v0, u1, v1) of the charts; v is up. The head takes the upper part, everything hidden or small the strip below.
HEAD_BOX = (0.006, 0.186, 0.994, 0.994)
ISLANDS = {
    "eye_front_left": (0.865, 0.012, 0.990, 0.170), "eye_front_right": (0.730, 0.012, 0.855, 0.170),
    "mouth": (0.010, 0.012, 0.200, 0.170), "neck": (0.210, 0.012, 0.390, 0.170),
    "socket_right": (0.400, 0.012, 0.490, 0.170), "socket_left": (0.500, 0.012, 0.590, 0.170),
    "tongue": (0.600, 0.092, 0.655, 0.170), "eye_back_left": (0.665, 0.092, 0.720, 0.170),
    "eye_back_right": (0.665, 0.012, 0.720, 0.084),
}
OUTSIDE_WEIGHT = 0.42


@dataclasses.dataclass(frozen=True)
class Atlas:
    """uv (T,2) in [0,1] of the fine mesh, and the chart name of each coarse texture vertex."""

    uv: np.ndarray
    chart_names: dict[int, str]


def build_atlas(topology: Topology, fine_mean: np.ndarray, face: np.ndarray) -> Atlas:
    """Lay out the fine texture vertices.

    Args:
        fine_mean: (V,3) mean shape, for lengths and sides.
        face: (V,) bool, the vertices to magnify.
    """
    chart = chart_of_uv(topology)
    names = name_charts(topology, chart)
    fine_chart = np.rint(topology.uv_matrix @ chart).astype(int)
    source = topology.uv_matrix @ topology.coarse_uv
    # A quarter turn: hm08 lays the head on its side, the forehead to the left.
    upright = np.stack([source[:, 1], -source[:, 0]], axis=1)
    vertex_of = np.zeros(len(source), dtype=np.int64)
    vertex_of[topology.uv_faces.ravel()] = topology.faces.ravel()
    position = fine_mean[vertex_of]
    uv = np.zeros_like(source)
    for index, name in names.items():
        rows = np.flatnonzero(fine_chart == index)
        place = upright[rows]
        if name == "head":
            if np.corrcoef(place[:, 0], position[rows, 0])[0, 1] < 0:
                raise ValueError("the head chart is mirrored")
            middle = place[np.abs(position[rows, 0]) < 1e-6, 0].mean()
            for axis in (0, 1):
                place[:, axis] = _magnify(place[:, axis], position[rows], face[vertex_of[rows]], axis,
                                          middle if axis == 0 else None)
            uv[rows] = _fit(place, HEAD_BOX, keep_aspect=False)
        else:
            uv[rows] = _fit(place, ISLANDS[name], keep_aspect=not name.startswith("neck"))
    area = signed_area(uv, topology.uv_faces)
    if (area <= 0).any():
        raise ValueError(f"{int((area <= 0).sum())} atlas triangles are turned over")
    return Atlas(uv=uv, chart_names=names)


def signed_area(uv: np.ndarray, uv_faces: np.ndarray) -> np.ndarray:
    """Area (F,) of the texture triangles, positive when counter-clockwise."""
    a, b, c = (uv[uv_faces[:, corner]] for corner in range(3))
    return ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / 2


def _magnify(value: np.ndarray, position: np.ndarray, face: np.ndarray, axis: int, middle: float | None) -> np.ndarray:
    """A monotone function of `value` whose slope is the surface length per unit, averaged over narrow bands."""
    edges = np.linspace(value.min(), value.max(), 61)
    centres = (edges[:-1] + edges[1:]) / 2
    along = position[:, 0] if axis == 0 else position[:, 1]
    slope = np.full(len(centres), np.nan)
    width = (edges[1] - edges[0]) * 1.5
    for index, centre in enumerate(centres):
        near = np.abs(value - centre) < width
        shown = near & face
        if shown.sum() >= 12:
            # Length in three dimensions: the slope of depth adds to that of the axis itself.
            spread = value[shown] - value[shown].mean()
            gain = [abs(spread @ (column[shown] - column[shown].mean())) / (spread @ spread)
                    for column in (along, position[:, 2])]
            slope[index] = np.hypot(gain[0], 0.5 * gain[1])
    known = ~np.isnan(slope)
    if not known.any():
        raise ValueError("the face mask is empty in the head chart")
    typical = np.median(slope[known])
    # Bands without face still hold ears and skull, at less resolution.
    slope = np.where(known, np.clip(slope, 0.6 * typical, 2.2 * typical), OUTSIDE_WEIGHT * typical)
    if middle is not None:
        mirrored = np.interp(2 * middle - centres, centres, slope)
        slope = (slope + mirrored) / 2
    kernel = np.hanning(9)[1:-1]
    slope = np.convolve(np.pad(slope, 3, mode="edge"), kernel / kernel.sum(), mode="valid")
    total = np.concatenate([[0.0], np.cumsum(slope * np.diff(edges))])
    # Cubic-free and exact: the integral of a piecewise-linear slope is smooth enough for texture.
    return np.interp(value, edges, total)


def _fit(place: np.ndarray, box: tuple[float, float, float, float], *, keep_aspect: bool) -> np.ndarray:
    low, high = place.min(axis=0), place.max(axis=0)
    start, end = np.array(box[:2]), np.array(box[2:])
    scale = (end - start) / (high - low)
    if keep_aspect:
        scale = np.full(2, scale.min())
    return (start + end) / 2 + (place - (low + high) / 2) * scale


def name_charts(topology: Topology, chart: np.ndarray) -> dict[int, str]:
    names: dict[int, str] = {}
    middle = []
    for index in np.unique(chart):
        rows = chart[topology.coarse_uv_faces[:, 0]] == index
        vertices = np.unique(topology.coarse_faces[rows])
        part = int(topology.part[vertices].max())
        place = topology.coarse_vertices[vertices]
        side = "left" if place[:, 0].mean() > 0 else "right"
        if part == 1:
            names[index] = "tongue"
        elif part >= 2:
            front = place[:, 2].mean() > topology.coarse_vertices[topology.part == 2, 2].mean()
            names[index] = f"eye_{'front' if front else 'back'}_{side}"
        elif abs(place[:, 0].mean()) > 5:
            names[index] = f"socket_{side}"
        else:
            middle.append((int(rows.sum()), index))
    for (_, index), name in zip(sorted(middle, reverse=True), ("head", "mouth", "neck"), strict=True):
        names[index] = name
    if len(set(names.values())) != len(names):
        raise ValueError(f"charts are not what they should be: {sorted(names.values())}")
    return names
