"""A network of two layers, data of coloured squares, and a recipe for both: runs that take a second."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from facerecon.gmda.tuned import TunedNetwork
from facerecon.training import AdaptationSettings, AdaptationTask, Material, load_recipe, make_crops
from facerecon.training.guard import StepGuard
from facerecon.training.tasks import head_of

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]])


class Tiny(TunedNetwork):
    """(B, 3, 128, 128) -> (B, 5, 128, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.ConvTranspose2d(4, 5, 4, 2, 1)
        self.set_trainable()

    image_size = 128
    config = {"network": "tiny"}

    def forward(self, images):
        return self.head(self.encoder(images))


def squares(count: int, *, seed: int = 0, size: int = 128, half: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Grey images (count, size, size, 3) with a coloured square around each of five points (count, 5, 2).

    The points lie like eyes, nose and mouth corners, each moved by up to an eighth of the size, and their squares stay apart.
    """
    generator = np.random.default_rng(seed)
    images = np.full((count, size, size, 3), 90, np.uint8)
    places = np.array([[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.75, 0.75]])
    points = np.rint(size * (places + generator.uniform(-0.125, 0.125, (count, 5, 2)))).astype(int)
    for image, corners in zip(images, points):
        for (x, y), colour in zip(corners, COLOURS):
            image[y - half:y + half + 1, x - half:x + half + 1] = colour
    return images, points.astype(np.float32)


def material(training: int = 6, validation: int = 3) -> Material:
    """Crops of squares with five points."""
    parts = []
    for count, seed in ((training, 0), (validation, 1)):
        images, points = squares(count, seed=seed)
        parts.append(make_crops(images, [f"{seed}-{index}" for index in range(count)], None, points, scheme="five"))
    return Material(*parts)


def recipe(**changes):
    """Six steps of four samples in full precision."""
    chosen = load_recipe("landmarks-smoke", ["scheme=five", "normaliser=box", "batch_size=4", "steps=6", "precision=float32",
                                             "validate_every=3", "pictures_every=0", "checkpoint_every=2", "first_stage=0"])
    return dataclasses.replace(chosen, **changes)


def build(chosen, *, steps: int, init=None) -> AdaptationTask:
    """What `build_task` does, with the small network."""
    settings = AdaptationSettings(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(AdaptationSettings)})
    return AdaptationTask(Tiny(), head_of(chosen), settings, steps=steps, micro_batch=chosen.micro_batch,
                          guard=StepGuard(chosen.skipped_limit))


def weights(network: nn.Module) -> torch.Tensor:
    """All weights and statistics in one vector."""
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])
