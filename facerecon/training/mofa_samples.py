"""Samples of self-supervised face reconstruction: aligned crops with whatever is known about each."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facerecon.detection import Crop, CropRule, cut_square
from facerecon.errors import ArgumentError
from facerecon.gmda import MAP_SIZE

# Side of a stored crop over that of `CropRule`'s square, so that moved and turned views find pixels beyond it.
CONTEXT = 1.125
# A code map over the square has MAP_SIZE px; over a stored crop this many, which keeps its pixels where they are.
STORED_MAP = round(MAP_SIZE * CONTEXT)
PARAMETERS = ("identity", "expression", "albedo", "illumination", "rotation", "translation", "scale")
# Jaw points, which many label sets put on the visible outline instead of the jaw.
JAW = slice(0, 17)


@dataclasses.dataclass(frozen=True, eq=False)
class MofaSamples:
    """Faces of one source, in crops of one size that are aligned alike.

    A crop is the square of `CropRule` around the 68 points, `CONTEXT` times as wide, without rotation. A sample without points
    is a picture that already was such a square.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        names: of the samples, unique; subjects: who each shows, None where nobody said.
        points: (N, 68, 2) float32 px of the crop, iBUG-68; NaN where unknown.
        visible: (N, 68) bool: points that count as seen.
        maps: (N, 144, 144, 3) uint8 codes (PNCC) over the whole crop, background 0; None without them.
        truth: {} or float32 arrays of N rows, pose in px of the crop: identity, expression, albedo, illumination (N, 9, 3),
            rotation (N, 3, 3), translation (N, 2), scale (N,); see `FaceCode`.
        dropped: samples of the source that are not here, as {"name", "code"}.
    """

    images: np.ndarray
    names: tuple[str, ...]
    subjects: tuple[str | None, ...]
    points: np.ndarray
    visible: np.ndarray
    maps: np.ndarray | None = None
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    dropped: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.names)
        size = self.images.shape[1] if self.images.ndim == 4 else 0
        shapes = {"images": (count, size, size, 3), "points": (count, 68, 2), "visible": (count, 68),
                  "subjects": (count,), "maps": (count, STORED_MAP, STORED_MAP, 3)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ArgumentError(f"{name}: wanted {shape}, got {np.shape(value)}", code="shape_invalid")
        if self.truth and (set(self.truth) != set(PARAMETERS) or any(len(value) != count for value in self.truth.values())):
            raise ArgumentError(f"truth: wanted {count} rows of {', '.join(PARAMETERS)}, or nothing", code="shape_invalid")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Side of the crops in px."""
        return self.images.shape[1]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of names, labels and pixels: what a training run records as its data."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        arrays = {"points": self.points, "visible": self.visible, "images": self.images, "maps": self.maps, **self.truth}
        for name, value in arrays.items():
            if value is not None:
                digest.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
                digest.update(np.ascontiguousarray(value))
        return digest.hexdigest()

    def take(self, chosen: np.ndarray) -> MofaSamples:
        """The samples at these indices (or of this (N,) mask), in their order."""
        chosen = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen, dtype=np.int64)
        return dataclasses.replace(
            self, images=self.images[chosen], names=tuple(self.names[i] for i in chosen),
            subjects=tuple(self.subjects[i] for i in chosen), points=self.points[chosen], visible=self.visible[chosen],
            maps=None if self.maps is None else self.maps[chosen],
            truth={name: value[chosen] for name, value in self.truth.items()})


class SampleList:
    """Collects samples one by one and gives them as `MofaSamples`.

    Args:
        size: side of the stored crops in px.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows: list[dict[str, Any]] = []
        self.dropped: list[dict[str, str]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def drop(self, name: str, code: str) -> None:
        """Note a sample that cannot be used."""
        self.dropped.append({"name": name, "code": code})

    def add(self, name: str, subject: str | None, pixels: np.ndarray, points: np.ndarray | None, *,
            visible: np.ndarray | None = None, code: np.ndarray | None = None,
            truth: Mapping[str, np.ndarray] | None = None) -> None:
        """Align a picture and keep it.

        Args:
            pixels: (H, W, 3) uint8.
            points: (68, 2) px of the picture, NaN where unknown; None for a picture that is a square face crop already.
            visible: (68,) bool; None: every known point is.
            code: (h, w, 3) uint8 map over the whole picture, or None.
            truth: rows of `MofaSamples.truth`, pose in px of the picture.
        """
        crop = stored_crop(pixels.shape[:2], points, self.size)
        found = np.full((68, 2), np.nan, np.float32) if points is None else crop.to_crop(np.asarray(points, np.float64))
        known = np.isfinite(found).all(1)
        row = {"name": name, "subject": subject, "images": cut_square(pixels, crop), "points": found.astype(np.float32),
               "visible": known if visible is None else known & np.asarray(visible, bool), "maps": None, "truth": {}}
        if code is not None:
            row["maps"] = cut_code(code, crop, pixels.shape[:2])
        if truth is not None:
            row["truth"] = {key: np.asarray(truth[key], np.float32) for key in PARAMETERS}
            moved = crop.to_crop(np.asarray(truth["translation"], np.float64))
            row["truth"] |= {"translation": moved.astype(np.float32), "scale": np.float32(truth["scale"] * crop.scale)}
        self._rows.append(row)

    def samples(self) -> MofaSamples:
        """What was kept so far."""
        rows = self._rows

        def stacked(name: str, dtype: type, *shape: int) -> np.ndarray:
            return np.stack([row[name] for row in rows]) if rows else np.zeros((0, *shape), dtype)

        maps = stacked("maps", np.uint8, STORED_MAP, STORED_MAP, 3) if not rows or rows[0]["maps"] is not None else None
        known = PARAMETERS if rows and rows[0]["truth"] else ()
        truth = {name: np.stack([row["truth"][name] for row in rows]) for name in known}
        return MofaSamples(stacked("images", np.uint8, self.size, self.size, 3), tuple(row["name"] for row in rows),
                           tuple(row["subject"] for row in rows), stacked("points", np.float32, 68, 2),
                           stacked("visible", bool, 68), maps, truth, tuple(self.dropped))


def stored_crop(picture: Sequence[int], points: np.ndarray | None, size: int) -> Crop:
    """The crop of a sample: around its known points, or, without points, the whole picture of (height, width) px.

    Raises:
        ArgumentError: fewer than two places are known, so that there is no square around them.
    """
    if points is None:
        height, width = picture
        return Crop(((width - 1) / 2, (height - 1) / 2), max(width, height) * CONTEXT, size)
    known = np.asarray(points, np.float64)[np.isfinite(points).all(1)]
    if len(known) < 2 or float(np.ptp(known, axis=0).max()) <= 0:
        raise ArgumentError(f"points: wanted known landmarks with an extent, got {len(known)}")
    crop = CropRule().crop(np.concatenate([known.min(0), known.max(0)]), size=size, box_of="points")
    return dataclasses.replace(crop, side=crop.side * CONTEXT)


def cut_code(code: np.ndarray, crop: Crop, picture: Sequence[int]) -> np.ndarray:
    """A code map (h, w, 3) uint8 over a picture of (height, width) px, as (144, 144, 3) uint8 over a crop of the picture.

    Colours are mixed among the face's own pixels alone, since a mean of face and background would be another place of the face.
    """
    step = code.shape[1] / picture[1]
    centre = tuple((value + 0.5) * step - 0.5 for value in crop.centre)
    way = dataclasses.replace(crop, centre=centre, side=crop.side * step, size=STORED_MAP)
    share = way.extract((code > 0).any(-1).astype(np.float32))[..., None]
    colours = way.extract(code.astype(np.float32))
    return np.rint(np.where(share >= 0.5, colours / np.maximum(share, 0.5), 0)).astype(np.uint8)


def join_names(parts: Sequence[MofaSamples]) -> tuple[str, ...]:
    """Names of all samples of several sources; a name that two of them have gets the number of its source before it."""
    names = [name for part in parts for name in part.names]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{index}/{name}" for index, part in enumerate(parts) for name in part.names)
