"""Subdivision of triangle meshes as sparse matrices.

Both schemes put one new vertex on each edge and split each triangle into four, and both are linear in the vertices: one
matrix serves the mean shape, every basis vector and every attribute. Loop, "Smooth Subdivision Surfaces Based on
Triangles" (Utah 1987), with the vertex weights of Warren (1995) and cubic B-spline curves on the boundary.

Order of the result: the V old vertices come first, then one vertex per edge, edges sorted by (smaller, larger) old index.
Child triangles of old triangle f = (a, b, c) are 4f .. 4f+3: (a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca), each
wound as f is.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from facerecon.checks import check_shape
from facerecon.errors import MeshError


def loop_subdivide(faces: np.ndarray, vertex_count: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """One step of Loop subdivision.

    Args:
        faces: (F, 3) int, consistently wound; every edge belongs to one triangle (boundary) or two.
        vertex_count: V, the number of vertices that `faces` index; vertices of no triangle stay where they are.

    Returns:
        (matrix, faces): matrix (V + E, V) float64 with rows that sum to one, so that `matrix @ vertices` are the new
        vertices; faces (4F, 3) int64.

    Raises:
        MeshError: `mesh_invalid` for an index out of range, a triangle with a repeated vertex, or an edge of more than two
            triangles.
    """
    edges, corner_edge, count = _edges(faces, vertex_count)
    boundary_edge = count == 1

    opposite = np.zeros((len(edges), 2), dtype=np.int64)
    filled = np.zeros(len(edges), dtype=np.int64)
    for corner in range(3):
        # Within one corner column an edge can occur twice, once per triangle; the stable order gives each its slot.
        edge = corner_edge[:, corner]
        order = np.argsort(edge, kind="stable")
        repeated = np.zeros(len(edge), dtype=np.int64)
        repeated[order[1:]] = edge[order[1:]] == edge[order[:-1]]
        opposite[edge, filled[edge] + repeated] = faces[:, (corner + 2) % 3]
        np.add.at(filled, edge, 1)

    inner = np.flatnonzero(~boundary_edge)
    rim = np.flatnonzero(boundary_edge)
    row, column, weight = [], [], []

    def put(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray | float) -> None:
        row.append(rows)
        column.append(columns)
        weight.append(np.broadcast_to(weights, rows.shape))

    for side in range(2):
        put(vertex_count + inner, edges[inner, side], 3 / 8)
        put(vertex_count + inner, opposite[inner, side], 1 / 8)
        put(vertex_count + rim, edges[rim, side], 1 / 2)

    on_rim = np.zeros(vertex_count, dtype=bool)
    on_rim[edges[rim].ravel()] = True
    valence = np.bincount(edges.ravel(), minlength=vertex_count)
    rim_valence = np.bincount(edges[rim].ravel(), minlength=vertex_count)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    smooth = ~on_rim & (valence > 0)
    # A vertex where several boundary curves meet has no single curve to follow: it stays, as a corner.
    curve = on_rim & (rim_valence == 2)
    own = np.ones(vertex_count)
    own[smooth] = 1 - valence[smooth] * beta[smooth]
    own[curve] = 3 / 4
    put(np.arange(vertex_count), np.arange(vertex_count), own)
    for side in range(2):
        centre, neighbour = edges[:, side], edges[:, 1 - side]
        use = smooth[centre]
        put(centre[use], neighbour[use], beta[centre[use]])
        use = boundary_edge & curve[centre]
        put(centre[use], neighbour[use], 1 / 8)

    shape = (vertex_count + len(edges), vertex_count)
    matrix = scipy.sparse.coo_matrix((np.concatenate(weight), (np.concatenate(row), np.concatenate(column))), shape=shape)
    return matrix.tocsr(), _children(faces, corner_edge + vertex_count)


def midpoint_subdivide(faces: np.ndarray, vertex_count: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Split every triangle into four at its edge midpoints; nothing is smoothed.

    The surface stays where it is, which is what texture coordinates need. Order, shapes and errors as `loop_subdivide`,
    except that edges of more than two triangles are accepted.
    """
    edges, corner_edge, _ = _edges(faces, vertex_count, manifold=False)
    ends = np.arange(len(edges)) + vertex_count
    row = np.concatenate([np.arange(vertex_count), ends, ends])
    column = np.concatenate([np.arange(vertex_count), edges[:, 0], edges[:, 1]])
    weight = np.concatenate([np.ones(vertex_count), np.full(2 * len(edges), 0.5)])
    matrix = scipy.sparse.coo_matrix((weight, (row, column)), shape=(vertex_count + len(edges), vertex_count))
    return matrix.tocsr(), _children(faces, corner_edge + vertex_count)


def subdivide_mesh(vertices: np.ndarray, faces: np.ndarray, *, steps: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Loop-subdivide a mesh `steps` times: vertices (V, C) float and faces (F, 3) -> the finer vertices and faces."""
    check_shape("vertices", vertices, (None, None))
    for _ in range(steps):
        matrix, faces = loop_subdivide(faces, len(vertices))
        vertices = matrix @ vertices
    return vertices, faces


def _edges(faces: np.ndarray, vertex_count: int, *, manifold: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique edges (E, 2), the edge of each triangle side (F, 3) in the order ab, bc, ca, and triangles per edge (E,)."""
    check_shape("faces", faces, (None, 3))
    faces = np.asarray(faces)
    if not np.issubdtype(faces.dtype, np.integer) or len(faces) == 0:
        raise MeshError(f"faces: wanted at least one row of integers, got {len(faces)} rows of {faces.dtype}")
    if faces.min() < 0 or faces.max() >= vertex_count:
        raise MeshError(f"faces: wanted indices from 0 to {vertex_count - 1}, got {faces.min()} to {faces.max()}")
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), axis=1)
    if (sides[:, 0] == sides[:, 1]).any():
        raise MeshError(f"faces: {int((sides[:, 0] == sides[:, 1]).sum())} sides join a vertex with itself; remove them")
    edges, inverse, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    if manifold and count.max() > 2:
        raise MeshError(f"faces: {int((count > 2).sum())} edges belong to more than two triangles; wanted a manifold mesh")
    return edges, inverse.reshape(3, -1).T, count


def _children(faces: np.ndarray, middle: np.ndarray) -> np.ndarray:
    a, b, c = np.asarray(faces, dtype=np.int64).T
    ab, bc, ca = middle.T
    quads = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1)
    return quads.reshape(-1, 3)
