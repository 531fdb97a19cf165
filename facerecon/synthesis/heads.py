"""Random people: identity, skin, irises, hair colour, and how the camera meets them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from facerecon.detection.crop_rule import CropRule
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.detection import pose_to_crop
from facerecon.synthesis.expressions import random_expression
from facerecon.synthesis.lighting import soft_light, studio_light

YAW_DEG, PITCH_DEG, ROLL_DEG = 90.0, 40.0, 30.0
# Side of the crop over the longer side of the box of the landmarks; `CropRule` has 1.6.
MARGIN = (1.4, 1.75)
# Black, dark brown, brown, auburn, blond, grey, white. Fair skin goes with all of them, dark skin with the first and last two.
HAIR_COLOURS = np.array([[0.06, 0.05, 0.045], [0.14, 0.09, 0.06], [0.26, 0.16, 0.09], [0.36, 0.16, 0.07], [0.55, 0.41, 0.23],
                         [0.42, 0.41, 0.40], [0.70, 0.69, 0.67]])
FAIR, DARK = np.array([0.2, 0.24, 0.22, 0.08, 0.14, 0.08, 0.04]), np.array([0.62, 0.24, 0, 0, 0, 0.09, 0.05])


@dataclasses.dataclass(frozen=True)
class Head:
    """Who is drawn, and what the model does not know of them.

    Attributes:
        parameters: of the model, the pose in px of the crop.
        key: (3,) unit direction to the strongest lamp, in the frame x right, y up, z toward the viewer.
        hair: (3,) colour.
    """

    parameters: FaceParameters
    key: np.ndarray
    hair: np.ndarray


def random_head(generator: np.random.Generator, model: MorphableModel, size: int) -> Head:
    """Draw a head of `model` for a crop of `size` px; every draw comes from `generator`."""
    identity = _normal(generator, model.sizes[0], 0.9)
    expression = _expression(generator, model)
    albedo, hair = _skin(generator, model)
    if generator.uniform() < 0.25:
        light = soft_light(generator)
        key = np.array([light[3, 0], light[1, 0], light[2, 0]])
        key = key / np.linalg.norm(key)
    else:
        light, key = studio_light(generator)
    # A camera's automatic makes a dark face a little brighter; a third of the way to the mean.
    some = np.s_[::97]
    skin = model.albedo_mean[some] + torch.einsum("a,avc->vc", torch.from_numpy(albedo), model.albedo_basis[:, some])
    light = light * (0.5 / float(skin.mean().clamp(0.08, 1))) ** 0.33
    points = model.landmarks("ibug68", torch.from_numpy(identity), torch.from_numpy(expression))
    parameters = FaceParameters(torch.from_numpy(identity), torch.from_numpy(expression), torch.from_numpy(albedo),
                                torch.from_numpy(light.astype(np.float32)), _pose(generator, points, size))
    return Head(parameters, key, hair)


def _expression(generator: np.random.Generator, model: MorphableModel) -> np.ndarray:
    if model.expression_range is not None and "jawOpen" in model.expression_names:
        return random_expression(generator, model.expression_names)
    # Principal components of expressions: N(0, 1) by their making, small ones most.
    drawn = generator.uniform(0.2, 0.9) * np.clip(generator.normal(size=model.sizes[1]), -2, 2)
    low, high = model.expression_range or (-np.inf, np.inf)
    return np.clip(drawn, low, high).astype(np.float32)


def _skin(generator: np.random.Generator, model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """Albedo coefficients (A,) and a colour of hair (3,) that goes with them."""
    albedo = _normal(generator, model.sizes[2], 0.8)
    names = list(model.header.get("albedo_names", ()))
    dark = generator.uniform()
    share = DARK + (FAIR - DARK) * np.clip(1.6 * (1 - dark), 0, 1)
    hair = HAIR_COLOURS[generator.choice(len(HAIR_COLOURS), p=share / share.sum())] * generator.uniform(0.75, 1.2)
    man = generator.uniform() < 0.5

    def let(name: str, value: float) -> None:
        if name in names:
            albedo[names.index(name)] = value

    # The first tone goes from the darkest to the fairest skin; the others would turn it grey or green if drawn as widely.
    let("tone 1", 0.9 - 3.1 * dark**1.15)
    let("tone 2", 0.33 * generator.normal() - 0.4)
    let("tone 3", 0.35 * generator.normal() + 0.2)
    let("brow darkness", np.clip(1.3 - 3.5 * hair.mean() + 0.7 * generator.normal(), -1.5, 2))
    let("beard", generator.uniform(0.3, 2.0) if man and generator.uniform() < 0.45 else generator.uniform(-0.5, 0.1))
    let("moustache", generator.uniform(0.3, 1.8) if man and generator.uniform() < 0.35 else generator.uniform(-0.5, 0.1))
    let("lip redness", np.clip(0.6 * generator.normal(), -0.8, 1.0) if man else np.clip(0.3 + 0.7 * generator.normal(), -1, 2))
    let("scalp darkness", np.clip(2.0 - 4.0 * hair.mean(), -0.5, 1.8))
    # Brown eyes are most frequent, and nearly all that go with dark skin.
    blue = generator.uniform() < 0.45 * (1 - dark)
    let("iris 1", generator.uniform(0.2, 1.1) if blue else generator.uniform(-1.4, 0.1))
    let("iris 2", generator.uniform(0.0, 1.0) if blue else generator.uniform(-1.6, 0.2))
    let("iris 3", 0.6 * generator.normal())
    let("white of the eye", 0.5 * generator.normal())
    return albedo, hair


def _pose(generator: np.random.Generator, points: torch.Tensor, size: int) -> ScaledOrthographicPose:
    """Two faces of three have any yaw to a right angle, the others look about into the camera."""
    wide = generator.uniform() < 0.65
    yaw = generator.uniform(-YAW_DEG, YAW_DEG) if wide else np.clip(20 * generator.normal(), -YAW_DEG, YAW_DEG)
    pitch = np.clip(13 * generator.normal(), -PITCH_DEG, PITCH_DEG)
    roll = np.clip(10 * generator.normal(), -ROLL_DEG, ROLL_DEG)
    rotation = euler_deg_to_matrix_aflw(*torch.tensor([pitch, yaw, roll], dtype=torch.float32))
    pose = ScaledOrthographicPose(rotation, torch.zeros(2), torch.tensor(1.0))
    placed = pose.project(points)[:, :2].numpy()
    box = np.concatenate([placed.min(axis=0), placed.max(axis=0)])
    # A detector's box is never quite in the same place.
    away = generator.normal(size=2) * 0.025 * max(box[2:] - box[:2])
    crop = CropRule(margin=generator.uniform(*MARGIN)).crop(box + np.tile(away, 2), size=size, box_of="points")
    return pose_to_crop(pose, crop)


def _normal(generator: np.random.Generator, count: int, scale: float) -> np.ndarray:
    return np.clip(scale * generator.normal(size=count), -2, 2).astype(np.float32)
