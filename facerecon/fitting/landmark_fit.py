"""Fit a face model to the landmarks of one face."""

from __future__ import annotations

import math

import numpy as np
import torch

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError, FitError, LandmarkError
from facerecon.fitting.gauss_newton import LandmarkEnergy, LandmarkSolution, Priors, solve_landmarks
from facerecon.fitting.guide import LandmarkGuide, Observations, view_weights
from facerecon.fitting.initial_pose import OrthographicView, check_landmarks, estimate_view
from facerecon.fitting.landmark_weights import expression_prior, landmark_sigma_mm
from facerecon.fitting.result import FitResult, landmark_nme_percent
from facerecon.fitting.rows import LandmarkRows, landmark_rows
from facerecon.fitting.start import aligned_view, check_start, view_of
from facerecon.fitting.threads import one_thread
from facerecon.fitting.visibility import landmark_visibility
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters

YAW_LIMIT_DEG, PITCH_LIMIT_DEG = 95.0, 70.0
POOR_FIT_PERCENT = 6.0


def fit_landmarks(model: MorphableModel, points: np.ndarray, *, scheme: str = "mediapipe478", weights: np.ndarray | None = None,
                  image_size: tuple[int, int] | None = None, iterations: int = 12,
                  start: FaceParameters | None = None, guide: LandmarkGuide | None = None) -> FitResult:
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
        start: parameters to begin from, an encoder's say, in px of the image, moved in the picture's plane onto the landmarks.
            They are used when their landmark energy is below that of the mean face in the closed-form pose; if not, the fit is
            the same as without them. Their albedo and light are not part of a landmark fit; see `refine_photometric`.
        guide: further points that the face is drawn to, whichever way it looks; they are not part of the reported distance.

    Returns:
        A `FitResult` with albedo at its mean and white ambient light; `warm` has "landmarks" when `start` was used.

    Raises:
        LandmarkError: `landmarks_count`, `landmarks_nonfinite`, `landmarks_degenerate`, `landmarks_outside`,
            `landmarks_invalid` (mirrored, or no face).
        ArgumentError: for weights that are not (N,), finite and >= 0, a scheme that the model has not, a guide with another
            number of points than its scheme, or a bad start, see `check_start`.
        FitError: `fit_failed` if the result is not finite.
    """
    rows = landmark_rows(model, scheme)
    start = None if start is None else check_start(model, start)
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

    seen = Observations(model, scheme, points, guide)
    view = estimate_view(seen.basis.mean, seen.points, seen.with_guide(base))
    view = estimate_view(seen.basis.mean, seen.points, seen.weights(base, view))
    priors = landmark_priors(model, count)
    solution = LandmarkSolution(view, np.zeros(rows.basis.identity.shape[2]), np.zeros(rows.basis.expression.shape[2]), ())

    def energy_in(at: OrthographicView) -> LandmarkEnergy:
        return LandmarkEnergy(seen.basis, seen.points, seen.weights(base, at), priors=priors, unit_px=view.scale,
                              expression_range=model.expression_range)

    warm = False
    if start is not None:
        shape = [part.detach().cpu().double().numpy() for part in (start.identity, start.expression)]
        # Both by one measure: the weights of the closed-form pose.
        energy, given_view = energy_in(view), view_of(start.pose)
        placed = given_view.project(seen.basis.points(*shape))
        given = LandmarkSolution(aligned_view(given_view, placed, seen.points, energy.weights), *shape, ())
        warm = _value(energy, given) < _value(energy, solution)
        solution = given if warm else solution
    steps = 0
    # The first round is there to find the view that the weights depend on; a start has nearly got it.
    for limit in (1 if warm else max(iterations // 3, 1), iterations):
        energy = energy_in(solution.view)
        solution = solve_landmarks(energy, solution, iterations=limit)
        steps += len(solution.energies) - 1
    return _result(model, rows, points, scheme, energy.weights[:count], solution, steps,
                   warm=("landmarks",) if warm else ()).replace(guide=guide)


def judge_parameters(model: MorphableModel, parameters: FaceParameters, points: np.ndarray, *,
                     scheme: str = "mediapipe478") -> FitResult:
    """What `fit_landmarks` would report of parameters that something else, an encoder, has found; nothing is changed.

    Args:
        model: the face model of the parameters.
        parameters: with the pose in px of the image.
        points: (N, 2 or more) px, landmarks to judge by.
        scheme: of the landmarks.

    Returns:
        A `FitResult` of no iterations, with flags by the same limits as those of a fit.

    Raises:
        LandmarkError: as `fit_landmarks`, for points that are no face's. ArgumentError: see `check_start`.
    """
    rows = landmark_rows(model, scheme)
    parameters = check_start(model, parameters)
    points = check_landmarks(points, count=len(rows.normals), image_size=None)
    base = rows.valid.astype(np.float64)
    view = view_of(parameters.pose)
    coefficients = (part.detach().cpu().double().numpy() for part in (parameters.identity, parameters.expression))
    solution = LandmarkSolution(view, *coefficients, ())
    judged = _result(model, rows, points, scheme, view_weights(rows, scheme, base, view), solution, 0)
    if "poor_fit" in judged.flags:
        # Refuses points that no view of a head gives. Points near those of a posed head need no such proof.
        estimate_view(rows.basis.mean, points, base)
    return judged.replace(parameters=parameters)


def _value(energy: LandmarkEnergy, solution: LandmarkSolution) -> float:
    return energy.value(solution.view, np.concatenate([solution.identity, solution.expression]))


def landmark_priors(model: MorphableModel, count: int) -> Priors:
    """The priors of a fit to `count` landmarks."""
    sparse, ridge = expression_prior(model.expression_names, model.expression_range is not None)
    return Priors(expression_sparse=sparse, expression_ridge=ridge, sigma_mm=landmark_sigma_mm(count))


def _result(model: MorphableModel, rows: LandmarkRows, points: np.ndarray, scheme: str, weights: np.ndarray,
            solution: LandmarkSolution, steps: int, *, warm: tuple[str, ...] = ()) -> FitResult:
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
    return FitResult(parameters=parameters, points=points, scheme=scheme, weights=weights, landmark_nme_percent=nme,
                     photometric_rmse=None, iterations=steps, visibility68=visibility, energies=solution.energies,
                     terms={"total": solution.energies[-1]} if solution.energies else {}, flags=fit_flags(pose, nme), warm=warm)


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
