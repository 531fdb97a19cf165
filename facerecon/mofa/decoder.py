"""The decoder: a code drawn as a picture, by eq. 1.1 to 1.7 of the thesis. It has no weights of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from facerecon.checks import check_range, check_shape
from facerecon.errors import ArgumentError
from facerecon.geometry.normals import vertex_normals
from facerecon.mofa.code import FaceCode
from facerecon.mofa.layout import CodeLayout
from facerecon.mofa.mesh import DrawnMesh, landmark_normals
from facerecon.render import interpolate, rasterize, shade

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

SCHEME = "ibug68"


class Geometry(NamedTuple):
    """vertices (B, n, 3) mm in model space; projected (B, n, 3), x and y in crop px and depth."""

    vertices: Tensor
    projected: Tensor


class Drawn(NamedTuple):
    """A batch of drawn faces.

    Attributes:
        image: (B, S, S, 3) RGB, about [0, 1] and not clamped; 0 in the background.
        mask: (B, S, S) bool, the model is visible.
        skin: (B, S, S) bool, and shows skin.
        vertices: (B, n, 3) mm in model space.
        projected: (B, n, 3), x and y in crop px, depth.
        landmarks: (B, 68, 2) crop px.
        facing: (B, 68), cosine between the landmarks' normals and the direction to the viewer.
        albedo: (B, n, 3) RGB.
    """

    image: Tensor
    mask: Tensor
    skin: Tensor
    vertices: Tensor
    projected: Tensor
    landmarks: Tensor
    facing: Tensor
    albedo: Tensor


class FaceDecoder(torch.nn.Module):
    """Identity, expression, albedo, camera and light to a picture; differentiable in the code, visibility held fixed.

    shape = mean + identity + expression (1.1), projected by the code's camera (1.2, or the pinhole of section 1.5.3); albedo =
    mean + basis (1.3); each vertex shaded by nine spherical harmonics (1.7), colours interpolated over the visible faces.

    Args:
        model: a face model; it is not kept.
        layout: of the codes.
        image_size: side of the picture, px.
        region: the mask of the model that is drawn, "face" as a rule; "all" draws the whole head.
        backend: of `render.rasterize`.

    Attributes (buffers): faces (f, 3), vertex_index (n,) rows of the model, mirror (n,) each vertex's partner under the model's
    symmetry, landmark_valid (68,) bool.

    Raises:
        ArgumentError: for a layout with more coefficients than the model has, or a mask or landmarks that it does not have.
    """

    def __init__(self, model: MorphableModel, layout: CodeLayout, *, image_size: int, region: str = "face",
                 backend: str = "auto") -> None:
        super().__init__()
        if any(count > most for count, most in zip((layout.identity, layout.expression, layout.albedo), model.sizes)):
            raise ArgumentError(f"layout: wanted at most {model.sizes} coefficients, got {layout}")
        self.layout, self.backend = layout, backend
        self.image_size = int(check_range("image_size", image_size, 8, 4096))
        mesh = DrawnMesh.of(model, region)
        for name in ("faces", "vertex_index", "mirror", "skin_faces"):
            self.register_buffer(name, getattr(mesh, name), persistent=False)

        def rows(basis: Tensor, count: int) -> Tensor:
            return basis.detach()[:count, self.vertex_index].flatten(1)

        shape = torch.cat([rows(model.identity_basis, layout.identity), rows(model.expression_basis, layout.expression)])
        landmarks = model.landmark_basis(SCHEME)
        at = torch.cat([landmarks.identity[..., :layout.identity], landmarks.expression[..., :layout.expression]], -1)
        buffers = {"mean": model.mean.detach()[self.vertex_index].flatten(), "shape_basis": shape.contiguous(),
                   "albedo_mean": model.albedo_mean.detach()[self.vertex_index].flatten(),
                   "albedo_basis": rows(model.albedo_basis, layout.albedo).contiguous(),
                   "landmark_mean": landmarks.mean.flatten(), "landmark_basis": at.flatten(0, 1).T.contiguous(),
                   "landmark_normals": landmark_normals(model, SCHEME),
                   "landmark_valid": torch.from_numpy(model.embeddings[SCHEME].valid.copy())}
        for name, value in buffers.items():
            self.register_buffer(name, value.clone(), persistent=False)

    def forward(self, code: FaceCode) -> Drawn:
        """Draw a batch of codes.

        Raises:
            ArgumentError: `shape_invalid` for a code of another layout.
        """
        vertices, projected = self.geometry(code)
        camera = code.camera
        albedo = torch.addmm(self.albedo_mean, code.albedo, self.albedo_basis).unflatten(1, (-1, 3))
        colours = shade(albedo, camera.light_frame(vertex_normals(vertices, self.faces)), code.illumination)
        # The region is an open surface; its inside, which the rest of the head would hide, is not drawn.
        fragments = rasterize(projected, self.faces, (self.image_size, self.image_size), backend=self.backend,
                              perspective=camera.perspective, cull_back=True)
        image = interpolate(fragments, colours, self.faces)
        mask = fragments.mask
        skin = mask & self.skin_faces[fragments.face_index.clamp_min(0)]
        facing = -(self.landmark_normals @ code.rotation[:, 2].T).T
        return Drawn(image, mask, skin, vertices, projected, self.landmarks(code), facing, albedo)

    def geometry(self, code: FaceCode) -> Geometry:
        """The vertices of the drawn region without the picture."""
        check_shape("identity", code.identity, (None, self.layout.identity))
        check_shape("expression", code.expression, (None, self.layout.expression))
        check_shape("albedo", code.albedo, (None, self.layout.albedo))
        coefficients = torch.cat([code.identity, code.expression], 1)
        vertices = torch.addmm(self.mean, coefficients, self.shape_basis).unflatten(1, (-1, 3))
        return Geometry(vertices, code.camera.project(vertices))

    def landmarks(self, code: FaceCode) -> Tensor:
        """(B, 68, 2) crop px; touches the landmarks' rows alone."""
        coefficients = torch.cat([code.identity, code.expression], 1)
        points = torch.addmm(self.landmark_mean, coefficients, self.landmark_basis).unflatten(1, (-1, 3))
        return code.camera.project(points)[..., :2]
