"""What is known of a face, carried into a random view of it: points, codes and parameters move as the pixels do.

A view is an affine map of the crop: turned about the view axis, scaled, shifted, perhaps mirrored. Pose and light follow it
exactly. A mirrored head has coefficients of its own only where the model can draw it; see `Mirror`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facerecon.render import turned_light
from facerecon.training.augment import Warped, sample_affine

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

# A mirrored basis vector counts as drawn by the basis when this share of its length is left over, or less.
LARGEST_REST = 1e-2
# A code counts as symmetric when no mirrored vertex has another colour than the rule gives, to two steps of 255.
LARGEST_COLOUR = 2 / 255


@dataclasses.dataclass(frozen=True, eq=False)
class Mirror:
    """How a model's coefficients and colours change when a face is mirrored: vertex i of the mirrored mesh is that of its
    partner `model.symmetry[i]`, x negated.

    Attributes:
        identity: (K, K), mirrored row vector = row vector @ matrix; None where the basis cannot draw its mirror images, as one
            that was learnt from scans cannot. expression: (E, E), albedo: (A, A) likewise.
        code_x: the red of a mirrored code is `code_x` minus the red; None where the code has no such rule.
    """

    identity: Tensor | None
    expression: Tensor | None
    albedo: Tensor | None
    code_x: float | None

    @property
    def shape_known(self) -> bool:
        """Whether the mirrored head has known coefficients of shape."""
        return self.identity is not None and self.expression is not None

    @classmethod
    def of(cls, model: MorphableModel, counts: tuple[int, int, int]) -> Mirror:
        """The mirror of the first `counts` identity, expression and albedo coefficients of a model."""
        partner = model.symmetry
        sign = model.mean.new_tensor([-1.0, 1.0, 1.0])
        bases = ((model.identity_basis, sign), (model.expression_basis, sign), (model.albedo_basis, torch.ones_like(sign)))
        rules = [_solve(basis[:count], basis[:count, partner] * signs) for (basis, signs), count in zip(bases, counts)]
        region = model.masks.get("pncc", torch.ones(len(model.mean), dtype=torch.bool, device=model.mean.device))
        code, other = model.ncc[region], model.ncc[partner][region]
        total = (code[:, 0] + other[:, 0]).double()
        apart = torch.cat([(total - total.mean()).abs()[:, None], (code - other)[:, 1:].abs().double()], 1).max()
        even = float((model.mean[partner] * sign - model.mean).abs().max()) < 1e-2 * float(model.mean.abs().max())
        if not even:
            rules[0] = None
        return cls(*rules, float(total.mean()) if float(apart) <= LARGEST_COLOUR else None)


def moved_truth(truth: Mapping[str, Tensor], warped: Warped, mirror: Mirror | None) -> dict[str, Tensor]:
    """Parameters (see `MofaSamples.truth`, b rows, px of the crops) as they are in the views, px of the views.

    Args:
        mirror: needed when a view is mirrored.

    Returns:
        The same names, and `known` (b,) bool: False, with NaN coefficients, for mirrored views of a head whose mirror image the
        model cannot draw. An albedo without a mirror image is NaN by itself. Light turns and mirrors with the picture.
    """
    linear = warped.matrices[:, :, :2]
    scale = torch.linalg.det(linear).abs().sqrt()
    flipped = warped.flipped
    camera = torch.zeros(len(linear), 3, 3)
    camera[:, :2, :2], camera[:, 2, 2] = linear / scale[:, None, None], 1.0
    signs = torch.ones(len(linear), 3)
    signs[:, 0] = torch.where(flipped, -1.0, 1.0)
    moved = {"rotation": camera @ truth["rotation"] * signs[:, None, :],
             "translation": (linear @ truth["translation"][:, :, None])[:, :, 0] + warped.matrices[:, :, 2],
             "scale": truth["scale"] * scale,
             "illumination": turned_light(truth["illumination"], camera)}
    known = torch.ones(len(linear), dtype=torch.bool)
    for name in ("identity", "expression", "albedo"):
        moved[name] = value = truth[name]
        if bool(flipped.any()):
            rule = getattr(mirror, name)
            other = torch.full_like(value, math.nan) if rule is None else value @ rule.to(value)
            moved[name] = torch.where(flipped[:, None], other, value)
            if rule is None and name != "albedo":
                known &= ~flipped
    return {**moved, "known": known}


def warp_code(maps: Tensor, warped: Warped, *, crop_size: int, mirror: Mirror | None) -> Tensor:
    """Codes (b, 3, m, m) in [0, 1] over crops of `crop_size` px, as the views see them: (b, 3, S, S), background 0.

    Colours are mixed among the face's own pixels alone. A mirrored face shows the colours of its other side: red is exchanged.

    Args:
        mirror: with `code_x`, needed when a view is mirrored.
    """
    side, size = maps.shape[-1], warped.images.shape[-1]
    step = crop_size / side
    linear = warped.matrices[:, :, :2]
    offset = linear @ torch.full((2,), 0.5 * step - 0.5) + warped.matrices[:, :, 2]
    inside = (maps > 0).any(1, keepdim=True).to(maps.dtype)
    seen = sample_affine(torch.cat([maps * inside, inside], 1), torch.cat([linear * step, offset[:, :, None]], 2), size)
    share = seen[:, 3:]
    codes = torch.where(share >= 0.5, seen[:, :3] / share.clamp_min(0.5), torch.zeros_like(seen[:, :3]))
    if bool(warped.flipped.any()):
        other = (mirror.code_x - codes[:, :1]).clamp(0, 1)
        change = warped.flipped[:, None, None, None] & (share >= 0.5)
        codes = torch.cat([torch.where(change, other, codes[:, :1]), codes[:, 1:]], 1)
    return codes


def _solve(basis: Tensor, mirrored: Tensor) -> Tensor | None:
    """(K, K) matrix that turns the rows of `basis` (K, V, 3) into those of `mirrored`, or None where it cannot."""
    if not len(basis):
        return basis.new_zeros(0, 0)
    rows, wanted = basis.detach().cpu().flatten(1).double(), mirrored.detach().cpu().flatten(1).double()
    matrix = torch.linalg.lstsq(rows @ rows.T, rows @ wanted.T).solution.T
    length = wanted.norm(dim=1).clamp_min(1e-12)
    rest = (matrix @ rows - wanted).norm(dim=1) / length
    # Rounded, since a solver's last digits depend on where its arrays lie, and a resumed run shall not.
    return matrix.mul(1e6).round().div(1e6).float() if bool((rest <= LARGEST_REST).all()) else None
