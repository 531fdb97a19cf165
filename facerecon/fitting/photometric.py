"""Analysis by synthesis: shape, pose, albedo and light from the photo's colours, after the landmark fit."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.checks import check_range
from facerecon.errors import ArgumentError, FitError
from facerecon.fitting.energy import photometric_irls_weight
from facerecon.fitting.gauss_newton import box_constrained_step
from facerecon.fitting.illumination import albedo_rows, light_rows, solve_albedo, solve_both, solve_light
from facerecon.fitting.landmark_fit import fit_flags
from facerecon.fitting.occlusion import covered_pixels
from facerecon.fitting.result import FitResult, landmark_nme_percent
from facerecon.fitting.rows import landmark_rows
from facerecon.fitting.start import check_start, photometric_starts
from facerecon.fitting.synthesis import COLOUR_PRIOR, PHOTO_WEIGHT, SynthesisProblem, SynthesisState
from facerecon.fitting.threads import one_thread
from facerecon.fitting.visibility import landmark_visibility
from facerecon.geometry.normals import vertex_normals
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.render.colour import ColourRender
from facerecon.render.harmonics import shade

MINIMUM_PIXELS = 200
CURVATURE_VERTICES = 1200
# From a start: rounds of one sweep and one geometry step, until one lowers the energy by less than this share of it.
WARM_ROUNDS, WARM_STILL = 10, 0.003
# Where light and skin tone are exchanged for each other, the joint step goes too far: the valley is bent.
WARM_SHARES = (0.5, 0.25)


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
    if getattr(pixels, "ndim", 0) != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ArgumentError(f"pixels: wanted (H, W, 3) uint8 RGB, got {getattr(pixels, 'shape', type(pixels).__name__)} "
                            f"{getattr(pixels, 'dtype', '')}", code="shape_invalid")
    check_range("size", size, 32, 1024)
    guess = None if guess is None else check_start(model, guess)
    with one_thread():
        return _refine(model, pixels, start, size=size, rounds=rounds, steps=steps, guess=guess)


def _refine(model: MorphableModel, pixels: np.ndarray, start: FitResult, *, size: int, rounds: int, steps: int,
            guess: FaceParameters | None) -> FitResult:
    problem = SynthesisProblem(model, pixels, start, size=size)
    search = ColourSearch(problem)
    if float(search.weight.sum()) < MINIMUM_PIXELS:
        return start.replace(flags=(*start.flags, "photometric_skipped"))
    warm = None if guess is None else _warm_search(problem, guess)
    if warm is not None:
        warm.settle()
        return _result(model, start.replace(warm=(*start.warm, "photometric")), problem, warm)
    for step in range(rounds):
        search.solve_colours()
        # What is not skin is decided while the geometry still comes from landmarks, and once more when colours are better.
        if step < 2:
            search.choose_covered()
            search.solve_colours()
        search.move_geometry(steps)
    search.solve_colours()
    return _result(model, start, problem, search)


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


class ColourSearch:
    """The present state with its picture, and the energies of the states before."""

    def __init__(self, problem: SynthesisProblem, start: SynthesisState | None = None) -> None:
        self.problem = problem
        self.state = problem.start if start is None else start
        energy, self.render, self.weight = problem.value(self.state)
        self.energies = [energy]
        self.damping = 1e-3
        self.accepted = 0

    def choose_covered(self) -> None:
        """Decide anew which pixels are covered; the energies start again, since they are now means over other pixels."""
        problem = self.problem
        skin = problem.pixel_weight(self.render.fragments, self.render.projected, leave_out_covered=False) > 0
        problem.covered = covered_pixels(self.render.image[0], problem.photo, skin)
        energy, self.render, self.weight = problem.value(self.state)
        self.energies = [energy]

    def offer(self, state: SynthesisState) -> bool:
        """Take `state` if its energy is no higher."""
        energy, render, weight = self.problem.value(state)
        # A step that loses most of the skin (the face leaves the crop) would be paid less, not fit better.
        if not energy <= self.energies[-1] or weight.sum() < 0.8 * self.weight.sum():
            return False
        self.state, self.render, self.weight = state, render, weight
        self.energies.append(energy)
        self.accepted += 1
        return True

    def solve_colours(self, *, sweeps: int = 2, shares: tuple[float, ...] = ()) -> None:
        """Light and albedo by weighted least squares, together and then each alone, with renewed robust weights.

        `shares` are the parts of the joint step that are tried when the whole one fails, the longest first.
        """
        problem, region = self.problem, self.problem.region
        with torch.no_grad():
            normals = problem.pose(self.state).light_frame(vertex_normals(problem.vertices(self.state), region.faces))
            for _ in range(sweeps):
                pixels, colours, weight = self._compared()
                light_part, albedo_part = self._light_rows(normals, pixels), self._albedo_rows(normals, pixels)
                light, albedo = solve_both(light_part, *albedo_part, self.state.light, self.state.albedo, colours, weight,
                                           prior_weight=COLOUR_PRIOR)
                if self.offer(self.state.replace(light=light, albedo=albedo)):
                    continue
                if any(self.offer(self._part_way(light, albedo, share)) for share in shares):
                    continue
                # The product of the two is not linear; where the joint step fails, each alone cannot.
                self.offer(self.state.replace(light=solve_light(light_part, colours, weight, prior_weight=COLOUR_PRIOR)))
                pixels, colours, weight = self._compared()
                self.offer(self.state.replace(albedo=solve_albedo(*self._albedo_rows(normals, pixels), colours, weight,
                                                                  prior_weight=COLOUR_PRIOR)))

    def _part_way(self, light: np.ndarray, albedo: np.ndarray, share: float) -> SynthesisState:
        state = self.state
        return state.replace(light=state.light + share * (light - state.light),
                             albedo=state.albedo + share * (albedo - state.albedo))

    def settle(self) -> None:
        """Short rounds of colours and geometry, until nothing moves, for a search that begins near its end."""
        for step in range(WARM_ROUNDS):
            # As in a cold search: once while the geometry comes from landmarks, once more when colours are better.
            if step < 2:
                self.choose_covered()
            before = self.energies[-1]
            self.solve_colours(sweeps=1, shares=WARM_SHARES)
            self.move_geometry(1)
            if step > 0 and before - self.energies[-1] < WARM_STILL * abs(before):
                break
        self.solve_colours(sweeps=1, shares=WARM_SHARES)

    def _compared(self) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """(flat index (N,), photo colours (N, 3), weights (N,)) of the pixels compared: the energy's quadratic bound."""
        pixels = torch.nonzero(self.weight.reshape(-1) > 0)[:, 0]
        robust = photometric_irls_weight(self.render.image[0], self.problem.photo).reshape(-1)[pixels]
        colours = self.problem.photo.reshape(-1, 3)[pixels]
        return pixels, colours.double().numpy(), robust.double().numpy() * PHOTO_WEIGHT / len(pixels)

    def _light_rows(self, normals: torch.Tensor, pixels: torch.Tensor) -> np.ndarray:
        return light_rows(self.render.fragments, self.problem.region.faces, self.problem.albedo(self.state), normals, pixels)

    def _albedo_rows(self, normals: torch.Tensor, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        region = self.problem.region
        shading = shade(torch.ones_like(region.albedo_mean), normals, torch.tensor(self.state.light, dtype=torch.float32))
        return albedo_rows(self.render.fragments, region.faces, region.albedo_mean, region.albedo_basis, shading, pixels)

    def move_geometry(self, steps: int) -> None:
        """Damped steps on shape, expression and pose with the renderer's gradient."""
        problem = self.problem
        curvature = self._photo_curvature()
        for _ in range(steps):
            by_photo = self._photo_gradient()
            normal, gradient = problem.landmarks.normal_equations(self.state.view, self.state.coefficients)
            normal, gradient = normal + curvature, gradient + 0.5 * by_photo
            low, high = problem.landmarks.walls(self.state.coefficients)
            for _ in range(4):
                damped = normal + np.diag(self.damping * np.diag(normal) + 1e-12)
                step = box_constrained_step(damped, gradient, low, high)
                taken = self.offer(self.state.replace(
                    coefficients=problem.landmarks.moved(self.state.coefficients, step),
                    view=self.state.view.moved(step[problem.landmarks.count:])))
                if taken:
                    self.damping = max(self.damping / 5, 1e-4)
                    break
                self.damping *= 10
            if not taken:
                return

    def _photo_gradient(self) -> np.ndarray:
        step = torch.zeros(self.problem.landmarks.count + 6, requires_grad=True)
        render = self.problem.draw(self.state, step)
        weight = self.problem.pixel_weight(render.fragments, render.projected)
        self.problem.photo_energy(render, weight).backward()
        return torch.nan_to_num(step.grad).double().numpy()

    def _photo_curvature(self) -> np.ndarray:
        """Gauss-Newton curvature of half the photometric term by the flow of the drawn colours over the image.

        The change of shading with the normals is left out; the damping makes up for it. Summed over a subset of the vertices,
        each standing for an equal share of the pixels.
        """
        problem, region = self.problem, self.problem.region
        image = self.render.image[0]
        inside = self.weight > 0
        flow = torch.zeros(*image.shape[:2], 2, 3)
        # Central differences, only where both neighbours are drawn skin: the outline does not move with the texture.
        flow[:, 1:-1, 0] = torch.where((inside[:, 2:] & inside[:, :-2])[..., None], (image[:, 2:] - image[:, :-2]) / 2, 0.0)
        flow[1:-1, :, 1] = torch.where((inside[2:] & inside[:-2])[..., None], (image[2:] - image[:-2]) / 2, 0.0)
        robust = photometric_irls_weight(image, problem.photo) * inside * (PHOTO_WEIGHT / self.weight.sum())

        index = region.skin_sample(CURVATURE_VERTICES)
        screen = self.render.projected[0, index]
        column = screen[:, 0].round().long().clamp(0, image.shape[1] - 1)
        row = screen[:, 1].round().long().clamp(0, image.shape[0] - 1)
        seen = inside[row, column]
        share = inside.sum() / seen.sum().clamp_min(1)
        slopes = flow[row, column] * (robust[row, column] * seen * share).sqrt()[:, None, None]
        # (m, 3, 2) x (2, 3) rows of the projection: the change of the three colours when the vertex moves in the image.
        view = self.state.view
        rotation = torch.tensor(view.rotation[:2], dtype=torch.float32)
        basis = region.sample_basis(CURVATURE_VERTICES)
        by_image = torch.einsum("mic,ij->mcj", slopes, rotation) * view.scale
        by_shape = torch.einsum("mcj,mjd->mcd", by_image, basis)
        turned = (screen - torch.cat([torch.tensor(view.translation, dtype=torch.float32), torch.zeros(1)]))
        pose = torch.zeros(len(index), 2, 6)
        pose[:, 0, 1], pose[:, 0, 2] = turned[:, 2], -turned[:, 1]
        pose[:, 1, 0], pose[:, 1, 2] = -turned[:, 2], turned[:, 0]
        pose[:, 0, 3] = pose[:, 1, 4] = 1.0
        pose[:, :, 5] = turned[:, :2]
        jacobian = torch.cat([by_shape, torch.einsum("mic,mid->mcd", slopes, pose)], dim=2).flatten(0, 1)
        return (jacobian.T @ jacobian).double().numpy()


def _result(model: MorphableModel, start: FitResult, problem: SynthesisProblem, search: ColourSearch) -> FitResult:
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
    nme = landmark_nme_percent(view.project(problem.landmarks.shape(state.coefficients)), problem.landmarks.points, rows.valid)
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
