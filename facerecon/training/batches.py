"""Batches of a training run: shuffled, augmented, and a function of seed and step alone.

The order of an epoch and the random changes of a batch are drawn from generators that are seeded anew from (seed, epoch) and
(seed, step). A run that is resumed at a step therefore sees what an uninterrupted one sees, and several processes that share a
batch see together what one process alone would see.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerecon.checks import check_range
from facerecon.errors import ArgumentError
from facerecon.training.augment import Augmentation, Warped, augment, corrupt, warp_maps, warp_points

Batch = dict[str, Any]
Target = Callable[[np.ndarray, Warped], Batch]


class StepBatches:
    """What batches of a run share: they go from `step` to `steps`, and `batch` gives the one of any step.

    `state_dict` and `load_state_dict` carry the step, which is how a trainer resumes.
    """

    steps: int
    batch_size: int
    step: int = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch | Tensor]:
        while self.step < self.steps:
            step = self.step
            # Counted before it is given away: whoever asks for the state while using this batch must not get it again.
            self.step += 1
            yield self.batch(step)
        self.step = 0

    def share(self, rank: int, world: int) -> None:
        """Give the part of process `rank` of `world`; raises ArgumentError unless the batch divides evenly."""
        if self.batch_size % world:
            raise ArgumentError(f"batch_size: wanted a multiple of the {world} processes, got {self.batch_size}")
        self.rank, self.world = rank, world

    def batch(self, step: int) -> Batch | Tensor:
        """The batch of one step, whichever came before it."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at the step that `state_dict` gave."""
        self.step = int(state["step"])


class Batches(StepBatches):
    """The batches of one process, from `step` to the end of the run.

    Epochs follow each other without a gap: every batch is full, and after any number of batches no sample has been seen more than
    once oftener than another. Iterating gives dictionaries with `images` (b, 3, size, size) float32 in [0, 1], `step` (int) and
    what `target` adds, and with `corruption` also `shown`, the same views after it; without either, the images alone.

    Args:
        images: (N, S, S, 3) uint8.
        size: side of the views in px.
        augmentation: random changes.
        batch_size: of all processes together.
        steps: length of the run.
        seed: of order and changes.
        corruption: random blur, light and occluders of the `shown` views, for networks that learn to undo them.
        target: gives the targets of the samples at some indices, moved as their views are; `point_targets`, `map_targets`.
        rank, world: this process and how many share each batch.
    """

    def __init__(self, images: np.ndarray, *, size: int, augmentation: Augmentation, batch_size: int, steps: int, seed: int = 0,
                 target: Target | None = None, corruption: Augmentation = Augmentation(), rank: int = 0, world: int = 1) -> None:
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
            raise ArgumentError(f"images: wanted (N, S, S, 3) uint8 with N > 0, got {images.shape} {images.dtype}",
                                code="shape_invalid")
        check_range("batch_size", batch_size, 1)
        check_range("steps", steps, 1)
        self.images, self.size, self.augmentation, self.target, self.corruption = images, size, augmentation, target, corruption
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.share(rank, world)
        self.step = 0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> Batch | Tensor:
        """The batch of one step, whichever came before it."""
        chosen = self.indices(step)
        warped = augment(torch.from_numpy(self.images[chosen]), self.augmentation, generator_of(self.seed, "changes", step),
                         size=self.size)
        # All processes draw the whole batch and keep their part, so that the draws do not depend on how many there are.
        share = self.batch_size // self.world
        part = slice(self.rank * share, (self.rank + 1) * share)
        batch: Batch = {"step": step, "images": warped.images[part]}
        if self.corruption != Augmentation():
            shown = corrupt(warped.images.clone(), self.corruption, generator_of(self.seed, "corruption", step))
            batch["shown"] = shown[part]
        if self.target is not None:
            batch |= {name: value[part] for name, value in self.target(chosen, warped).items()}
        return batch["images"] if len(batch) == 2 else batch

    def indices(self, step: int) -> np.ndarray:
        """(batch_size,) indices of the samples of a step, for all processes together."""
        count = len(self.images)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.array([self._epoch(place // count)[place % count] for place in places], dtype=np.int64)

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            order = torch.randperm(len(self.images), generator=generator_of(self.seed, "order", epoch)).numpy()
            self._order = (epoch, order)
        return self._order[1]


class EvaluationBatches:
    """All samples once, in order and unchanged but for their size; the same as `Batches` gives, without a step.

    The last batch may be smaller. A fixed `zoom` shows the middle of the images larger.
    """

    def __init__(self, images: np.ndarray, *, size: int, batch_size: int = 32, target: Target | None = None,
                 zoom: float = 1.0) -> None:
        check_range("batch_size", batch_size, 1)
        self.images, self.size, self.batch_size, self.target = images, size, batch_size, target
        self.fixed = Augmentation(scale=(zoom, zoom))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[Batch | Tensor]:
        for start in range(0, len(self.images), self.batch_size):
            chosen = np.arange(start, min(start + self.batch_size, len(self.images)))
            warped = augment(torch.from_numpy(self.images[chosen]), self.fixed, torch.Generator(), size=self.size)
            yield warped.images if self.target is None else {"images": warped.images, **self.target(chosen, warped)}


def point_targets(points: np.ndarray, flip_order: tuple[int, ...]) -> Target:
    """Targets `points` (b, L, 2) float32 px of the views, from landmarks (N, L, 2) px of the crops; NaN stays NaN."""
    order = torch.tensor(flip_order, dtype=torch.long)
    if points.shape[1] != len(order):
        raise ArgumentError(f"points: wanted the {len(order)} points of the scheme, got {points.shape[1]}", code="shape_invalid")
    return lambda chosen, warped: {"points": warp_points(torch.from_numpy(points[chosen]).float(), warped, order)}


def map_targets(maps: np.ndarray, *, crop_size: int) -> Target:
    """Targets `maps` (b, C, h, h) float32 in [0, 1] over the views, from maps (N, h, h, C) uint8 over crops of `crop_size` px."""
    def target(chosen: np.ndarray, warped: Warped) -> Batch:
        values = torch.from_numpy(maps[chosen]).permute(0, 3, 1, 2).float() / 255
        return {"maps": warp_maps(values, warped, crop_size=crop_size)}

    return target


def generator_of(seed: int, *words: int | str) -> torch.Generator:
    """A generator whose seed is a hash of `seed` and `words`: streams that share a seed and yet nothing else."""
    return torch.Generator().manual_seed(derived_seed(seed, *words))


def derived_seed(seed: int, *words: int | str) -> int:
    """A 63-bit seed from a seed and words."""
    digest = hashlib.sha256(repr((int(seed), *words)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def epochs_for(labelled: int, full: int, *, base: float = 300.0) -> float:
    """How many epochs to train with `labelled` of `full` samples: base sqrt(full / labelled) (thesis, equation 3.2)."""
    check_range("labelled", labelled, 1)
    check_range("full", full, labelled)
    return base * math.sqrt(full / labelled)


def steps_for(epochs: float, samples: int, batch_size: int) -> int:
    """Steps that show every sample `epochs` times."""
    return max(1, math.ceil(epochs * samples / batch_size))
