"""Where a fit begins: at the mean face, or at parameters that something else (an encoder) has given.

A start is a suggestion. Each stage compares its energy with that of the start that it would have had without it (the
photometric stage after light and albedo were solved once from both), and takes the lower one. So a start that is far off (a
wrong pose, a wrong face) changes nothing: the fit is the cold one, bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError
from facerecon.fitting.initial_pose import OrthographicView
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters

if TYPE_CHECKING:
    from facerecon.fitting.synthesis import SynthesisProblem, SynthesisState

# How far R R' may be from the identity; and coefficients beyond this many standard deviations are nobody's.
_ORTHONORMAL = 1e-3
_FAR = 50.0
# So many landmarks say more of the geometry than an encoder does.
_MANY = 68


def check_start(model: MorphableModel, start: FaceParameters) -> FaceParameters:
    """The start of a fit, with expressions moved into the model's range.

    Args:
        model: the face model of the fit.
        start: parameters in px of the photo.

    Raises:
        ArgumentError: `shape_invalid` for the coefficients of another model, `nonfinite`; `argument_invalid` for a pose that
            is not a rotation with a positive scale, or coefficients beyond 50 standard deviations.
    """
    if not isinstance(start, FaceParameters) or not isinstance(start.pose, ScaledOrthographicPose):
        raise ArgumentError(f"start: wanted FaceParameters with a scaled orthographic pose, got {type(start).__name__}")
    for name, count in zip(("identity", "expression", "albedo"), model.sizes):
        check_shape(f"start.{name}", getattr(start, name), (count,))
    pose = start.pose
    for name, value, shape in (("rotation", pose.rotation, (3, 3)), ("translation", pose.translation, (2,)),
                               ("scale", pose.scale, ())):
        check_shape(f"start.pose.{name}", value, shape)
    # Tensors can change after the value was made; NaN must not enter a fit.
    for name, value in (("identity", start.identity), ("expression", start.expression), ("albedo", start.albedo),
                        ("illumination", start.illumination), ("pose", torch.cat([
                            pose.rotation.reshape(-1), pose.translation, pose.scale.reshape(1)]))):
        check_finite(f"start.{name}", value)
    rotation = pose.rotation.detach().double()
    off = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max())
    if off > _ORTHONORMAL or float(torch.linalg.det(rotation)) < 0 or not float(pose.scale) > 0:
        raise ArgumentError(f"start: wanted a rotation and a scale above 0, got a matrix {off:.3g} away from one and the scale "
                            f"{float(pose.scale):.4g}")
    far = max((float(value.abs().max()) for value in (start.identity, start.albedo) if len(value)), default=0.0)
    if far > _FAR:
        raise ArgumentError(f"start: wanted coefficients within {_FAR:g} standard deviations, got {far:.4g}")
    if model.expression_range is None:
        return start
    return start.replace(expression=start.expression.clamp(*model.expression_range))


def view_of(pose: ScaledOrthographicPose) -> OrthographicView:
    """A pose in float64 NumPy."""
    return OrthographicView(pose.rotation.detach().cpu().double().numpy(), pose.translation.detach().cpu().double().numpy(),
                            float(pose.scale))


def aligned_view(view: OrthographicView, projected: np.ndarray, points: np.ndarray, weights: np.ndarray) -> OrthographicView:
    """The view after the turn, shift and scaling of the picture's plane that bring `projected` nearest to `points`.

    An encoder knows a face's shape and its turn in depth better than where the face lies in the photo, which landmarks tell.

    Args:
        view: that gave `projected` (N, 2) px.
        points: (N, 2) px.
        weights: (N,) >= 0, not all zero.

    Returns:
        The least squares solution, in closed form; the view itself where the points are all in one place.
    """
    share = weights / weights.sum()
    # As complex numbers the map is one factor and one shift.
    source, target = (part @ (1.0, 1j) for part in (projected, points))
    centre, middle = share @ source, share @ target
    spread = share @ np.abs(source - centre) ** 2
    factor = share @ ((source - centre).conj() * (target - middle)) / max(spread, 1e-12)
    if not np.isfinite(factor) or abs(factor) < 1e-6:
        return view
    cosine, sine = factor.real / abs(factor), factor.imag / abs(factor)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    shift = factor * (view.translation @ (1.0, 1j) - centre) + middle
    return OrthographicView(turn @ view.rotation, np.array([shift.real, shift.imag]), view.scale * abs(factor))


def photometric_starts(problem: SynthesisProblem, start: FaceParameters) -> list[SynthesisState]:
    """Where a photometric search may begin instead of at `problem.start`: with the start's colours, or with all of it.

    The start's geometry is only asked where landmarks are few: a fit to many of them is nearer to the end of the search than an
    encoder's geometry is.

    Args:
        problem: the energy; its `start` is the cold one, a landmark fit with mean albedo under white light.
        start: checked parameters, in px of the photo.
    """
    colours = problem.start.replace(albedo=_double(start.albedo), light=_double(start.illumination))
    if len(problem.landmarks.points) >= _MANY:
        return [colours]
    return [colours, colours.replace(coefficients=_double(torch.cat([start.identity, start.expression])),
                                     view=view_of(problem.crop.to_crop(start.pose)))]


def _double(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()
