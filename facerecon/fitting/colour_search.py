"""The search of a photometric fit: the present state with its picture, and the steps that lower its energy."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.fitting.energy import photometric_irls_weight
from facerecon.fitting.gauss_newton import box_constrained_step
from facerecon.fitting.illumination import albedo_rows, light_rows, solve_albedo, solve_both, solve_light
from facerecon.fitting.occlusion import covered_pixels
from facerecon.fitting.synthesis import COLOUR_PRIOR, PHOTO_WEIGHT, SynthesisProblem, SynthesisState
from facerecon.geometry.normals import vertex_normals
from facerecon.render.harmonics import shade

CURVATURE_VERTICES = 1200
# From a start: rounds of one sweep and one geometry step, until one lowers the energy by less than this share of it.
WARM_ROUNDS, WARM_STILL = 10, 0.003
# Where light and skin tone are exchanged for each other, the joint step goes too far: the valley is bent.
WARM_SHARES = (0.5, 0.25)


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
