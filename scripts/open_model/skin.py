"""Skin colours at vertices: the 20 MakeHuman skins, completed where their crops end, split into tone and detail."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from open_model.topology import Topology
from open_model.uvmaps import sample, to_vertices

# Skin tones of people from lightest to darkest as sRGB (the ten Monk Skin Tone swatches, E. Monk 2019, open standard).
TONES = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")


MOST_DETAIL = 0.11


@dataclasses.dataclass(frozen=True)
class SkinStatistics:
    """tone (3,) mean sRGB; pattern (V,3) mean ratio to the tone; tone_modes (3,3) rows times std; detail (K,V,3) log-ratio
    modes times std; samples (20,V,3) completed skins."""

    tone: np.ndarray
    pattern: np.ndarray
    tone_modes: np.ndarray
    detail: np.ndarray
    samples: np.ndarray


def skin_samples(skins: dict[str, np.ndarray], topology: Topology, painted: np.ndarray) -> np.ndarray:
    """(20, V, 3) sRGB at vertices, left and right averaged; where a skin's crop ends (neck, sockets) and at vertices that
    are not `painted` (V,), the colours of the rim are continued smoothly over the surface."""
    uv = topology.uv_matrix @ topology.coarse_uv
    count = topology.matrix.shape[0]
    colours, known = [], None
    for picture in skins.values():
        inside = (picture.sum(axis=2) > 0.004).astype(np.float32)
        inside = np.where(_erode(inside) > 0, 1.0, 0.0).astype(np.float32)
        colours.append(to_vertices(sample(picture, uv), topology.uv_faces, topology.faces, count))
        here = to_vertices(sample(inside, uv), topology.uv_faces, topology.faces, count) > 0.999
        known = here if known is None else known & here
    known = known & painted & known[topology.symmetry]
    stack = np.stack(colours)
    stack = (stack + stack[:, topology.symmetry]) / 2
    return _continue(stack, known, topology.faces)


def skin_statistics(samples: np.ndarray, face: np.ndarray, hair: np.ndarray, *, modes: int) -> SkinStatistics:
    """Split into one tone per skin and a pattern over the head, and analyse both.

    Tone: a Gaussian that covers both the skins' tones and the whole human range. Detail: PCA of log ratios, weighted to the
    face, so that it multiplies and stays positive for any tone. `hair` (V,) in [0,1] is where stubble grows on the scalp.
    """
    weights = np.where(face, 1.0, 0.2)
    tones = np.stack([np.median(sample_[face], axis=0) for sample_ in samples])
    ratios = np.log(np.clip(samples, 0.01, 1) / tones[:, None])
    pattern = ratios.mean(axis=0)
    # Hair stubble on dark skins would dominate; it has a mode of its own.
    rest = np.clip(ratios - pattern, -0.4, 0.4) * 0.8 * (1 - np.clip(1.2 * hair, 0, 0.9)[:, None])
    # Painters tint whole regions more than blood and melanin do.
    grey = rest.mean(axis=2, keepdims=True)
    rest = grey + 0.4 * (rest - grey)
    rest -= rest.mean(axis=0)
    # Sideburns and painted shadows: no place varies more than skin does.
    rest *= np.minimum(1, MOST_DETAIL / np.maximum(rest.std(axis=(0, 2)), 1e-6))[:, None]
    flat = (rest * np.sqrt(weights)[:, None]).reshape(len(rest), -1)
    left, _, _ = np.linalg.svd(flat, full_matrices=False)
    scores = left[:, :modes] * np.sqrt(len(rest))
    detail = np.einsum("nk,nvc->kvc", scores, rest) / len(rest)
    people = np.array([[int(code[place:place + 2], 16) for place in (0, 2, 4)] for code in TONES]) / 255.0
    pool = np.concatenate([people, tones[np.linspace(0, len(tones) - 1, 10).astype(int)]])
    tone = pool.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(pool.T, bias=True))
    # Light and exposure explain part of what a photo shows: half the spread puts both ends of the range at 2.6 deviations.
    std = np.maximum(np.sqrt(np.maximum(values, 0)) * 0.55, 0.010)
    order = np.argsort(-values)
    # The swatches are rounded; hue changes more evenly with melanin than they suggest.
    std[order[1]] *= 0.85
    tone_modes = (vectors * std).T[order]
    tone_modes *= np.sign(tone_modes.sum(axis=1, keepdims=True))
    return SkinStatistics(tone=tone, pattern=np.exp(pattern), tone_modes=tone_modes, detail=detail, samples=samples)


def _erode(mask: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.erode(mask, np.ones((5, 5), np.uint8))


def _continue(values: np.ndarray, known: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Harmonic continuation over the mesh of values (N, V, 3) from the known vertices; parts without any known vertex keep
    their values."""
    count = len(known)
    sides = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    graph = scipy.sparse.coo_matrix((np.ones(2 * len(sides)), (np.r_[sides[:, 0], sides[:, 1]],
                                                               np.r_[sides[:, 1], sides[:, 0]])), shape=(count, count)).tocsr()
    _, part = scipy.sparse.csgraph.connected_components(graph, directed=False)
    anchored = np.isin(part, np.unique(part[known]))
    free = np.flatnonzero(~known & anchored)
    fixed = np.flatnonzero(known)
    laplacian = scipy.sparse.diags(np.asarray(graph.sum(axis=1)).ravel()) - graph
    solve = scipy.sparse.linalg.factorized(laplacian[free][:, free].tocsc())
    border = laplacian[free][:, fixed]
    out = values.copy()
    for row in range(len(values)):
        for channel in range(3):
            out[row, free, channel] = solve(-border @ values[row, fixed, channel])
    return out
