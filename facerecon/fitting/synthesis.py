"""One face in one photo as an energy: the crop, what is drawn into it, and how far the two differ."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from facerecon.fitting.energy import photometric_term
from facerecon.fitting.gauss_newton import LandmarkEnergy
from facerecon.fitting.guide import Observations
from facerecon.fitting.illumination import light_energy
from facerecon.fitting.initial_pose import OrthographicView
from facerecon.fitting.landmark_fit import landmark_priors
from facerecon.fitting.region import FaceRegion, crop_photo, face_region
from facerecon.fitting.result import FitResult
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.normals import face_normals
from facerecon.geometry.rotations import rotvec_to_matrix
from facerecon.morphable.model import MorphableModel
from facerecon.render.colour import ColourRender, render_colour
from facerecon.render.fragments import Fragments

# Weight of the mean colour distance against landmarks and priors.
PHOTO_WEIGHT = 800.0
# Weight of the priors on albedo and light. Pixels outnumber them; they decide what the pixels cannot: how much of a tone is skin.
COLOUR_PRIOR = 0.04
# Surfaces that turn away this far (cosine to the viewer) are not compared: their pixels are mixed with what is behind.
FACING_LEAST = 0.3
MARGIN = 0.06


@dataclasses.dataclass(frozen=True)
class SynthesisState:
    """A point of the search, float64, in crop pixels.

    Attributes:
        coefficients: (K + E,), identity then expression.
        view: pose in the crop.
        albedo: (A,).
        light: (9, 3).
    """

    coefficients: np.ndarray
    view: OrthographicView
    albedo: np.ndarray
    light: np.ndarray

    def replace(self, **changes) -> SynthesisState:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class SynthesisProblem:
    """The MoFA energy of one face in one photo.

    Args:
        model: the face model.
        pixels: (H, W, 3) uint8 RGB.
        start: the landmark fit, whose landmarks, guide and weights are kept.
        size: longer side of the crop in px.

    Attributes:
        region, crop, photo (h, w, 3), image_size, landmarks, start: what the energy is made of.
        covered: (h, w) bool, pixels that are left out because something lies in front of the skin; nothing at first.
    """

    def __init__(self, model: MorphableModel, pixels: np.ndarray, start: FitResult, *, size: int) -> None:
        parameters = start.parameters
        self.region: FaceRegion = face_region(model)
        coefficients = torch.cat([parameters.identity, parameters.expression])
        with torch.no_grad():
            projected = parameters.pose.project(self.region.vertices(coefficients))[:, :2]
        low, high = projected.amin(dim=0), projected.amax(dim=0)
        margin = MARGIN * (high - low).max()
        self.crop = crop_photo(pixels, torch.cat([low - margin, high + margin]).double().numpy(), size=size)
        self.photo, self.image_size = self.crop.image, tuple(self.crop.image.shape[:2])
        self.covered = torch.zeros(self.image_size, dtype=torch.bool)
        pose = self.crop.to_crop(parameters.pose)
        seen = Observations(model, start.scheme, start.points, start.guide)
        self.landmarks = LandmarkEnergy(seen.basis, self.crop.points(seen.points), seen.with_guide(start.weights),
                                        priors=landmark_priors(model, len(start.points)), unit_px=float(pose.scale),
                                        expression_range=model.expression_range)
        view = OrthographicView(pose.rotation.double().numpy(), pose.translation.double().numpy(), float(pose.scale))
        self.start = SynthesisState(coefficients.double().numpy(), view, parameters.albedo.double().numpy(),
                                    parameters.illumination.double().numpy())

    def pose(self, state: SynthesisState) -> ScaledOrthographicPose:
        """The state's pose in crop pixels, float32."""
        view = state.view
        return ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32)
                                        for part in (view.rotation, view.translation, view.scale)))

    def albedo(self, state: SynthesisState) -> torch.Tensor:
        """(n, 3) albedo of the region's vertices."""
        return self.region.albedo(torch.tensor(state.albedo, dtype=torch.float32))

    def vertices(self, state: SynthesisState) -> torch.Tensor:
        """(n, 3) mm."""
        return self.region.vertices(torch.tensor(state.coefficients, dtype=torch.float32))

    def draw(self, state: SynthesisState, step: torch.Tensor | None = None) -> ColourRender:
        """Render the state, or the state after `step` (K + E + 6,), through which gradients flow."""
        coefficients = torch.tensor(state.coefficients, dtype=torch.float32)
        pose, count = self.pose(state), len(coefficients)
        if step is not None:
            coefficients = coefficients + step[:count]
            pose = ScaledOrthographicPose(rotvec_to_matrix(step[count:count + 3]) @ pose.rotation,
                                          pose.translation + step[count + 3:count + 5], pose.scale * step[count + 5].exp())
        return render_colour(self.region.vertices(coefficients), self.region.faces, self.albedo(state),
                             torch.tensor(state.light, dtype=torch.float32), pose, self.image_size)

    def pixel_weight(self, fragments: Fragments, projected: torch.Tensor, *, leave_out_covered: bool = True) -> torch.Tensor:
        """(h, w) float: 1 where the photo shows a place of the model's skin that faces the camera."""
        normals = face_normals(projected.detach()[0], self.region.faces)
        facing = -normals[:, 2] > FACING_LEAST * torch.linalg.vector_norm(normals, dim=1)
        index = fragments.face_index[0]
        seen = (index >= 0) & (self.region.skin_faces & facing)[index.clamp_min(0)] & self.crop.inside
        return (seen & ~self.covered if leave_out_covered else seen).float()

    def photo_energy(self, render: ColourRender, weight: torch.Tensor) -> torch.Tensor:
        """The photometric term, weighted; differentiable."""
        return PHOTO_WEIGHT * photometric_term(render.image[0], self.photo, weight)

    def terms(self, state: SynthesisState, render: ColourRender, weight: torch.Tensor) -> dict[str, float]:
        """The energy's terms with their `total`; landmark includes the priors on identity and expression."""
        with torch.no_grad():
            parts = {"photometric": float(self.photo_energy(render, weight)),
                     "landmark_and_shape": self.landmarks.value(state.view, state.coefficients),
                     "albedo": COLOUR_PRIOR * float(state.albedo @ state.albedo),
                     "light": COLOUR_PRIOR * light_energy(state.light)}
        return {**parts, "total": sum(parts.values())}

    def value(self, state: SynthesisState) -> tuple[float, ColourRender, torch.Tensor]:
        """(energy, render, pixel weights) without gradients."""
        with torch.no_grad():
            render = self.draw(state)
            weight = self.pixel_weight(render.fragments, render.projected)
        if not weight.any():
            return float("inf"), render, weight
        return self.terms(state, render, weight)["total"], render, weight
