"""Rendered heads of the open model with known parameters: a source of PNCC training pairs for poses that photos seldom show."""

from __future__ import annotations

import numpy as np
import torch
from make_pncc_pairs import MAP_SIZE, Pair, describe_code, true_code
from synthetic_photo import add_hair, background, random_light

from facerecon.detection import CropRule
from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.morphable import load_model
from facerecon.pncc import pose_to_crop
from facerecon.render import antialias, render_colour

YAW_DEG = 90.0
MARGIN = (1.2, 1.7)
SUPERSAMPLING = 2


class SyntheticHeads:
    """Random identity, expression, skin, pose, light and background.

    Yaw is uniform to 90 degrees to each side; the crop's place and size vary as a detector's box does.

    Args:
        size: side of the crops, px. count: how many. seed: of everything; head i of a seed does not depend on `count`.
    """

    def __init__(self, *, size: int, count: int, seed: int) -> None:
        torch.set_num_threads(1)
        self._model, self._size, self._seed = load_model(), size, seed
        self.names = tuple(f"synthetic_{seed}_{index:06d}" for index in range(count))
        self.about = {"source": "synthetic", "size": size, "seed": seed, "yaw_deg": YAW_DEG,
                      "model": describe_code(self._model)}

    def make(self, index: int) -> Pair:
        """Draw one head; it is a person of its own."""
        generator = np.random.default_rng([self._seed, index])
        model = self._model
        with torch.no_grad():
            vertices = model.vertices(_normal(generator, len(model.identity_basis), 0.9), self._expression(generator))
            points = model.landmarks("ibug68", torch.zeros(len(model.identity_basis)), torch.zeros(len(model.expression_names)))
            albedo = model.albedo(_normal(generator, len(model.albedo_basis), 0.8)).clamp(0.02, 1)
        pose = self._pose(generator, points)
        pixels = self._photo(generator, vertices, albedo, pose.scaled_image(self._size / MAP_SIZE))
        return Pair(pixels, true_code(model, vertices, pose), self.names[index], {"pose": pose.to_dict()})

    def _expression(self, generator: np.random.Generator) -> torch.Tensor:
        actions = np.zeros(len(self._model.expression_names), np.float32)
        chosen = generator.choice(len(actions), generator.integers(0, 7), replace=False)
        actions[chosen] = generator.uniform(0.1, 0.8, len(chosen))
        return torch.from_numpy(actions)

    def _pose(self, generator: np.random.Generator, points: torch.Tensor) -> ScaledOrthographicPose:
        """A pose in map px."""
        pitch, roll = np.clip(generator.normal(size=2) * 12, -40, 40)
        angles = torch.tensor([pitch, generator.uniform(-YAW_DEG, YAW_DEG), roll], dtype=torch.float32)
        pose = ScaledOrthographicPose(euler_deg_to_matrix_aflw(*angles), torch.zeros(2), torch.tensor(1.0))
        placed = pose.project(points)[:, :2].numpy()
        box = np.stack([placed.min(axis=0), placed.max(axis=0)])
        # Real crops are cut by various rules: closer or wider, centred on the points or on the whole face with its forehead.
        away = generator.normal(size=2) * 0.02 - [0, generator.uniform(0, 0.1)]
        rule = CropRule(margin=generator.uniform(*MARGIN))
        return pose_to_crop(pose, rule.crop((box + away * np.ptp(box, axis=0)).ravel(), size=MAP_SIZE, box_of="points"))

    def _photo(self, generator: np.random.Generator, vertices: torch.Tensor, albedo: torch.Tensor,
               pose: ScaledOrthographicPose) -> np.ndarray:
        size = self._size
        light, behind = random_light(generator), background(generator, size)
        if generator.uniform() < 0.8:
            cranium = pose.project(torch.tensor([[0.0, 45.0, -65.0]]))[0, :2].numpy()
            behind = add_hair(behind, generator, cranium, 100 * float(pose.scale))
        with torch.no_grad():
            drawn = render_colour(vertices, self._model.faces, albedo, torch.from_numpy(light).float(),
                                  pose.scaled_image(SUPERSAMPLING), (SUPERSAMPLING * size, SUPERSAMPLING * size))
            image, covered = antialias(drawn.image, drawn.mask, SUPERSAMPLING)
        covered = covered[0].numpy()[..., None]
        picture = behind * (1 - covered) + np.clip(image[0].numpy(), 0, 1) * covered
        picture = picture + generator.normal(size=picture.shape) * generator.uniform(0.002, 0.02)
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _normal(generator: np.random.Generator, count: int, scale: float) -> torch.Tensor:
    return torch.from_numpy(np.clip(scale * generator.normal(size=count), -2, 2).astype(np.float32))
