"""Fit a face model to the landmarks of one face."""

from __future__ import annotations

import math

import numpy as np
import torch

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError, FitError, LandmarkError
from facerecon.fitting.gauss_newton import LandmarkEnergy, LandmarkSolution, Priors, solve_landmarks
from facerecon.fitting.initial_pose import OrthographicView, check_landmarks, estimate_view
from facerecon.fitting.landmark_weights import group_weight, expression_prior, landmark_sigma_mm
from facerecon.fitting.result import FitResult, landmark_nme_percent
from facerecon.fitting.rows import LandmarkRows, landmark_rows
from facerecon.fitting.threads import one_thread
from facerecon.fitting.visibility import facing_weight, landmark_visibility
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters

YAW_LIMIT_DEG, PITCH_LIMIT_DEG = 95.0, 70.0
POOR_FIT_PERCENT = 6.0


def fit_landmarks(model: MorphableModel, points: np.ndarray, *, scheme: str = "mediapipe478", weights: np.ndarray | None = None,
                  image_size: tuple[int, int] | None = None, iterations: int = 12) -> FitResult:
    """Pose, identity and expression of one face from its landmarks, under scaled orthography.

    A closed-form pose is refined together with the coefficients by Gauss-Newton (see `gauss_newton`). Landmarks weigh by how
    much they face the camera, contour landmarks less as the head turns, and single bad ones are forgiven.

    Args:
        model: the face model; needs an embedding named `scheme`.
        points: (N, 2 or more) px in the upright image, pixel centres at integers; only x and y are used.
        scheme: `mediapipe478`, `ibug68`, `five`, or another of the model's.
        weights: (N,) >= 0, confidence of each landmark, or None for equal ones.
        image_size: (H, W) of the image; None skips the check that the landmarks lie in it.
        iterations: most Gauss-Newton steps in each of the two rounds (weights are renewed between them).

    Returns:
        A `FitResult` with albedo at its mean and white ambient light.

    Raises:
        LandmarkError: `landmarks_count`, `landmarks_nonfinite`, `landmarks_degenerate`, `landmarks_outside`,
            `landmarks_invalid` (mirrored, or no face).
        ArgumentError: for weights that are not (N,), finite and >= 0, or a scheme that the model has not.
        FitError: `fit_failed` if the result is not finite.
    """
    rows = landmark_rows(model, scheme)
    count = len(rows.normals)
    points = check_landmarks(points, count=count, image_size=image_size)
    base = rows.valid.astype(np.float64)
    if weights is not None:
        given = np.asarray(weights, dtype=np.float64)
        check_finite("weights", check_shape("weights", given, (count,)))
        if (given < 0).any():
            raise ArgumentError(f"weights: wanted numbers >= 0, got {given.min()}")
        base = base * given
    if (base > 0).sum() < min(4, count):
        raise LandmarkError(f"weights: wanted at least 4 landmarks with weight, got {int((base > 0).sum())}",
                            code="landmarks_degenerate")

    view = estimate_view(rows.basis.mean, points, base)
    view = estimate_view(rows.basis.mean, points, view_weights(rows, scheme, base, view))
    priors = landmark_priors(model, count)
    solution = LandmarkSolution(view, np.zeros(rows.basis.identity.shape[2]), np.zeros(rows.basis.expression.shape[2]), ())
    steps = 0
    for limit in (max(iterations // 3, 1), iterations):
        used = view_weights(rows, scheme, base, solution.view)
        energy = LandmarkEnergy(rows.basis, points, used, priors=priors, unit_px=view.scale,
                                expression_range=model.expression_range)
        solution = solve_landmarks(energy, solution, iterations=limit)
        steps += len(solution.energies) - 1
    return _result(model, rows, points, scheme, used, solution, steps)


def landmark_priors(model: MorphableModel, count: int) -> Priors:
    """The priors of a fit to `count` landmarks."""
    sparse, ridge = expression_prior(model.expression_names, model.expression_range is not None)
    return Priors(expression_sparse=sparse, expression_ridge=ridge, sigma_mm=landmark_sigma_mm(count))


def view_weights(rows: LandmarkRows, scheme: str, base: np.ndarray, view: OrthographicView) -> np.ndarray:
    """`base` (N,) times how far each landmark can be trusted in this view."""
    return base * facing_weight(rows.normals, view.rotation) * group_weight(scheme, len(base), view.rotation)


def _result(model: MorphableModel, rows: LandmarkRows, points: np.ndarray, scheme: str, weights: np.ndarray,
            solution: LandmarkSolution, steps: int) -> FitResult:
    view = solution.view
    numbers = np.concatenate([solution.identity, solution.expression, view.rotation.ravel(), view.translation, [view.scale]])
    if not np.isfinite(numbers).all():
        raise FitError("the landmark fit ended with numbers that are not finite; check the landmarks", code="fit_failed")
    pose = ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32)
                                    for part in (view.rotation, view.translation, view.scale)))
    parameters = FaceParameters.neutral(model, pose).replace(
        identity=torch.tensor(solution.identity, dtype=torch.float32),
        expression=torch.tensor(solution.expression, dtype=torch.float32))
    projected = view.project(rows.basis.points(solution.identity, solution.expression))
    nme = landmark_nme_percent(projected, points, rows.valid)
    visibility = None
    if "ibug68" in model.embeddings:
        with torch.no_grad(), one_thread():
            visibility = landmark_visibility(model, model.vertices(parameters.identity, parameters.expression), pose)
    energy = solution.energies[-1]
    return FitResult(parameters=parameters, points=points, scheme=scheme, weights=weights, landmark_nme_percent=nme,
                     photometric_rmse=None, iterations=steps, visibility68=visibility, energies=solution.energies,
                     terms={"total": energy}, flags=fit_flags(pose, nme))


def fit_flags(pose: ScaledOrthographicPose, nme_percent: float) -> tuple[str, ...]:
    """The flags that pose and landmark distance give rise to; see `FitResult.flags`."""
    # The direction to the camera as the head sees it: free of roll, and of the gimbal of Euler angles at profile.
    x, y, z = (-pose.rotation[2].double()).tolist()
    yaw, pitch = math.degrees(math.atan2(x, z)), math.degrees(math.asin(min(max(y, -1.0), 1.0)))
    flags = []
    if abs(yaw) > YAW_LIMIT_DEG or abs(pitch) > PITCH_LIMIT_DEG:
        flags.append("pose_out_of_range")
    if nme_percent > POOR_FIT_PERCENT:
        flags.append("poor_fit")
    return tuple(flags)
