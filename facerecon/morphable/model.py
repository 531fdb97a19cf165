"""The morphable model: coefficients to vertices, albedo and landmarks, in batches."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import torch

from facerecon.checks import check_choice, check_shape
from facerecon.errors import ArgumentError, ModelError
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelfile import ModelData, read_model
from facerecon.morphable.ncc import normalised_coordinate_code

OPEN_MODEL = "models/open-head.facemodel"


@dataclasses.dataclass(frozen=True)
class RowBasis:
    """The model at a few points: points(a, e) = mean + identity @ a + expression @ e.

    Attributes:
        mean: (N, 3) mm.
        identity: (N, 3, K).
        expression: (N, 3, E).
    """

    mean: torch.Tensor
    identity: torch.Tensor
    expression: torch.Tensor

    def __iter__(self):
        return iter((self.mean, self.identity, self.expression))

    def points(self, identity: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """(..., K) and (..., E) -> (..., N, 3)."""
        return self.mean + torch.einsum("nck,...k->...nc", self.identity, identity) + torch.einsum(
            "nce,...e->...nc", self.expression, expression)


class MorphableModel(torch.nn.Module):
    """A linear 3D morphable face model (Blanz and Vetter 1999) with identity, expression and albedo.

    vertices = mean + identity @ identity_basis + expression @ expression_basis, in model space: millimetres, right-handed,
    +x to the image's right of a frontal face, +y up, +z out of the face; bases are multiplied by their standard deviations,
    so identity and albedo coefficients are N(0,1). All evaluations are differentiable in the coefficients.

    Attributes (buffers follow `.to`): mean (V,3), identity_basis (K,V,3), expression_basis (E,V,3), albedo_mean (V,3),
    albedo_basis (A,V,3), ncc (V,3), faces (F,3) int64, uv (T,2), uv_faces (F,3) int64, symmetry (V,) int64, masks
    {name: bool (V,)}; plain: name, units, licence, expression_names, expression_range, header, embeddings
    {scheme: LandmarkEmbedding}, albedo_texture (H,W,3) uint8 NumPy.
    """

    def __init__(self, data: ModelData) -> None:
        super().__init__()
        header = data.header
        self.header = dict(header)
        self.name: str = header["name"]
        self.units: str = header["units"]
        self.licence: str = header["licence"]
        self.expression_names: tuple[str, ...] = tuple(header["expression_names"])
        limits = header.get("expression_range")
        self.expression_range: tuple[float, float] | None = None if limits is None else (limits[0], limits[1])
        self.embeddings: dict[str, LandmarkEmbedding] = dict(data.embeddings)
        self.albedo_texture: np.ndarray = data.albedo_texture
        for name in ("mean", "identity_basis", "expression_basis", "albedo_mean", "albedo_basis", "uv", "faces", "uv_faces",
                     "symmetry"):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(getattr(data, name))), persistent=False)
        self._mask_names = tuple(sorted(data.masks))
        for name in self._mask_names:
            self.register_buffer(f"mask_{name}", torch.from_numpy(np.ascontiguousarray(data.masks[name])), persistent=False)
        if data.ncc is None:
            region = data.masks.get("pncc")
            region = torch.ones(len(data.mean), dtype=torch.bool) if region is None else torch.from_numpy(region)
            code = normalised_coordinate_code(self.mean, region)
        else:
            code = torch.from_numpy(np.ascontiguousarray(data.ncc))
        self.register_buffer("ncc", code, persistent=False)
        self._rows: dict[str, RowBasis] = {}

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """Named vertex sets: bool (V,)."""
        return {name: getattr(self, f"mask_{name}") for name in self._mask_names}

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(K, E, A): how many identity, expression and albedo coefficients."""
        return self.identity_basis.shape[0], self.expression_basis.shape[0], self.albedo_basis.shape[0]

    def forward(self, identity: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """Same as `vertices`."""
        return self.vertices(identity, expression)

    def vertices(self, identity: torch.Tensor, expression: torch.Tensor | None = None) -> torch.Tensor:
        """identity (B, K) or (K,), expression (B, E), (E,) or None for neutral -> (B, V, 3) or (V, 3) mm."""
        offset = _combine("identity", identity, self.identity_basis)
        if expression is not None:
            offset = offset + _combine("expression", expression, self.expression_basis)
        return self.mean + offset

    def albedo(self, coefficients: torch.Tensor) -> torch.Tensor:
        """(B, A) or (A,) -> (B, V, 3) or (V, 3) RGB, about [0, 1] and not clamped (gradients stay alive at the ends)."""
        return self.albedo_mean + _combine("coefficients", coefficients, self.albedo_basis)

    def rows(self, vertex_index: torch.Tensor) -> RowBasis:
        """The model at a subset of vertices (N,) int64; use it for anything that does not need the whole head."""
        index = vertex_index.to(self.mean.device)
        return RowBasis(self.mean[index], self.identity_basis[:, index].permute(1, 2, 0).contiguous(),
                        self.expression_basis[:, index].permute(1, 2, 0).contiguous())

    def landmark_basis(self, scheme: str) -> RowBasis:
        """The model at a scheme's landmarks: mean (N,3), identity (N,3,K), expression (N,3,E); cached.

        After the first call a landmark evaluation touches N rows, never the whole basis.

        Raises:
            ArgumentError: `argument_invalid` when the model has no embedding of that name.
        """
        check_choice("scheme", scheme, sorted(self.embeddings))
        if scheme not in self._rows:
            embedding = self.embeddings[scheme]
            device, dtype = self.mean.device, self.mean.dtype
            weights = torch.from_numpy(embedding.barycentric).to(device, dtype)
            corners = self.rows(self.faces[torch.from_numpy(embedding.triangle).to(device)].reshape(-1))

            def blend(values: torch.Tensor) -> torch.Tensor:
                return torch.einsum("nk,nk...->n...", weights, values.unflatten(0, (-1, 3))).contiguous()

            self._rows[scheme] = RowBasis(*(blend(part) for part in corners))
        return self._rows[scheme]

    def landmarks(self, scheme: str, identity: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """(B, K) and (B, E) -> (B, N, 3) mm: the scheme's landmarks; equals the embedding applied to `vertices`."""
        return self.landmark_basis(scheme).points(identity, expression)

    def expression_vector(self, weights: dict[str, float]) -> torch.Tensor:
        """Expression coefficients (E,) from names; what is not named is 0. Raises ArgumentError for an unknown name."""
        vector = self.mean.new_zeros(len(self.expression_names))
        for name, value in weights.items():
            check_choice("expression", name, self.expression_names)
            vector[self.expression_names.index(name)] = value
        return vector

    def _apply(self, *arguments, **keywords):
        # The cached rows would keep the old device or precision.
        self._rows = {}
        return super()._apply(*arguments, **keywords)


def load_model(name_or_path: str | os.PathLike[str] = "open") -> MorphableModel:
    """Load a face model: "open" for the one that ships with facerecon, or the path of a `.facemodel` file.

    Raises:
        ModelError: see `read_model`; `hash_mismatch` when the shipped file is not the one of the manifest.
    """
    if name_or_path == "open":
        from facerecon.assets import locate

        return MorphableModel(read_model(locate(OPEN_MODEL)))
    path = Path(name_or_path)
    if not path.exists() and path.suffix != ".facemodel":
        raise ModelError(f"model: wanted 'open' or the path of a .facemodel file, got {os.fspath(name_or_path)!r}",
                         code="model_missing")
    return MorphableModel(read_model(path))


def _combine(name: str, coefficients: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    check_shape(name, coefficients, ("...", basis.shape[0]))
    if coefficients.dtype != basis.dtype:
        raise ArgumentError(f"{name}: wanted {basis.dtype}, got {coefficients.dtype}", code="dtype_invalid")
    flat = basis.flatten(1)
    return (coefficients @ flat).unflatten(-1, basis.shape[1:])
