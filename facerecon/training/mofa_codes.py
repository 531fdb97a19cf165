"""PNCC maps for samples that bring none: those that `facerecon annotate` wrote, or a network's."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facerecon.data import load_image
from facerecon.detection import cut_square
from facerecon.errors import DatasetError, FaceReconError
from facerecon.gmda import MAP_SIZE
from facerecon.training.mofa_samples import CONTEXT, STORED_MAP, MofaSamples, stored_crop

if TYPE_CHECKING:
    from facerecon.pncc import PnccPredictor

MANIFEST = "manifest.jsonl"
BATCH = 16


class CodeFolder:
    """The maps of a folder that `facerecon annotate` wrote, by the names of the pictures.

    Args:
        folder: with `manifest.jsonl`, which says which map belongs to which picture. A picture's first face counts.

    Raises:
        DatasetError: `dataset_missing` without a manifest, `dataset_invalid` for one that cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._maps: dict[str, list[tuple[str, str]]] = {}
        path = self.folder / MANIFEST
        if not path.is_file():
            raise DatasetError(f"{path}: wanted the manifest of a run of facerecon annotate, found none",
                               code="dataset_missing")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                if row.get("status") == "ok" and row.get("face", 0) == 0:
                    image = Path(row["image"]).with_suffix("")
                    self._maps.setdefault(image.name, []).append((image.as_posix(), str(row["files"]["pncc"])))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DatasetError(f"{path}: line {number}: wanted image, status and files: {error}") from error

    def of(self, name: str, picture: Sequence[int]) -> np.ndarray | None:
        """The map (height, width, 3) uint8 of a picture of (height, width) px, by its name in its folder or archive, or None.

        Raises:
            DatasetError: a map of another shape, or a file that cannot be read.
        """
        # Names of archives end in .jpg; those of folders have no suffix, though perhaps a dot.
        for key in dict.fromkeys((name, os.path.splitext(name)[0])):
            for image, file in self._maps.get(key.rsplit("/", 1)[-1], ()):
                if f"/{image}".endswith(f"/{key}"):
                    return self._read(file, picture)
        return None

    def _read(self, file: str, picture: Sequence[int]) -> np.ndarray:
        try:
            pixels = load_image(self.folder / file).pixels
        except FaceReconError as error:
            raise DatasetError(f"{self.folder / file}: {error}") from error
        if abs(pixels.shape[0] / pixels.shape[1] * picture[1] / picture[0] - 1) > 0.02:
            raise DatasetError(f"{self.folder / file}: wanted a map of a picture of {picture[1]} x {picture[0]} px, got "
                               f"{pixels.shape[1]} x {pixels.shape[0]}")
        return pixels


def with_predicted_codes(samples: MofaSamples, predictor: PnccPredictor) -> MofaSamples:
    """The samples with the maps that a network sees in their crops, instead of any that they had."""
    maps = np.zeros((len(samples), STORED_MAP, STORED_MAP, 3), np.uint8)
    # The network knows the square without the context around it; its map lies in the middle of the stored one, pixel on pixel.
    whole = stored_crop((samples.size, samples.size), None, predictor.image_size)
    square = dataclasses.replace(whole, side=samples.size / CONTEXT)
    start = (STORED_MAP - MAP_SIZE) // 2
    for first in range(0, len(samples), BATCH):
        squares = np.stack([cut_square(image, square) for image in samples.images[first:first + BATCH]])
        codes = predictor.predict_crops(squares)
        maps[first:first + BATCH, start:start + MAP_SIZE, start:start + MAP_SIZE] = np.rint(codes * 255)
    return dataclasses.replace(samples, maps=maps)
