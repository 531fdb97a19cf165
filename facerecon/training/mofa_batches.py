"""Batches of self-supervised training: fixed shares of several sources, a function of seed and step alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from facerecon.errors import ArgumentError
from facerecon.morphable.schemes import IBUG68_FLIP
from facerecon.training.augment import Augmentation, Warped, warp_points
from facerecon.training.batches import Batch, Batches, EvaluationBatches, StepBatches, Target, derived_seed, generator_of
from facerecon.training.mofa_samples import CONTEXT, JAW, PARAMETERS, MofaSamples
from facerecon.training.mofa_views import Mirror, moved_truth, warp_code

_SHAPES = {"illumination": (9, 3), "rotation": (3, 3), "translation": (2,), "scale": ()}


def in_context(augmentation: Augmentation) -> Augmentation:
    """The same changes for stored crops, which are `CONTEXT` times as wide as what a view shows."""
    low, high = augmentation.scale
    return dataclasses.replace(augmentation, scale=(low * CONTEXT, high * CONTEXT))


def face_targets(samples: MofaSamples, *, sizes: Mapping[str, int], mirror: Mirror | None, jaw: bool = True,
                 codes: bool = False, light_known: bool = True) -> Target:
    """What `Batches` adds to the views of one source.

    Args:
        sizes: how many identity, expression and albedo coefficients are used, by name.
        mirror: of the model, needed where views are mirrored.
        jaw: False hides the jaw's points.
        codes: whether the maps are wanted.
        light_known: False where the views' colours are changed, so that the true light is no longer theirs.

    The target has `points` (b, 68, 2) px, NaN where unknown, `visible` (b, 68) bool, with codes `code` (b, 3, S, S), `known`
    (b,) bool, and `true_<name>` for each of the parameters, NaN where unknown, px of the views.
    """
    order = torch.tensor(IBUG68_FLIP)
    truth = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in samples.truth.items()}
    for name, count in sizes.items():
        if truth and truth[name].shape[1] < count:
            raise ArgumentError(f"data: wanted {count} true coefficients of {name}, got {truth[name].shape[1]}; see counts")
    truth |= {name: truth[name][:, :count] for name, count in sizes.items() if truth}

    def target(chosen: np.ndarray, warped: Warped) -> Batch:
        visible = torch.from_numpy(samples.visible[chosen])
        visible = torch.where(warped.flipped[:, None], visible[:, order], visible)
        if not jaw:
            visible[:, JAW] = False
        batch: Batch = {"points": warp_points(torch.from_numpy(samples.points[chosen]), warped, order), "visible": visible}
        if codes:
            maps = torch.from_numpy(samples.maps[chosen]).permute(0, 3, 1, 2).float() / 255
            batch["code"] = warp_code(maps, warped, crop_size=samples.size, mirror=mirror)
        if truth:
            moved = moved_truth({name: value[chosen] for name, value in truth.items()}, warped, mirror)
            if not light_known:
                moved["illumination"] = torch.full_like(moved["illumination"], torch.nan)
        else:
            shapes = {**{name: (count,) for name, count in sizes.items()}, **_SHAPES}
            moved = {name: torch.full((len(chosen), *shape), torch.nan) for name, shape in shapes.items()}
            moved["known"] = torch.zeros(len(chosen), dtype=torch.bool)
        return batch | {"known": moved["known"]} | {f"true_{name}": moved[name] for name in PARAMETERS}

    return target


def rows_of(shares: Sequence[float], batch_size: int) -> tuple[int, ...]:
    """How many samples of each source a batch has: largest remainders; the shares add up to 1.

    Raises:
        ArgumentError: for a source that would get none.
    """
    exact = np.asarray(shares, np.float64) / np.sum(shares) * batch_size
    rows = np.floor(exact + 1e-9).astype(int)
    for index in np.argsort(rows - exact, kind="stable")[:batch_size - rows.sum()]:
        rows[index] += 1
    if (rows < 1).any():
        raise ArgumentError(f"data: wanted at least one sample of each source in a batch of {batch_size}, got shares "
                            f"{', '.join(f'{share:.3g}' for share in shares)}; take a larger batch_size or share")
    return tuple(rows.tolist())


class MixedBatches(StepBatches):
    """Batches of several sources in one.

    Args:
        parts: each source's own batches, of the size of its share, for one process.
        steps: length of the run. seed: of the order of the rows within a batch.
        rank, world: this process and how many share each batch.
    """

    def __init__(self, parts: Sequence[Batches], *, steps: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.parts, self.steps, self.seed = tuple(parts), steps, seed
        self.batch_size = sum(part.batch_size for part in parts)
        self.share(rank, world)
        self.step = 0

    def batch(self, step: int) -> Batch:
        """The batch of one step, whichever came before it; `source` (b,) says which source each row is of."""
        made = [part.batch(step) for part in self.parts]
        joined: dict[str, Tensor] = {name: torch.cat([batch[name] for batch in made]) for name in made[0] if name != "step"}
        sizes = torch.tensor([part.batch_size for part in self.parts])
        joined["source"] = torch.repeat_interleave(torch.arange(len(made)), sizes)
        # Mixed, so that every part of a batch that is cut has something of every source in its statistics.
        order = torch.randperm(self.batch_size, generator=generator_of(self.seed, "rows", step))
        size = self.batch_size // self.world
        mine = order[self.rank * size:(self.rank + 1) * size]
        return {"step": step, **{name: value[mine] for name, value in joined.items()}}


class MixedEvaluation:
    """All samples of several sources once, in order."""

    def __init__(self, parts: Sequence[EvaluationBatches]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Batch]:
        for part in self.parts:
            yield from part


def source_batches(samples: MofaSamples, *, size: int, augmentation: Augmentation, corruption: Augmentation, rows: int,
                   steps: int, seed: int, number: int, target: Target) -> Batches:
    """The batches of one source; two sources with the same pictures are drawn independently."""
    return Batches(samples.images, size=size, augmentation=in_context(augmentation), corruption=corruption, batch_size=rows,
                   steps=steps, seed=derived_seed(seed, "source", number), target=target)
