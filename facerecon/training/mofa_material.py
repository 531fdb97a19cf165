"""The data of a self-supervised run: several sources, the share of each in a batch, and what the face model says of mirrors."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facerecon.checks import check_range
from facerecon.errors import ArgumentError, DatasetError
from facerecon.training.mofa_batches import MixedBatches, MixedEvaluation, face_targets, rows_of, source_batches
from facerecon.training.batches import EvaluationBatches
from facerecon.training.mofa_codes import CodeFolder, with_predicted_codes
from facerecon.training.mofa_landmarks import FoundLandmarks
from facerecon.training.mofa_recipe import MofaRecipe
from facerecon.training.mofa_samples import CONTEXT, MofaSamples, join_names
from facerecon.training.mofa_sources import SourceOptions, read_source
from facerecon.training.mofa_views import Mirror

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel


@dataclasses.dataclass(frozen=True, eq=False)
class MofaSet:
    """Samples of several sources, in their order.

    Attributes:
        parts: the sources. shares: of each in every batch, adding up to 1; () where there are no batches of fixed shares.
    """

    parts: tuple[MofaSamples, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.shares and (len(self.shares) != len(self.parts) or min(self.shares) <= 0):
            raise ArgumentError(f"shares: wanted one above 0 for each of {len(self.parts)} sources, got {self.shares}")

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Unique names of all samples."""
        return join_names(self.parts)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all parts and their shares."""
        return hashlib.sha256(repr(([part.sha256 for part in self.parts], self.shares)).encode()).hexdigest()

    @property
    def dropped(self) -> dict[str, int]:
        """How many candidates were left out, by reason."""
        codes = [one["code"] for part in self.parts for one in part.dropped]
        return {code: codes.count(code) for code in sorted(set(codes))}


@dataclasses.dataclass(frozen=True, eq=False)
class MofaMaterial:
    """Data in memory, for `run.train`.

    Attributes:
        model: the face model.
        training: samples, with shares. validation: samples, or None.
        full: see `Material`. licence: of what is trained on these data, as far as their owner says.
    """

    model: MorphableModel
    training: MofaSet
    validation: MofaSet | None = None
    full: int = 0
    licence: str = "not stated"
    _mirrors: dict[tuple[int, ...], Mirror] = dataclasses.field(default_factory=dict, repr=False)

    def sizes(self, recipe: MofaRecipe) -> dict[str, int]:
        """How many coefficients of each kind are used."""
        return dict(zip(("identity", "expression", "albedo"), recipe.counts or self.model.sizes))

    def batches(self, recipe: MofaRecipe, *, steps: int, seed: int) -> MixedBatches:
        """The batches to learn from.

        Raises:
            ArgumentError: mirrored codes are wanted of a face model whose code has no mirror image, or truths of too few
                coefficients.
        """
        sizes = self.sizes(recipe)
        mirror = self._mirror(tuple(sizes.values())) if recipe.augmentation.flip else None
        if mirror is not None and recipe.pncc and mirror.code_x is None:
            raise ArgumentError(f"augmentation.flip: wanted 0 for PNCC of the model {self.model.name!r}, whose code is not "
                                f"symmetric, got {recipe.augmentation.flip}")
        lit = not (recipe.augmentation.brightness or recipe.augmentation.contrast)
        rows = rows_of(self.training.shares, recipe.batch_size)
        parts = [source_batches(part, size=recipe.image_size, augmentation=recipe.augmentation, corruption=recipe.corruption,
                                rows=count, steps=steps, seed=seed, number=number,
                                target=face_targets(part, sizes=sizes, mirror=mirror, jaw=recipe.jaw, codes=recipe.pncc,
                                                    light_known=lit))
                 for number, (part, count) in enumerate(zip(self.training.parts, rows))]
        return MixedBatches(parts, steps=steps, seed=seed)

    def validation_batches(self, recipe: MofaRecipe) -> MixedEvaluation | None:
        """The batches to validate on: no change but the crop."""
        if self.validation is None or not len(self.validation):
            return None
        sizes = self.sizes(recipe)
        return MixedEvaluation([
            EvaluationBatches(part.images, size=recipe.image_size, zoom=CONTEXT,
                              target=face_targets(part, sizes=sizes, mirror=None, jaw=recipe.jaw, codes=recipe.pncc))
            for part in self.validation.parts if len(part)])

    def _mirror(self, counts: tuple[int, ...]) -> Mirror:
        if counts not in self._mirrors:
            self._mirrors[counts] = Mirror.of(self.model, counts)
        return self._mirrors[counts]


def load_mofa_material(recipe: MofaRecipe, sources: Sequence[str | os.PathLike[str]], *, seed: int = 0,
                       licence: str = "not stated", cache: str | os.PathLike[str] | None = None) -> MofaMaterial:
    """Read what a recipe trains on.

    Args:
        sources: folders, each a crop archive, photos, a synthetic archive or PNCC pairs; "FOLDER=0.5" has that share of every
            batch, and the others divide the rest equally.
        cache: file that keeps predicted landmarks, so that they are predicted once.

    Raises:
        ArgumentError: shares that do not add up. DatasetError: a source without anything to learn from. Others as of
            `read_source`.
    """
    from facerecon.morphable import load_model

    named = [split_share(source) for source in sources]
    shares = shares_of([share for _, share in named])
    model = load_model(recipe.model)
    predictor = _predictor(recipe, model)
    folder = CodeFolder(recipe.codes) if recipe.codes and predictor is None else None
    parts = []
    with FoundLandmarks(cache) as landmarks:
        # A network looks at the crops when they are there, so that sources need not bring maps.
        options = SourceOptions(model, recipe.crop_size or round(recipe.image_size * CONTEXT), landmarks, recipe.unlabelled,
                                recipe.pncc and predictor is None, folder, recipe.samples, seed)
        for path, _ in named:
            training, validation = read_source(path, options)
            if not len(training):
                raise DatasetError(f"{path}: wanted samples of people in the training split, got none"
                                   f"{_reasons(MofaSet((training,)))}", code="dataset_missing")
            if predictor is not None:
                training, validation = (with_predicted_codes(part, predictor) for part in (training, validation))
            parts.append((training, validation))
    validation = MofaSet(tuple(part for _, part in parts))
    return MofaMaterial(model, MofaSet(tuple(part for part, _ in parts), shares), validation if len(validation) else None,
                        licence=licence)


def split_share(source: str | os.PathLike[str]) -> tuple[Path, float | None]:
    """"FOLDER=0.5" to (FOLDER, 0.5), and any other path, or a folder of that very name, to (path, None)."""
    text = os.fspath(source)
    folder, equals, number = text.rpartition("=")
    if equals and not Path(text).exists():
        try:
            return Path(folder), check_range("data: share", float(number), 1e-6, 1.0)
        except ValueError as error:
            if isinstance(error, ArgumentError):
                raise
    return Path(text), None


def shares_of(given: Sequence[float | None]) -> tuple[float, ...]:
    """Shares that add up to 1: those given, and equal parts of the rest for the others.

    Raises:
        ArgumentError: nothing is left for the others, or there are none and the sum is not 1.
    """
    fixed, open_ones = sum(share for share in given if share is not None), sum(share is None for share in given)
    if not given or (open_ones and fixed >= 1 - 1e-6) or (not open_ones and abs(fixed - 1) > 1e-3):
        raise ArgumentError(f"data: wanted shares that add up to 1, or below 1 where a source has none, got {list(given)}")
    return tuple((1 - fixed) / open_ones if share is None else share for share in given)


def _reasons(made: MofaSet) -> str:
    return "".join(f", {count} {code}" for code, count in made.dropped.items())


def _predictor(recipe: MofaRecipe, model: MorphableModel):
    if not recipe.codes or Path(recipe.codes).is_dir():
        return None
    from facerecon.pncc import PnccPredictor

    predictor = PnccPredictor.load(recipe.codes)
    predictor.task.check_model(model)
    return predictor
