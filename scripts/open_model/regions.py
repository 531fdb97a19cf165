"""Named vertex sets of the open model, from the charts of the texture layout, the region maps and the mean shape."""

from __future__ import annotations

import numpy as np

from open_model.topology import Topology
from open_model.uvmaps import sample, to_vertices


def coarse_face_region(vertices: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(V0,) bool: the front of the head, before any finer map exists; for alignment and the weights of the PCA."""
    depth, height = vertices[:, 2], vertices[:, 1]
    nose = vertices[part == 0][depth[part == 0].argmax()]
    return (part == 0) & (depth > nose[2] - 95) & (height > nose[1] - 85)


def chart_of_uv(topology: Topology) -> np.ndarray:
    """Chart index (T0,) of each coarse texture vertex: connected pieces of the texture layout."""
    import scipy.sparse
    import scipy.sparse.csgraph

    faces, count = topology.coarse_uv_faces, len(topology.coarse_uv)
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = scipy.sparse.coo_matrix((np.ones(len(sides)), sides.T), shape=(count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def vertex_masks(topology: Topology, fine_mean: np.ndarray, region_maps: dict[str, np.ndarray],
                 landmarks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The masks of the model file, each (V,) bool and mirror-symmetric.

    Args:
        fine_mean: (V,3) mean shape.
        region_maps: see `read_region_maps`.
        landmarks: points of the mean shape by scheme, iBUG-68 needed.

    Returns:
        skin (photometric face skin with lips), face (frontal face with brows, lips and lids, no eyes, ears, neck, scalp),
        eyes (eyeballs), mouth (inside, tongue), lips, ears, neck, scalp, pncc (the region that a projected code draws:
        face, lips, eyeballs' shown part; front of the head to the ears).
    """
    count = len(fine_mean)
    symmetric = topology.symmetry
    uv = topology.uv_matrix @ topology.coarse_uv

    def from_map(name: str, level: float) -> np.ndarray:
        value = to_vertices(sample(region_maps[name], uv), topology.uv_faces, topology.faces, count)
        return (value + value[symmetric]) / 2 > level

    chart = chart_of_uv(topology)
    charts = {index: topology.coarse_uv[chart == index] for index in np.unique(chart)}
    head = max(charts, key=lambda index: np.ptp(charts[index], axis=0).prod())
    in_head = _touching(topology, chart == head, every=True)
    part = np.asarray((topology.matrix @ np.eye(4)[topology.part])).argmax(axis=1)
    eyes = part >= 2
    outside = (part == 0) & in_head

    points = landmarks["ibug68"]
    chin, nose = points[8], points[30]
    brow = points[17:27, 1].mean()
    x, y, z = fine_mean.T
    ears = from_map("ears", 0.5) & outside
    # The jaw line in three dimensions: below the polyline of the jaw points (height against depth), skin is neck.
    jaw = points[:9] * [-1, 1, 1] / 2 + points[16:7:-1] / 2
    order = np.argsort(jaw[:, 2])
    jaw_height = np.interp(z, jaw[order, 2], jaw[order, 1])
    below = y < jaw_height - 9
    ear_depth = fine_mean[ears, 2].max() if ears.any() else z.min()
    behind = z < ear_depth - 4
    hairline = brow + 0.50 * (brow - chin[1])
    # The hairline comes down along the temples.
    line = hairline - 0.0055 * np.abs(x) ** 2
    scalp = outside & ~ears & ((y > line) | (behind & (y > nose[1] - 25)))
    neck = (part == 0) & ~scalp & ~ears & ((behind & (y <= nose[1] - 25)) | below) & (y < nose[1] - 25)
    mouth = (part == 1) | ((part == 0) & ~in_head & _touching(topology, np.isin(chart, _mouth_charts(topology, chart, head))
                                                              , every=True))
    sockets = (part == 0) & ~in_head & ~mouth & (y > nose[1])
    neck = (neck | ((part == 0) & ~in_head & ~sockets)) & ~mouth & ~sockets
    face = outside & ~ears & ~neck & ~scalp
    lips = from_map("lips", 0.5) & outside
    face &= ~mouth
    skin = face & ~_sunken(fine_mean, topology, outside)
    shown_eye = eyes & (z > np.array([z[part == index].max() if (part == index).any() else 0 for index in range(4)])[part] - 13)
    pncc = face | shown_eye
    masks = {"skin": skin, "face": face, "eyes": eyes, "mouth": mouth, "lips": lips, "ears": ears, "neck": neck,
             "scalp": scalp, "pncc": pncc}
    return {name: value & value[symmetric] for name, value in masks.items()}


def _mouth_charts(topology: Topology, chart: np.ndarray, head: int) -> list[int]:
    """The mouth cavity: the chart other than the head's that has the most triangles and lies on the middle plane."""
    middle = {}
    for index in np.unique(chart):
        rows = chart[topology.coarse_uv_faces[:, 0]] == index
        vertices = np.unique(topology.coarse_faces[rows])
        if index != head and (topology.part[vertices] == 0).all():
            place = topology.coarse_vertices[vertices]
            if abs(place[:, 0].mean()) < 1 and place[:, 2].max() > 100:
                middle[index] = rows.sum()
    return [max(middle, key=middle.get)]


def _touching(topology: Topology, uv_mask: np.ndarray, *, every: bool) -> np.ndarray:
    """Fine vertices of which all (or some) texture vertices come from coarse texture vertices in `uv_mask`."""
    share = topology.uv_matrix @ uv_mask.astype(float)
    value = to_vertices((share > 0.999).astype(float), topology.uv_faces, topology.faces, topology.matrix.shape[0])
    return value > 0.999 if every else value > 0


def _sunken(mean: np.ndarray, topology: Topology, outside: np.ndarray) -> np.ndarray:
    """Rims that fold inwards (lid edges, nostrils): vertices whose normal does not face front or side."""
    corners = mean[topology.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(mean)
    for corner in range(3):
        np.add.at(total, topology.faces[:, corner], normal)
    total /= np.linalg.norm(total, axis=1, keepdims=True) + 1e-12
    return outside & (total[:, 2] < -0.3)
