"""The parameters of one face in one photo, as a value."""

from __future__ import annotations

import dataclasses

import torch

from facerecon.checks import check_finite, check_shape
from facerecon.geometry.cameras import ScaledOrthographicPose


@dataclasses.dataclass(frozen=True)
class FaceParameters:
    """Everything that a morphable model, a camera and a light need to draw one face; unbatched, torch float32.

    Attributes:
        identity: (K,) identity coefficients, N(0,1) over people.
        expression: (E,) expression coefficients; of the open model the 52 ARKit actions in [0,1].
        albedo: (A,) albedo coefficients, N(0,1).
        illumination: (9, 3) spherical harmonics coefficients for red, green, blue.
        pose: where the camera sees the head.
    """

    identity: torch.Tensor
    expression: torch.Tensor
    albedo: torch.Tensor
    illumination: torch.Tensor
    pose: ScaledOrthographicPose

    def __post_init__(self) -> None:
        for name in ("identity", "expression", "albedo"):
            check_finite(name, check_shape(name, getattr(self, name), (None,)))
        check_finite("illumination", check_shape("illumination", self.illumination, (9, 3)))

    def replace(self, **changes) -> FaceParameters:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str) -> FaceParameters:
        """A copy with the coefficients and the pose on another device."""
        pose = dataclasses.replace(self.pose, **{field.name: value.to(device)
                                                 for field in dataclasses.fields(self.pose)
                                                 if isinstance(value := getattr(self.pose, field.name), torch.Tensor)})
        return self.replace(identity=self.identity.to(device), expression=self.expression.to(device),
                            albedo=self.albedo.to(device), illumination=self.illumination.to(device), pose=pose)

    @classmethod
    def neutral(cls, model: torch.nn.Module, pose: ScaledOrthographicPose) -> FaceParameters:
        """The mean face of `model`, expressionless, under white ambient light that shows the albedo as it is."""
        light = torch.zeros(9, 3)
        # The constant harmonic is 1 / (2 sqrt(pi)); this coefficient makes it one.
        light[0] = 2 * torch.pi ** 0.5
        return cls(identity=torch.zeros(model.identity_basis.shape[0]),
                   expression=torch.zeros(model.expression_basis.shape[0]),
                   albedo=torch.zeros(model.albedo_basis.shape[0]), illumination=light, pose=pose)
