"""Where the samples of self-supervised training come from: crops, photos, synthetic archives, PNCC pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from facerecon.data import load_image
from facerecon.data.blocks import block_paths, read_block, read_pictures
from facerecon.data.splits import split_of
from facerecon.errors import ArgumentError, DatasetError, FaceReconError, ModelError
from facerecon.pncc import load_pairs
from facerecon.pncc.pairs import PATTERN as PAIRS
from facerecon.pncc.task import PnccTask
from facerecon.synthesis import read_archive
from facerecon.training.batches import generator_of
from facerecon.training.crops import CropRow, crop_members, crop_rows
from facerecon.training.mofa_codes import CodeFolder
from facerecon.training.mofa_landmarks import FoundLandmarks
from facerecon.training.mofa_samples import PARAMETERS, MofaSamples, SampleList

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

# So many samples of a source tell how well an encoder does.
MOST_VALIDATION = 256
UNLABELLED = ("predict", "drop", "keep")


@dataclasses.dataclass(frozen=True, eq=False)
class SourceOptions:
    """What every source is read by.

    Attributes:
        model: the face model of the run, whose parameters and codes alone are of use.
        size: side of the stored crops in px.
        unlabelled: what becomes of pictures without landmarks: "predict" finds them (and drops where there are none), "drop",
            or "keep", for pictures that are face crops already.
        codes: PNCC maps are wanted. code_folder: where `facerecon annotate` wrote them; None: those that a source brings.
        samples: at most so many training samples, drawn with `seed`; 0: all.
        landmarks: finds points.
    """

    model: MorphableModel
    size: int
    landmarks: FoundLandmarks
    unlabelled: str = "predict"
    codes: bool = False
    code_folder: CodeFolder | None = None
    samples: int = 0
    seed: int = 0

    @property
    def own_codes(self) -> bool:
        """Whether the maps must come from the source itself."""
        return self.codes and self.code_folder is None


def read_source(path: Path, options: SourceOptions) -> tuple[MofaSamples, MofaSamples]:
    """The samples to learn from and those to validate on, of a folder of any of the four kinds.

    People are split by `data.splits`; those of the test split are in neither part, those whom nobody named are learnt from.

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`. ModelError: parameters or codes of another face model. Others as of
            the readers.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: wanted a folder with faces, found none there", code="dataset_missing")
    if block_paths(path):
        return _synthetic(path, options)
    if next(path.rglob(PAIRS), None) is not None:
        return _pairs(path, options)
    return _crops(path, options)


def _crops(folder: Path, options: SourceOptions) -> tuple[MofaSamples, MofaSamples]:
    if options.own_codes:
        raise ArgumentError(f"{folder}: wanted PNCC maps for its pictures, got none; name them with codes=FOLDER (of facerecon "
                            "annotate) or codes=WEIGHTS (of a PNCC network)")
    rows = crop_rows(folder)
    if options.unlabelled == "drop":
        rows = [row for row in rows if row.points is not None]

    def read(chosen: list[CropRow]) -> MofaSamples:
        kept = SampleList(options.size)
        for row, content in crop_members(folder, chosen):
            try:
                _add(kept, options, row.name, row.subject, load_image(content).pixels, row.points)
            except FaceReconError as error:
                kept.drop(row.name, error.code)
        return kept.samples()

    return tuple(read([rows[i] for i in part]) for part in _split([row.subject for row in rows], options))


def _pairs(folder: Path, options: SourceOptions) -> tuple[MofaSamples, MofaSamples]:
    pairs = load_pairs(folder)
    if options.own_codes:
        PnccTask.from_pairs(pairs).check_model(options.model)

    def read(chosen: np.ndarray) -> MofaSamples:
        kept = SampleList(options.size)
        for i in chosen:
            _add(kept, options, pairs.names[i], pairs.subjects[i], pairs.images[i], None,
                 code=pairs.maps[i] if options.own_codes else None)
        return kept.samples()

    return tuple(read(part) for part in _split(pairs.subjects, options))


def _synthetic(folder: Path, options: SourceOptions) -> tuple[MofaSamples, MofaSamples]:
    archive = read_archive(folder, images=False)
    theirs = archive.header["about"].get("model", {})
    if theirs.get("topology_sha256") != options.model.header["topology_sha256"]:
        raise ModelError(f"{folder}: its parameters are of the model {theirs.get('name')!r}; wanted {options.model.name!r}, or "
                         "another model= of the recipe")
    if options.own_codes and "pncc" not in archive.header["maps"]:
        raise ArgumentError(f"{folder}: wanted PNCC maps in the archive, got {archive.header['maps']}; make it with --maps "
                            "pncc, or name maps with codes=")

    def read(chosen: np.ndarray) -> MofaSamples:
        kept, number = SampleList(options.size), {archive.names[i]: i for i in chosen}
        for name, pixels, code in _pictures(folder, number.keys(), options.own_codes):
            i = number[name]
            truth = {key: archive.truth[key][i] for key in PARAMETERS}
            _add(kept, options, name, archive.subjects[i], pixels, archive.truth["points68"][i],
                 visible=archive.truth["visible68"][i].astype(bool), code=code, truth=truth)
        return kept.samples()

    return tuple(read(part) for part in _split(archive.subjects, options))


def _pictures(folder: Path, chosen: Sequence[str], codes: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Block by block, so that an archive is never in memory as a whole."""
    for path in block_paths(folder):
        _, header = read_block(path)
        names = [name for name in header["names"] if name in chosen]
        if names:
            maps = read_pictures(path, header, names, kind="pncc") if codes else [None] * len(names)
            yield from zip(names, read_pictures(path, header, names), maps)


def _add(kept: SampleList, options: SourceOptions, name: str, subject: str | None, pixels: np.ndarray,
         points: np.ndarray | None, **known: np.ndarray | None) -> None:
    if options.code_folder is not None:
        known["code"] = options.code_folder.of(name, pixels.shape[:2])
        if known["code"] is None:
            return kept.drop(name, "no_pncc")
    if points is None and options.unlabelled != "keep":
        points = options.landmarks.find(pixels) if options.unlabelled == "predict" else None
        if points is None:
            return kept.drop(name, "no_landmarks")
    try:
        kept.add(name, subject, pixels, points, **known)
    except ArgumentError:
        kept.drop(name, "landmarks_degenerate")


def _split(subjects: Sequence[str | None], options: SourceOptions) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation samples, ascending."""
    splits = np.array(["train" if subject is None else split_of(subject) for subject in subjects])
    training, validation = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "validation")
    if options.samples and options.samples < len(training):
        order = torch.randperm(len(training), generator=generator_of(options.seed, "samples")).numpy()
        training = training[np.sort(order[:options.samples])]
    if len(validation) > MOST_VALIDATION:
        validation = validation[np.linspace(0, len(validation) - 1, MOST_VALIDATION).astype(int)]
    return training, validation
