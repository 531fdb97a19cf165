"""Back end `pytorch3d`: visibility by PyTorch3D's rasteriser, on CUDA or (slowly) on a CPU.

PyTorch3D settles which face each pixel shows, in float32. Its barycentrics are not used: it adds 1e-8 to the area of a
face in normalised device coordinates, which at 256 pixels is a thousandth of a sub-pixel face. They are evaluated again by
`fragments_at`, so gradients obey the same contract as everywhere. Two limits stay: it skips faces with an area below 1e-8 in
those coordinates (0.04 square pixels at 4096), and pixels exactly on an edge belong to no face.
"""

from __future__ import annotations

import torch
from pytorch3d.renderer.mesh import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor

from facerecon.render.barycentric import fragments_at
from facerecon.render.fragments import COORDINATE_LIMIT, NEAREST_DEPTH, Fragments, check_face_range, usable_faces


def rasterize(vertices: Tensor, faces: Tensor, image_size: tuple[int, int], *, perspective: bool,
              cull_back: bool) -> Fragments:
    """See `facerecon.render.rasterize`; arguments are checked there."""
    check_face_range(faces, vertices.shape[1])
    faces = faces.long()
    face_index = torch.full((len(vertices), *image_size), -1, dtype=torch.int64, device=vertices.device)
    with torch.no_grad():
        meshes, names = [], []
        for mesh in vertices.detach():
            kept = torch.nonzero(usable_faces(mesh, faces, perspective=perspective)).squeeze(-1)
            names.append(kept)
            meshes.append(to_ndc(_tame(mesh), image_size, perspective=perspective))
        drawn = [b for b, kept in enumerate(names) if len(kept)]
        if drawn:
            found = _visible([meshes[b] for b in drawn], [faces[names[b]] for b in drawn], image_size, perspective, cull_back)
            start = 0
            for b, picture in zip(drawn, found):
                local = (picture - start).clamp_min(0)
                face_index[b] = torch.where(picture >= 0, names[b][local], picture)
                start += len(names[b])
    return fragments_at(vertices, faces, face_index, perspective=perspective)


def to_ndc(vertices: Tensor, image_size: tuple[int, int], *, perspective: bool) -> Tensor:
    """Pixels to PyTorch3D's normalised device coordinates: +x left, +y up, the shorter side spans [-1, 1]. Float32.

    The depth is moved or scaled to begin at 1, since PyTorch3D drops what is not in front of its camera; the order of
    depths and the perspective-correct barycentrics do not change by that.
    """
    height, width = image_size
    side = min(height, width)
    x, y, z = vertices.double().unbind(-1)
    if perspective:
        before = z[z >= NEAREST_DEPTH]
        z = z / (before.min() if len(before) else 1.0)
    elif len(z):
        spread = (z.max() - z.min()).clamp_min(1e-30)
        z = 1 + (z - z.min()) / spread
    return torch.stack([(width - 1 - 2 * x) / side, (height - 1 - 2 * y) / side, z], -1).float()


def _tame(vertices: Tensor) -> Tensor:
    # Vertices that cannot be drawn belong to no kept face, but would spoil the range of the depths.
    bad = ~(vertices.abs() <= COORDINATE_LIMIT).all(-1, keepdim=True)
    return torch.where(bad, vertices[(~bad).squeeze(-1)][:1] if bool((~bad).any()) else torch.ones_like(vertices), vertices)


def _visible(vertices: list[Tensor], faces: list[Tensor], image_size: tuple[int, int], perspective: bool,
             cull_back: bool) -> Tensor:
    return rasterize_meshes(
        Meshes(verts=vertices, faces=faces), image_size=image_size, blur_radius=0.0, faces_per_pixel=1,
        perspective_correct=perspective, clip_barycentric_coords=False, cull_backfaces=cull_back,
    )[0][..., 0]
