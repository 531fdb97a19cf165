"""How good a batch of read faces is, and marks for pictures of it."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.geometry.rotations import matrix_to_euler_deg_aflw
from facerecon.metrics.boxes import box_size
from facerecon.metrics.dense import dense_nme


def landmark_errors(found: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Mean distance of landmarks over the box of the wanted ones, as fractions.

    Args:
        found, wanted: (B, N, 2) px; wanted ones may be NaN.
        counted: (B, N) bool, points that matter; unknown ones never do.

    Returns:
        (B,): the box is sqrt(width height) of all known points. NaN where no point counts, infinity where a found one is not
        finite.
    """
    known = wanted.isfinite().all(2)
    counted = counted & known
    infinity = torch.full_like(wanted, torch.inf)
    low = torch.where(known[..., None], wanted, infinity).amin(1)
    high = torch.where(known[..., None], wanted, -infinity).amax(1)
    distance = torch.where(counted, (found - wanted).norm(dim=2), torch.zeros_like(found[..., 0]))
    distance = torch.where(distance.isfinite(), distance, torch.full_like(distance, torch.inf))
    mean = distance.sum(1) / counted.sum(1) / (high - low).prod(1).sqrt()
    return torch.where(counted.any(1), mean, torch.full_like(mean, torch.nan))


def yaw_deg(rotation: Tensor) -> Tensor:
    """(B,) yaw of AFLW2000-3D, degrees, of camera rotations (B, 3, 3)."""
    return matrix_to_euler_deg_aflw(rotation.double()).yaw.float()


def vertex_errors(found: Tensor, wanted: Tensor) -> Tensor:
    """(B,) dense 3D NME of posed vertices (B, n, 3) px over the box of the wanted ones; mean depths are taken out."""
    truth = wanted.detach().cpu().numpy()
    return torch.from_numpy(dense_nme(found.detach().cpu().numpy(), truth, size=box_size(truth), dimensions=3)).float()


def mark_points(images: Tensor, points: Tensor, shown: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """Images (B, 3, S, S) with a dot at each of the points (B, N, 2) px that is shown (B, N) and inside; a copy."""
    marked, size = images.clone(), images.shape[-1]
    places = torch.where(points.isfinite(), points, torch.full_like(points, -1)).round().long()
    inside = shown & (places >= 0).all(2) & (places < size).all(2)
    rows, numbers = inside.nonzero(as_tuple=True)
    x, y = places[rows, numbers].unbind(1)
    marked[rows, :, y, x] = marked.new_tensor(colour)
    return marked
