"""Regions of the Basel mesh that dense metrics are taken over.

`full53215` needs nothing and `open_face` only files that ship here. The others are index lists of published methods that may
not be redistributed: they are read from a folder of the user's (--region-files), under the names that their authors gave:

    uv43867, bfm_uvmask    BFM_UV.mat (UV (53215, 2)) and uv_face_mask.png (256 x 256) or face_ind.txt
    noneck38365            indices.npy (3DDFA_V2)
    front35709             BFM_front_idx.mat (Deep3DFaceReconstruction)
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice, check_shape
from facerecon.errors import ModelError
from facerecon.evaluation.protocol import REGIONS

BFM_VERTICES = 53215
FILES = {
    "uv43867": ("BFM_UV.mat", "uv_face_mask.png or face_ind.txt"),
    "bfm_uvmask": ("BFM_UV.mat", "uv_face_mask.png or face_ind.txt"),
    "noneck38365": ("indices.npy",),
    "front35709": ("BFM_front_idx.mat",),
}
UV_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Region:
    """Points of a region, each a vertex or a fixed mixture of three.

    Attributes:
        name: as in `REGIONS`, plus " ∩ <topology>" after `restricted`.
        corners: (N, 3) vertex indices; weights: (N, 3) or None when each point is the vertex `corners[:, 0]`.
    """

    name: str
    corners: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """(V, C) -> (N, C)."""
        if self.weights is None:
            index = self.corners[:, 0]
            whole = len(index) == len(vertices) and index[0] == 0 and index[-1] == len(index) - 1
            return vertices if whole else vertices[index]
        return np.einsum("nk,nkc->nc", self.weights, vertices[self.corners])

    def restricted(self, available: np.ndarray, topology: str) -> Region:
        """The points whose vertices are all in `available` (V,) bool: the intersection with another topology."""
        used = self.corners[:, :1] if self.weights is None else self.corners
        kept = available[used].all(axis=1)
        if kept.all():
            return self
        return Region(f"{self.name} ∩ {topology} ({int(kept.sum())} of {len(self)})", self.corners[kept],
                      None if self.weights is None else self.weights[kept])


def vertex_region(name: str, index: np.ndarray) -> Region:
    """A region of whole vertices, index (N,)."""
    return Region(name, np.asarray(index, dtype=np.int64)[:, None])


def load_region(name: str, folder: str | os.PathLike[str] | None = None) -> Region:
    """A region by name.

    Args:
        folder: where the user's licensed index files are; needed by those named in the module's text.

    Raises:
        ModelError: `model_missing` naming the files that are wanted, `model_invalid` when they do not hold what they should.
    """
    check_choice("region", name, REGIONS)
    if name == "full53215":
        return vertex_region(name, np.arange(BFM_VERTICES))
    if name == "open_face":
        from facerecon.evaluation.topology import open_face_vertices

        return vertex_region(name, open_face_vertices())
    if folder is None:
        raise ModelError(needs(name), code="model_missing")
    folder = Path(folder)
    if name in ("noneck38365", "front35709"):
        return vertex_region(name, topology_indices({"noneck38365": "bfm38365", "front35709": "bfm35709"}[name], folder))
    uv = _read_uv(_wanted(folder, ("BFM_UV.mat",), name))
    mask = _read_mask(_wanted(folder, ("uv_face_mask.png", "face_ind.txt"), name))
    return uv_vertex_region(uv, mask) if name == "bfm_uvmask" else uv_pixel_region(uv, mask)


def needs(name: str) -> str:
    """The sentence that says which files a region needs."""
    return (f"region {name} needs {' and '.join(FILES[name])}, which may not be shipped; name the folder that holds your copies "
            f"with --region-files, or use --region full53215 or open_face")


def topology_indices(topology: str, folder: str | os.PathLike[str]) -> np.ndarray:
    """Vertices of the 53,215 that a smaller topology keeps, in its order: (38365,) or (35709,) indices from 0."""
    check_choice("topology", topology, ("bfm38365", "bfm35709"))
    count = int(topology[3:])
    if topology == "bfm38365":
        path = _wanted(Path(folder), ("indices.npy",), "noneck38365")
        index = _read_npy(path)
    else:
        from facerecon.data.datasets.mat5 import read_mat

        path = _wanted(Path(folder), ("BFM_front_idx.mat",), "front35709")
        index = read_mat(path, names=("idx",))["idx"] - 1
    index = np.asarray(index).reshape(-1).astype(np.int64)
    if len(index) != count or index.min() < 0 or index.max() >= BFM_VERTICES or len(np.unique(index)) != count:
        raise ModelError(f"{path}: wanted {count} different indices below {BFM_VERTICES}, got {len(index)} from {index.min()} to "
                         f"{index.max()}")
    return index


def uv_vertex_region(uv: np.ndarray, mask: np.ndarray) -> Region:
    """`bfm_uvmask`: the vertices whose nearest pixel of the UV map lies in the mask. uv (V, 2) in [0, 1], mask (256, 256)."""
    pixel = np.clip(np.rint(_uv_pixels(uv)).astype(np.int64), 0, UV_SIZE - 1)
    return vertex_region("bfm_uvmask", np.flatnonzero(mask[pixel[:, 1], pixel[:, 0]]))


def uv_pixel_region(uv: np.ndarray, mask: np.ndarray) -> Region:
    """`uv43867`: the pixels of the mask, row by row, each as a mixture of the three vertices around it in the UV plane.

    The triangles are a Delaunay triangulation of the UV points; PRNet and SADRNet measure on these pixels.
    """
    import scipy.spatial

    points = _uv_pixels(uv)
    triangles = scipy.spatial.Delaunay(points).simplices.astype(np.int64)
    triangle, weights = _triangle_of_pixels(points, triangles)
    rows, columns = np.nonzero(mask)
    found = triangle[rows, columns]
    if (found < 0).any():
        raise ModelError(f"uv43867: {int((found < 0).sum())} pixels of the mask lie outside the UV map; the files do not belong "
                         f"together")
    return Region("uv43867", triangles[found], weights[rows, columns])


def _triangle_of_pixels(points: np.ndarray, triangles: np.ndarray, chunk: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel of the UV map a triangle that holds its centre, -1 for none, and the barycentric weights."""
    triangle = np.full((UV_SIZE, UV_SIZE), -1, dtype=np.int64)
    weights = np.zeros((UV_SIZE, UV_SIZE, 3))
    for start in range(0, len(triangles), chunk):
        corners = points[triangles[start:start + chunk]]
        low = np.ceil(corners.min(axis=1)).astype(np.int64).clip(0, UV_SIZE - 1)
        size = (np.floor(corners.max(axis=1)).astype(np.int64).clip(0, UV_SIZE - 1) - low + 1).clip(0)
        # One row per pair of a triangle and a pixel in its box; most boxes hold one pixel or none.
        count = size.prod(axis=1)
        which = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        column, row = low[which, 0] + place % size[which, 0], low[which, 1] + place // size[which, 0]
        a, b, c = np.moveaxis(corners[which], 1, 0)
        here = np.stack([column, row], axis=1)
        area = _cross(b - a, c - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            second, third = _cross(here - a, c - a) / area, _cross(b - a, here - a) / area
        inside = (np.minimum(np.minimum(second, third), 1 - second - third) >= -1e-9) & (area != 0)
        triangle[row[inside], column[inside]] = start + which[inside]
        weights[row[inside], column[inside]] = np.stack([1 - second - third, second, third], axis=1)[inside]
    return triangle, weights


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _uv_pixels(uv: np.ndarray) -> np.ndarray:
    check_shape("uv", uv, (None, 2))
    return np.stack([(UV_SIZE - 1) * uv[:, 0], (UV_SIZE - 1) * (1 - uv[:, 1])], axis=1)


def _wanted(folder: Path, names: tuple[str, ...], region: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder} holds no {' or '.join(names)}; {needs(region)}", code="model_missing")


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ModelError(f"{path}: not a plain .npy array ({error})", code="model_corrupt") from error


def _read_uv(path: Path) -> np.ndarray:
    from facerecon.data.datasets.mat5 import read_mat

    uv = np.asarray(read_mat(path, names=("UV",))["UV"], dtype=np.float64)
    if uv.shape != (BFM_VERTICES, 2) or not np.isfinite(uv).all() or uv.min() < 0 or uv.max() > 1:
        raise ModelError(f"{path}: wanted UV ({BFM_VERTICES}, 2) in [0, 1], got {uv.shape}")
    return uv


def _read_mask(path: Path) -> np.ndarray:
    if path.suffix == ".txt":
        try:
            index = np.loadtxt(path).reshape(-1).astype(np.int64)
        except ValueError as error:
            raise ModelError(f"{path}: wanted one pixel index per line ({error})", code="model_corrupt") from error
        if len(index) == 0 or index.min() < 0 or index.max() >= UV_SIZE ** 2:
            raise ModelError(f"{path}: wanted pixel indices below {UV_SIZE ** 2}")
        mask = np.zeros(UV_SIZE ** 2, dtype=bool)
        mask[index] = True
        return mask.reshape(UV_SIZE, UV_SIZE)
    from facerecon.data import load_image

    pixels = load_image(path).pixels
    if pixels.shape[:2] != (UV_SIZE, UV_SIZE):
        raise ModelError(f"{path}: wanted {UV_SIZE} x {UV_SIZE} pixels, got {pixels.shape[1]} x {pixels.shape[0]}")
    return pixels[..., 0] > 0
