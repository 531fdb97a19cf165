"""Identity: align random heads on the face, and find their principal components.

Every head is joined by its mirror image. The covariance of such a set splits into one of symmetric and one of antisymmetric
shapes, so the two are analysed apart: each mode is exactly symmetric or exactly antisymmetric, and so is the mean.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

from open_model.topology import Topology

SHOWN_WEIGHT, HIDDEN_WEIGHT = 1.0, 0.25
# Adults' faces differ in size by some 4 per cent; random sliders give twice that, and a photo cannot tell size from distance.
SIZE_STD = 0.04


@dataclasses.dataclass(frozen=True)
class Identity:
    """mean (V0,3); basis (K,V0,3) times standard deviation; share of variance kept, whole head (weighted) and face alone;
    std (K,), the length of each mode in the weighted metric of the fine mesh; symmetric (K,) bool; face (V0,) bool, the
    vertices of full weight."""

    mean: np.ndarray
    basis: np.ndarray
    kept: float
    kept_face: float
    std: np.ndarray
    symmetric: np.ndarray
    face: np.ndarray


def align_heads(shapes: np.ndarray, weights: np.ndarray, *, rounds: int = 4) -> tuple[np.ndarray, float]:
    """Alignment of (N,V,3) to their mean, weighted by vertex, turned and moved but not brought to one size.

    The spread of face sizes is shrunk to `SIZE_STD`. Returns the aligned shapes and the relative size spread found.
    """
    weights = weights / weights.sum()
    centred = shapes - np.einsum("v,nvc->nc", weights, shapes)[:, None]
    size = np.sqrt(np.einsum("v,nvc,nvc->n", weights, centred, centred, optimize=True))
    relative = size / np.median(size)
    spread = float(np.log(relative).std())
    centred *= (relative ** (min(1.0, SIZE_STD / spread) - 1))[:, None, None]
    reference = centred.mean(axis=0)
    aligned = centred
    for _ in range(rounds):
        covariance = np.einsum("nvc,v,vd->ncd", centred, weights, reference, optimize=True)
        left, _, right = np.linalg.svd(covariance)
        left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
        aligned = np.einsum("nvc,ncd->nvd", centred, left @ right, optimize=True)
        reference = aligned.mean(axis=0)
        reference = reference - weights @ reference
    return aligned, spread


def principal_modes(aligned: np.ndarray, topology: Topology, face: np.ndarray, *, keep: float = 0.99, least: int = 80,
                    most: int = 120) -> Identity:
    """PCA of aligned coarse heads and their mirror images.

    Args:
        aligned: (N, V0, 3).
        face: (V0,) bool, the vertices that photos show; others count less.
        keep: share of the face's variance that the modes must hold.
    """
    mirrored = topology.mirror(aligned)
    mean = (aligned.mean(axis=0) + mirrored.mean(axis=0)) / 2
    halves = {"symmetric": (aligned + mirrored) / 2 - mean, "antisymmetric": (aligned - mirrored) / 2}
    weights = np.where(face, SHOWN_WEIGHT, HIDDEN_WEIGHT)
    # The inner product is that of the fine surface, where the shipped model lives.
    fine_weights = topology.matrix @ weights
    metric = (topology.matrix.T @ topology.matrix.multiply(fine_weights[:, None])).tocsr()
    count = len(aligned)
    modes, variances, kinds = [], [], []
    total = total_face = 0.0
    for kind, part in halves.items():
        gram = sum(part[:, :, axis] @ (metric @ part[:, :, axis].T) for axis in range(3)) / count
        total += np.trace(gram)
        total_face += (part[:, face] ** 2).sum() / count
        values, vectors = scipy.linalg.eigh(gram, subset_by_index=(count - min(most, count), count - 1))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        # Score columns have variance one, so projecting the heads on them gives modes times standard deviation.
        modes.append(np.einsum("nk,nvc->kvc", vectors / np.sqrt(count), part, optimize=True))
        variances.append(values)
        kinds.append(np.full(len(values), kind == "symmetric"))
    modes, variances, kinds = np.concatenate(modes), np.concatenate(variances), np.concatenate(kinds)
    order = np.argsort(-variances)
    modes, variances, kinds = modes[order], variances[order], kinds[order]
    kept = np.cumsum(variances) / total
    kept_face = np.cumsum((modes[:, face] ** 2).sum(axis=(1, 2))) / total_face
    wanted = int(np.searchsorted(np.minimum(kept, kept_face), keep)) + 1
    size = int(np.clip(wanted, least, most))
    basis = modes[:size]
    # The sign of a mode is free; fixing it makes builds repeatable across LAPACK versions.
    largest = np.abs(basis).reshape(size, -1).argmax(axis=1)
    basis = basis * np.sign(basis.reshape(size, -1)[np.arange(size), largest])[:, None, None]
    return Identity(mean=mean, basis=basis, kept=float(kept[size - 1]), kept_face=float(kept_face[size - 1]),
                    std=np.sqrt(variances[:size]), symmetric=kinds[:size], face=face)
