"""Code vectors and what they mean: a face, a pose and a light.

An encoder gives raw numbers of about unit size; this table makes them parameters. S is the side of the crop, px.

| part         | raw 0 means                       | one unit of raw is                                                |
|--------------|-----------------------------------|-------------------------------------------------------------------|
| identity     | the mean                          | a standard deviation                                              |
| expression   | neutral (within 1 % of the range) | a standard deviation; with ends: the range, squashed at both ends |
| albedo       | the mean                          | a standard deviation                                              |
| rotation     | frontal                           | 1 added to the first two columns of the identity, made orthonormal|
| translation  | the anchor in the crop's centre   | S / 10 to the right, S / 10 down; nearer by a factor of e^(1/5)   |
| scale        | the face fills the crop           | a factor of e^(1/5)                                               |
| illumination | white from all sides, strength 1  | 1 of the coefficient, row by row of (9, 3)                        |

A raw vector of zeros is thus the mean face, neutral, frontal, lit as its albedo is, as large as `CropRule` shows faces. Raw
numbers beyond +-20 are read as +-20: no face is there, and what is computed from them stays finite.

Rotation: six numbers, continuous as a regression wants them (Zhou et al., CVPR 2019). Scaled orthographic and pinhole: eq. 1.2
and section 1.5.3 of the thesis.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError
from facerecon.geometry.cameras import PerspectiveCamera, ScaledOrthographicPose
from facerecon.geometry.rotations import six_d_to_matrix
from facerecon.mofa.layout import BANDS, CodeLayout
from facerecon.morphable.parameters import FaceParameters
from facerecon.render import ambient_light

# Raw numbers are read up to this far from 0.
LIMIT = 20.0
SHIFT_UNIT, SCALE_UNIT = 0.1, 0.2
# Sharpness of the squash of bounded expressions, the share of the range that raw 0 gives where 0 is an end, and how near to an
# end `write_code` can go.
_SHARP, _START, _EDGE = 6.0, 0.01, 1e-3
# Turns the y-up frame, where a frontal face is the identity, into the camera's.
_FLIP = (1.0, -1.0, -1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class FaceCode:
    """Parameters of a batch of faces in crops.

    Attributes:
        identity: (B, K). expression: (B, E). albedo: (B, A). The model's first coefficients.
        rotation: (B, 3, 3), model to camera frame (x right, y down, z forward).
        translation: (B, 2) crop px where the model's origin lands; (B, 3) mm in the camera frame under perspective.
        scale: (B,) crop px per mm; None under perspective.
        illumination: (B, 9, 3).
        focal: (B,) px and principal: (B, 2) px of the pinhole; None for the scaled orthographic camera.
        anchor: (x, y, z) mm, the point at whose depth `pose` takes the scale of a pinhole's picture.

    Differentiable in everything. Indexing takes a part of the batch.
    """

    identity: Tensor
    expression: Tensor
    albedo: Tensor
    rotation: Tensor
    translation: Tensor
    scale: Tensor | None
    illumination: Tensor
    focal: Tensor | None = None
    principal: Tensor | None = None
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.focal is None) or (self.focal is None) != (self.principal is None):
            raise ArgumentError("code: wanted a scale, or focal and principal of a pinhole")
        count = len(self)
        shapes = {"identity": (count, None), "expression": (count, None), "albedo": (count, None), "rotation": (count, 3, 3),
                  "translation": (count, 2 if self.scale is not None else 3), "scale": (count,),
                  "illumination": (count, BANDS, 3), "focal": (count,), "principal": (count, 2)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                check_shape(name, getattr(self, name), shape)

    def __len__(self) -> int:
        return self.identity.shape[0]

    def __getitem__(self, part: slice) -> FaceCode:
        return self._map(lambda value: value[part])

    @property
    def camera(self) -> ScaledOrthographicPose | PerspectiveCamera:
        """The batch's cameras, in crop px."""
        if self.scale is not None:
            return ScaledOrthographicPose(self.rotation, self.translation, self.scale)
        return PerspectiveCamera(self.focal, self.principal, self.rotation, self.translation)

    def poses(self) -> ScaledOrthographicPose:
        """The batch's scaled orthographic poses in crop px; of a pinhole the one that agrees with it around the anchor."""
        if self.scale is not None:
            return self.camera
        anchor = self.rotation.new_tensor(self.anchor)
        turned = self.rotation @ anchor
        place = turned + self.translation
        scale = self.focal / place[:, 2].clamp_min(1e-6)
        return ScaledOrthographicPose(self.rotation, self.principal + scale[:, None] * (place - turned)[:, :2], scale)

    def pose(self, index: int) -> ScaledOrthographicPose:
        """One face's entry of `poses`."""
        poses = self.poses()
        return ScaledOrthographicPose(poses.rotation[index], poses.translation[index], poses.scale[index])

    def parameters(self, index: int, model: Any = None) -> FaceParameters:
        """One face as a value, float32, outside autograd; `model` fills coefficients up with zeros to as many as it has."""
        sizes = (0, 0, 0) if model is None else model.sizes
        numbers = [value[index].detach().float() for value in (self.identity, self.expression, self.albedo)]
        filled = [torch.nn.functional.pad(value, (0, max(size - len(value), 0))) for value, size in zip(numbers, sizes)]
        return FaceParameters(*filled, illumination=self.illumination[index].detach().float(),
                              pose=self.pose(index).detach().to(torch.float32))

    def resized(self, factor: float) -> FaceCode:
        """The code of the crop resized by `factor`: x -> (x + 1/2) factor - 1/2."""
        camera = self.camera.scaled_image(factor)
        if self.scale is not None:
            return dataclasses.replace(self, translation=camera.translation, scale=camera.scale)
        return dataclasses.replace(self, focal=camera.focal, principal=camera.principal)

    def to(self, *arguments: Any) -> FaceCode:
        """The same code in another dtype or on another device."""
        return self._map(lambda value: value.to(*arguments))

    def detach(self) -> FaceCode:
        """The same code outside autograd."""
        return self._map(Tensor.detach)

    def _map(self, change: Any) -> FaceCode:
        return dataclasses.replace(self, **{field.name: change(value) for field in dataclasses.fields(self)
                                            if isinstance(value := getattr(self, field.name), Tensor)})


def read_code(raw: Tensor, layout: CodeLayout, *, image_size: int) -> FaceCode:
    """Raw numbers (B, layout.size) of an encoder to the code of crops of `image_size` px; see the module's table.

    Differentiable. Infinite numbers are read as the limit; NaN stays NaN.

    Raises:
        ArgumentError: `shape_invalid`.
    """
    check_shape("raw", raw, (None, layout.size))
    part = {name: raw[:, place].clamp(-LIMIT, LIMIT) for name, place in layout.slices.items()}
    rotation = _rotation(part["rotation"])
    anchor = raw.new_tensor(layout.anchor)
    turned = rotation @ anchor
    middle = (image_size - 1) / 2
    light = ambient_light(dtype=raw.dtype).to(raw.device) + part["illumination"].unflatten(1, (BANDS, 3))
    shared = {"identity": part["identity"], "expression": _squash(part["expression"], layout), "albedo": part["albedo"],
              "rotation": rotation, "illumination": light, "anchor": layout.anchor}
    shift = part["translation"][:, :2] * (SHIFT_UNIT * image_size)
    if not layout.perspective:
        scale = layout.mean_scale(image_size) * torch.exp(SCALE_UNIT * part["scale"][:, 0])
        return FaceCode(translation=middle + shift - scale[:, None] * turned[:, :2], scale=scale, **shared)
    focal = raw.new_full((len(raw),), layout.focal * image_size)
    distance = layout.mean_distance * torch.exp(-SCALE_UNIT * part["translation"][:, 2])
    place = torch.cat([shift * (distance / focal)[:, None], distance[:, None]], 1)
    principal = raw.new_full((len(raw), 2), middle)
    return FaceCode(translation=place - turned, scale=None, focal=focal, principal=principal, **shared)


def write_code(code: FaceCode, layout: CodeLayout, *, image_size: int) -> Tensor:
    """The inverse of `read_code`: (B, layout.size) raw numbers.

    Bounded expressions within a thousandth of an end are moved there, since no raw number gives the end itself.

    Raises:
        ArgumentError: `shape_invalid` for a code of another layout.
    """
    for name in ("identity", "expression", "albedo"):
        check_shape(name, getattr(code, name), (None, getattr(layout, name)))
    if (code.scale is None) != layout.perspective:
        raise ArgumentError(f"code: wanted one of the {layout.camera} camera")
    flip = code.rotation.new_tensor(_FLIP)
    six = (flip[:, None] * code.rotation)[..., :2].mT.reshape(-1, 6) - _columns(code.rotation)
    light = code.illumination - ambient_light(dtype=code.illumination.dtype).to(code.illumination.device)
    return torch.cat([code.identity, _unsquash(code.expression, layout), code.albedo, six,
                      place_numbers(code, layout, image_size=image_size), light.flatten(1)], 1)


def place_numbers(code: FaceCode, layout: CodeLayout, *, image_size: int) -> Tensor:
    """(B, 3): where the anchor is seen and how large the face, in the units of the table; 0 for a face that fills the crop.

    Both cameras give the same three numbers for the same picture. Differentiable.
    """
    turned, middle = code.rotation @ code.rotation.new_tensor(layout.anchor), (image_size - 1) / 2
    if code.scale is None:
        place = turned + code.translation
        distance = place[:, 2:].clamp_min(1e-3)
        shift = place[:, :2] * (code.focal[:, None] / distance) + code.principal - middle
        size = -torch.log(distance / layout.mean_distance)
    else:
        shift = code.translation + code.scale[:, None] * turned[:, :2] - middle
        size = torch.log(code.scale / layout.mean_scale(image_size))[:, None]
    return torch.cat([shift / (SHIFT_UNIT * image_size), size / SCALE_UNIT], 1)


def _columns(like: Tensor) -> Tensor:
    return like.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])


def _rotation(raw: Tensor) -> Tensor:
    six = raw + _columns(raw)
    # Columns that are zero or parallel are no rotation; they are read as the frontal one, without a gradient.
    first, second = six[:, :3], six[:, 3:]
    area = torch.linalg.cross(first, second).norm(dim=-1, keepdim=True).detach()
    good = area > 1e-6 * (first.norm(dim=-1, keepdim=True) * second.norm(dim=-1, keepdim=True)).clamp_min(1e-3).detach()
    return raw.new_tensor(_FLIP)[:, None] * six_d_to_matrix(torch.where(good, six, _columns(raw)))


def _smooth_clamp(raw: Tensor) -> Tensor:
    """About min(max(raw, 0), 1) with rounded corners."""
    raw = raw.clamp(-LIMIT, LIMIT)
    return (softplus(_SHARP * raw) - softplus(_SHARP * (raw - 1))) / _SHARP


def _smooth_clamp_inverse(share: Tensor) -> Tensor:
    grown = torch.exp(_SHARP * share)
    return torch.log((grown - 1) / (1 - grown * math.exp(-_SHARP))) / _SHARP


def _start(layout: CodeLayout, like: Tensor) -> Tensor:
    low, high = layout.expression_range
    return _smooth_clamp_inverse(like.new_tensor(-low / (high - low)).clamp(_START, 1 - _START))


def _squash(raw: Tensor, layout: CodeLayout) -> Tensor:
    if layout.expression_range is None:
        return raw
    low, high = layout.expression_range
    return low + (high - low) * _smooth_clamp(raw + _start(layout, raw))


def _unsquash(expression: Tensor, layout: CodeLayout) -> Tensor:
    if layout.expression_range is None:
        return expression
    low, high = layout.expression_range
    share = ((expression - low) / (high - low)).clamp(_EDGE, 1 - _EDGE)
    return _smooth_clamp_inverse(share) - _start(layout, expression)
