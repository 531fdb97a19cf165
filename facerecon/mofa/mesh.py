"""The part of a face model's mesh that the decoder draws."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facerecon.checks import check_choice
from facerecon.errors import ModelError
from facerecon.geometry.normals import vertex_normals

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

NORMAL_RADIUS_MM = 8.0


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnMesh:
    """A region of a model's mesh.

    Attributes:
        vertex_index: (n,) int64, rows of the whole model.
        faces: (f, 3) int64, into the region's vertices.
        skin_faces: (f,) bool, triangles whose corners are all skin.
        mirror: (n,) int64, each vertex's partner under the model's symmetry; itself where the partner is not in the region.
    """

    vertex_index: Tensor
    faces: Tensor
    skin_faces: Tensor
    mirror: Tensor

    @classmethod
    def of(cls, model: MorphableModel, region: str) -> DrawnMesh:
        """The faces whose corners are all in the mask `region`, or "all"; a model without the mask "face" shows all of it.

        Raises:
            ArgumentError: for a mask that the model does not have. ModelError: for a mask without faces.
        """
        masks = model.masks
        everything = torch.ones(len(model.mean), dtype=torch.bool, device=model.faces.device)
        if region == "all" or (region == "face" and "face" not in masks):
            inside = everything
        else:
            inside = masks[check_choice("region", region, ("all", *masks))]
        skin = masks.get("skin", inside)
        faces = model.faces[inside[model.faces].all(dim=1)]
        if not len(faces):
            raise ModelError(f"the model's mask {region!r} has no faces")
        vertex_index = torch.unique(faces)
        place = torch.full((len(inside),), -1, dtype=torch.int64, device=faces.device)
        place[vertex_index] = torch.arange(len(vertex_index), device=faces.device)
        partner = place[model.symmetry[vertex_index].long().clamp_min(0)]
        mirror = torch.where(partner >= 0, partner, torch.arange(len(vertex_index), device=faces.device))
        return cls(vertex_index, place[faces].contiguous(), skin[faces].all(dim=1), mirror)


def landmark_normals(model: MorphableModel, scheme: str) -> Tensor:
    """(N, 3) unit normals of the mean face around a scheme's landmarks, model space: the mean over the skin within 8 mm.

    At the rim of a lid or a lip the surface itself turns in; what is around it does not.
    """
    inner = torch.zeros(len(model.mean), dtype=torch.bool, device=model.mean.device)
    for name in ("eyes", "mouth"):
        inner |= model.masks.get(name, torch.zeros_like(inner))
    mean = model.mean.detach()
    normals = vertex_normals(mean, model.faces)[~inner]
    distance = torch.cdist(model.landmark_basis(scheme).mean.detach(), mean[~inner])
    # The nearest vertex counts always, for models with fewer vertices.
    near = distance <= distance.amin(dim=1, keepdim=True).clamp_min(NORMAL_RADIUS_MM)
    return torch.nn.functional.normalize(near.to(normals.dtype) @ normals, dim=-1)
