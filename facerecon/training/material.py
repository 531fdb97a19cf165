"""The data of a training run: what is learnt from, what is validated on, and how many samples there would have been."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import torch

from facerecon.alignment import load_scheme
from facerecon.data.splits import split_of
from facerecon.errors import ArgumentError, DatasetError
from facerecon.pncc import PnccPairs, load_pairs
from facerecon.training.augment import Augmentation
from facerecon.training.batches import Batches, EvaluationBatches, Target, generator_of, map_targets, point_targets
from facerecon.training.crops import Crops, join_crops, load_crops, subject_split
from facerecon.training.mofa_material import MofaMaterial, load_mofa_material
from facerecon.training.mofa_recipe import MofaRecipe
from facerecon.training.recipe import LandmarkRecipe, Recipe

# So many unlabelled crops tell how well an autoencoder reconstructs.
MOST_UNLABELLED_VALIDATION = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Material:
    """Data in memory.

    Attributes:
        training: crops (labelled ones for landmarks) or PNCC pairs.
        validation: the same kind, or None.
        full: samples of the whole training set of which `training` is a part (T_full of the thesis' equation 3.2); 0: all.
        licence: of what is trained on these data, as far as their owner says.
    """

    training: Crops | PnccPairs
    validation: Crops | PnccPairs | None = None
    full: int = 0
    licence: str = "not stated"

    def subset(self, samples: int, seed: int) -> Material:
        """So many of the training samples, drawn by the seed; 0: all of them."""
        count = len(self.training)
        if not samples or samples == count:
            return self
        if samples > count:
            raise ArgumentError(f"samples: wanted at most the {count} training samples, got {samples}")
        chosen = torch.randperm(count, generator=generator_of(seed, "samples"))[:samples]
        return dataclasses.replace(self, training=self.training.take(np.sort(chosen.numpy())), full=self.full or count)

    def target(self, recipe: Recipe, which: Crops | PnccPairs) -> Target | None:
        """What `Batches` adds to the images for a task."""
        if recipe.task == "autoencoder":
            return None
        if isinstance(which, PnccPairs) != (recipe.task == "pncc"):
            raise ArgumentError(f"data: wanted {'PNCC pairs' if recipe.task == 'pncc' else 'crops'} for {recipe.name or recipe.task}, got "
                                f"{type(which).__name__}")
        if isinstance(recipe, LandmarkRecipe):
            bare = ~np.isfinite(which.points).all(2).any(1)
            if bare.any():
                raise ArgumentError(f"data: wanted crops with landmarks, got {int(bare.sum())} of {len(which)} without any")
            return point_targets(which.points, load_scheme(recipe.scheme).flip)
        return map_targets(which.maps, crop_size=which.size)

    def batches(self, recipe: Recipe, *, steps: int, seed: int) -> Batches:
        """The batches to learn from."""
        return Batches(self.training.images, size=recipe.image_size, augmentation=recipe.augmentation, batch_size=recipe.batch_size,
                       steps=steps, seed=seed, target=self.target(recipe, self.training),
                       corruption=getattr(recipe, "corruption", Augmentation()))

    def validation_batches(self, recipe: Recipe) -> EvaluationBatches | None:
        """The batches to validate on."""
        if self.validation is None or not len(self.validation):
            return None
        return EvaluationBatches(self.validation.images, size=recipe.image_size, target=self.target(recipe, self.validation))


def load_material(recipe: Recipe, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, seed: int = 0,
                  licence: str = "not stated", cache: str | os.PathLike[str] | None = None) -> Material | MofaMaterial:
    """Read what a recipe trains on: crop archives or folders of crops; for PNCC a folder of pairs; for MoFA folders of any of
    these, of photos or of synthetic faces, see `load_mofa_material`. Archives of synthetic faces are crop archives too.

    People are split by `data.splits`; those of the test split are in neither part. The recipe's number of samples is drawn
    from the training split with the seed.

    Raises:
        DatasetError: nothing there to learn from. Others as of `load_crops` and `load_pairs`.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if isinstance(recipe, MofaRecipe):
        return load_mofa_material(recipe, paths, seed=seed, licence=licence, cache=cache)
    if recipe.task == "pncc":
        if len(paths) != 1:
            raise ArgumentError(f"data: wanted one folder with all pairs below it for {recipe.name or 'pncc'}, got {len(paths)}")
        pairs = load_pairs(paths[0])
        splits = np.array(["train" if subject is None else split_of(subject) for subject in pairs.subjects])
        training, validation = pairs.take(splits == "train"), pairs.take(splits == "validation")
    else:
        crops = join_crops([load_crops(one, size=recipe.crop_size or recipe.image_size,
                                       only_labelled=recipe.task == "landmarks") for one in paths])
        training, validation = (crops.take(subject_split(crops, name)) for name in ("train", "validation"))
        if recipe.task == "autoencoder" and len(validation) > MOST_UNLABELLED_VALIDATION:
            validation = validation.take(np.linspace(0, len(validation) - 1, MOST_UNLABELLED_VALIDATION).astype(int))
    if not len(training):
        raise DatasetError(f"{paths[0]}: wanted samples of people in the training split, got none", code="dataset_missing")
    return Material(training, validation if len(validation) else None, licence=licence).subset(recipe.samples, seed)
