"""Analysis by synthesis: shape, pose, albedo and light from the photo's colours, after the landmark fit."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.checks import check_range
from facerecon.errors import ArgumentError, FitError
from facerecon.fitting.colour_search import WARM_SHARES, ColourSearch
from facerecon.fitting.landmark_fit import fit_flags
from facerecon.fitting.result import FitResult, landmark_nme_percent
from facerecon.fitting.rows import landmark_rows
from facerecon.fitting.start import check_start, photometric_starts
from facerecon.fitting.synthesis import SynthesisProblem
from facerecon.fitting.threads import one_thread
from facerecon.fitting.visibility import landmark_visibility
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.render.colour import ColourRender

MINIMUM_PIXELS = 200


def refine_photometric(model: MorphableModel, pixels: np.ndarray, start: FitResult, *, size: int = 176, rounds: int = 4,
                       steps: int = 3, guess: FaceParameters | None = None) -> FitResult:
    """Refine a landmark fit by the MoFA energy: photometric on visible skin, landmarks, and priors.

    The face is drawn by the differentiable renderer into a small crop of the photo. Light and albedo are solved in closed form
    in turn (each is linear when the other is known); shape, expression and pose take Gauss-Newton-like steps with the
    renderer's gradient. Only steps that lower the energy are taken.

    Args:
        model: the face model of `start`.
        pixels: (H, W, 3) uint8 RGB, the upright photo.
        start: result of `fit_landmarks`.
        size: longer side of the crop, px.
        rounds: how often light and albedo are solved anew.
        steps: geometry steps in each round.
        guess: parameters, an encoder's say, in px of the photo, whose albedo and light the search begins with (and with their
            geometry too, where landmarks are few), if the energy is then lower once light and albedo have been solved. If not,
            the result is the same as without them. From a guess the search takes short rounds and ends when it stands still,
            so `rounds` and `steps` do not count then.

    Returns:
        A new `FitResult`. When fewer than 200 skin pixels are visible, `start` with the flag `photometric_skipped`.

    Raises:
        ArgumentError: pixels are not (H, W, 3) uint8; a bad guess, see `check_start`.
        FitError: `fit_failed` if the result is not finite.
    """
    check_photo(pixels)
    check_range("size", size, 32, 1024)
    guess = None if guess is None else check_start(model, guess)
    with one_thread():
        return _refine(model, pixels, start, size=size, rounds=rounds, steps=steps, guess=guess)


def check_photo(pixels: np.ndarray) -> None:
    """Require (H, W, 3) uint8."""
    if getattr(pixels, "ndim", 0) != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ArgumentError(f"pixels: wanted (H, W, 3) uint8 RGB, got {getattr(pixels, 'shape', type(pixels).__name__)} "
                            f"{getattr(pixels, 'dtype', '')}", code="shape_invalid")


def _refine(model: MorphableModel, pixels: np.ndarray, start: FitResult, *, size: int, rounds: int, steps: int,
            guess: FaceParameters | None) -> FitResult:
    problem = SynthesisProblem(model, pixels, start, size=size)
    search = ColourSearch(problem)
    if float(search.weight.sum()) < MINIMUM_PIXELS:
        return start.replace(flags=(*start.flags, "photometric_skipped"))
    warm = None if guess is None else _warm_search(problem, guess)
    if warm is not None:
        warm.settle()
        return photometric_result(model, start.replace(warm=(*start.warm, "photometric")), problem, warm)
    for step in range(rounds):
        search.solve_colours()
        # What is not skin is decided while the geometry still comes from landmarks, and once more when colours are better.
        if step < 2:
            search.choose_covered()
            search.solve_colours()
        search.move_geometry(steps)
    search.solve_colours()
    return photometric_result(model, start, problem, search)


def _warm_search(problem: SynthesisProblem, guess: FaceParameters) -> ColourSearch | None:
    """The search that begins at the guess, colours solved once, if its energy is then below that of the cold one; or None.

    Before colours are solved energies say little: a light that is a little too strong costs more than a wrong shape.
    """
    cold = ColourSearch(problem)
    least = 0.8 * float(cold.weight.sum())
    cold.solve_colours(sweeps=1)
    best, lowest, tried = None, cold.energies[-1], cold.accepted
    for state in photometric_starts(problem, guess):
        search = ColourSearch(problem, state)
        # A face that lies beside the one in the photo is compared over few pixels, whose mean says little.
        if float(search.weight.sum()) < least:
            continue
        search.solve_colours(sweeps=1, shares=WARM_SHARES)
        tried += search.accepted
        if search.energies[-1] < lowest:
            best, lowest = search, search.energies[-1]
    if best is not None:
        best.accepted = tried
    return best


def photometric_result(model: MorphableModel, start: FitResult, problem: SynthesisProblem, search: ColourSearch) -> FitResult:
    """What `start` becomes with the search's state."""
    state, view = search.state, search.state.view
    pose = problem.crop.to_photo(problem.pose(state))
    split = problem.landmarks.split
    numbers = (state.coefficients, state.albedo, state.light, view.rotation, view.translation, np.array(view.scale))
    if not all(np.isfinite(part).all() for part in numbers):
        raise FitError("the photometric fit ended with numbers that are not finite; use the landmark fit alone",
                       code="fit_failed")
    parameters = start.parameters.replace(**{
        "identity": torch.tensor(state.coefficients[:split], dtype=torch.float32),
        "expression": torch.tensor(state.coefficients[split:], dtype=torch.float32),
        "albedo": torch.tensor(state.albedo, dtype=torch.float32),
        "illumination": torch.tensor(state.light, dtype=torch.float32), "pose": pose})
    rows = landmark_rows(model, start.scheme)
    placed, count = view.project(problem.landmarks.shape(state.coefficients)), len(rows.valid)
    nme = landmark_nme_percent(placed[:count], problem.landmarks.points[:count], rows.valid)
    visibility = start.visibility68
    if visibility is not None:
        with torch.no_grad():
            visibility = landmark_visibility(model, model.vertices(parameters.identity, parameters.expression), pose)
    everything = problem.pixel_weight(search.render.fragments, search.render.projected, leave_out_covered=False)
    return start.replace(
        parameters=parameters, landmark_nme_percent=nme, photometric_rmse=photometric_rmse(problem, search.render, search.weight),
        photometric_rmse_all=photometric_rmse(problem, search.render, everything),
        covered_share=1.0 - float(search.weight.sum() / everything.sum()),
        iterations=start.iterations + search.accepted, visibility68=visibility, energies=tuple(search.energies),
        terms=problem.terms(state, search.render, search.weight), flags=fit_flags(pose, nme))


def photometric_rmse(problem: SynthesisProblem, render: ColourRender, weight: torch.Tensor) -> float:
    """Root mean square RGB difference over the pixels with weight; the drawn colours clamped to [0, 1]."""
    squared = (render.image[0].clamp(0, 1) - problem.photo) ** 2
    return float(((squared.mean(-1) * weight).sum() / weight.sum()).sqrt())
