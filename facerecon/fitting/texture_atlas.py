"""What texture baking needs to know of a model's atlas; computed once for a model and a size."""

from __future__ import annotations

import dataclasses
import threading
import weakref

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import torch

from facerecon.errors import ArgumentError
from facerecon.morphable.model import MorphableModel
from facerecon.render.fragments import Fragments
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize

SKIN, EYES, MOUTH = 0, 1, 2

_cache: weakref.WeakKeyDictionary[MorphableModel, dict[int, AtlasMaps]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class AtlasMaps:
    """A model's atlas at S x S texels. "Texel images" are (S, S, ...) arrays, first row at v = 1.

    Attributes:
        fragments: which face each texel shows, and where on it.
        faces: (F, 3) int64 tensor, of the model.
        covered: texel image, bool.
        kind: (V,) int, SKIN, EYES or MOUTH of each vertex.
        skin: texel image, float32 1 where all corners are SKIN, else 0.
        face: texel image, float32: 1 inside the face, fading to 0 at its border (hairline, ears, underside of the jaw).
        mirror: two texel images, float32: column and row of the texel at the mirrored place of the face.
        albedo: texel image (3 channels, float32 in [0, 1]): the model's mean albedo.
        trusted: (V,) float32, 1 well inside the face, where nothing but the face is expected, 0 towards its border.
        tested: (V,) float32, 1 beside and below the face, where hair, ears and collars may cover it, 0 in its middle.
        hairy: (V,) float32, 1 at the top of the forehead, where hair belongs, 0 elsewhere.
        scalp: (V,) bool, where hair grows behind the face.
        hairline: (V,) bool, the band of the scalp next to the forehead, which a photo from the front shows.
        place: (V, 2) float32, column and row of each vertex in texels.
        neighbours: (V, V) sparse, symmetric; neighbours on the surface, weighted by inverse squared distance in mm.
        degree: (V,) float32, the sums of its rows.
        padding: flat indices: `padding[0]` of texels outside the charts but near one, `padding[1]` of the texel to copy.
        far: texel image, bool: neither covered nor padded.
    """

    fragments: Fragments
    faces: torch.Tensor
    covered: np.ndarray
    kind: np.ndarray
    skin: np.ndarray
    face: np.ndarray
    mirror: tuple[np.ndarray, np.ndarray]
    albedo: np.ndarray
    trusted: np.ndarray
    tested: np.ndarray
    hairy: np.ndarray
    scalp: np.ndarray
    hairline: np.ndarray
    place: np.ndarray
    neighbours: scipy.sparse.csr_array
    degree: np.ndarray
    padding: tuple[np.ndarray, np.ndarray]
    far: np.ndarray

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Vertex values (V, C) or (V,) as a texel image."""
        return spread(self.fragments, self.faces, values)

    def mirrored(self, image: np.ndarray) -> np.ndarray:
        """A texel image seen from the other side of the face: each texel shows what its mirror texel has."""
        return cv2.remap(image, *self.mirror, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def atlas_maps(model: MorphableModel, size: int) -> AtlasMaps:
    """The maps of `model` at `size` x `size` texels, kept as long as the model lives."""
    with _lock:
        kept = _cache.setdefault(model, {})
        if size not in kept:
            kept[size] = _build(model, size)
        return kept[size]


def _build(model: MorphableModel, size: int) -> AtlasMaps:
    uv, uv_faces = model.uv.cpu().numpy().astype(np.float64), model.uv_faces.cpu()
    faces = model.faces.cpu()
    place = np.stack([uv[:, 0] * size - 0.5, (1.0 - uv[:, 1]) * size - 0.5], axis=-1)
    flat = torch.from_numpy(np.concatenate([place, np.zeros((len(place), 1))], axis=1).astype(np.float32))
    fragments = rasterize(flat, uv_faces, (size, size))
    covered = fragments.mask[0].numpy()
    if not covered.any():
        raise ArgumentError(f"size: no texel of a {size} x {size} atlas meets the model's charts")

    masks = {name: mask.cpu().numpy() for name, mask in model.masks.items()}
    none = np.zeros(len(model.mean), bool)
    kind = np.full(len(model.mean), SKIN)
    kind[masks.get("eyes", none)] = EYES
    kind[masks.get("mouth", none)] = MOUTH
    vertices = model.mean.cpu().numpy().astype(np.float64)
    neighbours, lengths = _surface_graph(vertices, faces.numpy())
    scalp = masks.get("scalp", none)
    below = _largest_part(masks.get("neck", none) | masks.get("ears", none), lengths)
    # Without these masks the border is that of the face; eye sockets and mouth open inside it.
    outside = scalp | below if below.any() else ~(masks.get("face", ~none) | (kind != SKIN))
    hairline = _hairline(vertices, scalp, outside, lengths)
    from_border, from_below, from_hair = (_depth_inside(~area, lengths, kind == SKIN) for area in (outside, below, hairline))
    # Beside the face, from the temples down, hair hangs more often than not.
    middle = (vertices[:, 2].min() + vertices[:, 2].max()) / 2
    sideways = np.degrees(np.arctan2(np.abs(vertices[:, 0]), vertices[:, 2] - middle))
    frontal = 1.0 - smoothstep(sideways, 34.0, 46.0)
    place_of = np.zeros((len(vertices), 2), np.float32)
    place_of[faces.numpy().ravel()] = place[uv_faces.numpy().ravel()]

    far = ~covered
    padding = _padding(covered, max(4, size // 128))
    far.reshape(-1)[padding[0]] = False
    return AtlasMaps(
        fragments=fragments, faces=faces, covered=covered, kind=kind,
        skin=(spread(fragments, faces, (kind == SKIN).astype(np.float32)) > 0.999).astype(np.float32),
        face=spread(fragments, faces, smoothstep(from_border, 0.0, 14.0)),
        mirror=_mirror_maps(fragments, place, faces.numpy(), uv_faces.numpy(), model.symmetry.cpu().numpy()),
        albedo=_resized(model.albedo_texture, size), trusted=smoothstep(from_border, 12.0, 35.0) * frontal,
        tested=(1.0 - smoothstep(from_below, 12.0, 35.0) * frontal) * smoothstep(from_hair, 15.0, 32.0),
        hairy=1.0 - smoothstep(from_hair, 15.0, 32.0), scalp=scalp, hairline=hairline, place=place_of, neighbours=neighbours,
        degree=np.asarray(neighbours.sum(axis=1), np.float32).reshape(-1), padding=padding, far=far,
    )


def spread(fragments: Fragments, faces: torch.Tensor, values: np.ndarray) -> np.ndarray:
    """Vertex values (V, C) or (V,) as a texel image."""
    table = torch.from_numpy(np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32))
    image = interpolate(fragments, table, faces)[0].numpy()
    return image if values.ndim > 1 else image[..., 0]


def _surface_graph(vertices: np.ndarray, faces: np.ndarray) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    length = np.maximum(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1), 0.2)
    both = np.concatenate([edges, edges[:, ::-1]])

    def graph(values: np.ndarray) -> scipy.sparse.csr_array:
        shape = (len(vertices), len(vertices))
        return scipy.sparse.csr_array((np.concatenate([values, values]), (both[:, 0], both[:, 1])), shape)

    return graph((1.0 / length**2).astype(np.float32)), graph(length)


def _depth_inside(inside: np.ndarray, lengths: scipy.sparse.csr_array, open_to: np.ndarray) -> np.ndarray:
    """Way in mm over the vertices `open_to` from each vertex of the set to the nearest outside; 0 outside, infinite without one."""
    edge = scipy.sparse.coo_array(lengths)
    passable = open_to[edge.row] & open_to[edge.col]
    graph = scipy.sparse.csr_array((edge.data[passable], (edge.row[passable], edge.col[passable])), lengths.shape)
    rim = np.unique(edge.row[passable & ~inside[edge.row] & inside[edge.col]])
    if not len(rim):
        return np.where(inside, np.inf, 0.0)
    depth = scipy.sparse.csgraph.dijkstra(graph, directed=False, indices=rim, min_only=True)
    return np.where(inside, depth, 0.0)


def _largest_part(members: np.ndarray, lengths: scipy.sparse.csr_array) -> np.ndarray:
    """The vertices of a set that hang together with most of it: a mask may have stray ones, behind the lips for instance."""
    if not members.any():
        return members
    index = np.flatnonzero(members)
    _, label = scipy.sparse.csgraph.connected_components(lengths[index][:, index], directed=False)
    part = np.zeros_like(members)
    sizes = np.bincount(label)
    part[index[sizes[label] >= 0.1 * sizes.max()]] = True
    return part


def _hairline(vertices: np.ndarray, scalp: np.ndarray, outside: np.ndarray, lengths: scipy.sparse.csr_array) -> np.ndarray:
    if not scalp.any():
        return scalp
    way = _depth_inside(outside, lengths, np.ones(len(vertices), bool))
    front = vertices[~outside]
    top = front[:, 1].min() + 0.85 * np.ptp(front[:, 1])
    return scalp & (way > 5.0) & (way < 22.0) & (vertices[:, 1] > top)


def _mirror_maps(fragments: Fragments, place: np.ndarray, faces: np.ndarray, uv_faces: np.ndarray,
                 symmetry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of each texel's mirror: the same weights on the corners of the mirrored face."""
    mirrored = symmetry[faces]
    order, wanted = np.argsort(faces, axis=1), np.argsort(mirrored, axis=1)
    keys = {tuple(key): row for row, key in enumerate(np.take_along_axis(faces, order, 1).tolist())}
    partner = np.array([keys.get(tuple(key), -1) for key in np.take_along_axis(mirrored, wanted, 1).tolist()])
    # Corner k of a face meets the corner of its partner that holds symmetry[face[k]].
    corner = np.empty_like(faces)
    np.put_along_axis(corner, wanted, order[partner], axis=1)
    uv_of = np.take_along_axis(uv_faces[partner], corner, 1)
    # A face without a partner stands for itself.
    uv_of[partner < 0] = uv_faces[partner < 0]
    table = np.ascontiguousarray(place[uv_of].reshape(-1, 2).astype(np.float32))
    loose = torch.arange(3 * len(faces)).reshape(-1, 3)
    image = interpolate(fragments, torch.from_numpy(table), loose)[0].numpy()
    return np.ascontiguousarray(image[..., 0]), np.ascontiguousarray(image[..., 1])


def _resized(texture: np.ndarray, size: int) -> np.ndarray:
    if texture.shape[:2] != (size, size):
        method = cv2.INTER_AREA if texture.shape[0] > size else cv2.INTER_CUBIC
        texture = cv2.resize(texture, (size, size), interpolation=method)
    return texture.astype(np.float32) / 255.0


def _padding(covered: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    distance, label = cv2.distanceTransformWithLabels((~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    source = np.zeros(label.max() + 1, np.int64)
    source[label[covered]] = np.flatnonzero(covered)
    near = np.flatnonzero((~covered & (distance <= reach)).reshape(-1))
    return near, source[label.reshape(-1)[near]]


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high`, a smooth cubic between; float32."""
    place = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0).astype(np.float32, copy=False)
    return place * place * (np.float32(3.0) - np.float32(2.0) * place)
