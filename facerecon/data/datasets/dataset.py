"""A dataset as a sequence of samples, read one at a time, with an account of what is there and what is not."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from facerecon.data.datasets.sample import FaceSample
from facerecon.errors import ArgumentError, DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What a folder holds against what the release holds.

    Attributes:
        dataset: name of the release.
        parts: (name, found, expected) per split or folder; expected is None where the release has no fixed number.
        missing: names of what should be there and is not: images without annotation, annotations without image, lists.
    """

    dataset: str
    parts: tuple[tuple[str, int, int | None], ...]
    missing: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        return sum(found for _, found, _ in self.parts)

    @property
    def complete(self) -> bool:
        """Whether every part has the release's number and nothing is missing."""
        return not self.missing and all(expected in (None, found) for _, found, expected in self.parts)

    def describe(self, *, longest: int = 10) -> str:
        """One line per part, then what is missing, at most `longest` names."""
        lines = [f"{self.dataset}: {name}: found {found}" + (f" of {expected}" if expected is not None else "")
                 for name, found, expected in self.parts]
        if self.missing:
            shown = ", ".join(self.missing[:longest])
            more = f" and {len(self.missing) - longest} more" if len(self.missing) > longest else ""
            lines.append(f"{self.dataset}: missing: {shown}{more}")
        return "\n".join(lines)


class FaceDataset(Sequence):
    """Samples of one dataset, in the release's order; each is read when it is asked for.

    Attributes:
        name: of the release; split: which part of it; names: of all samples; inventory: found against expected;
        pixel_origin: of every sample's coordinates.
    """

    def __init__(self, name: str, names: Sequence[str], load: Callable[[int], FaceSample], inventory: Inventory, *,
                 pixel_origin: str = "zero", split: str | None = None) -> None:
        self.name = name
        self.names = tuple(names)
        self.inventory = inventory
        self.pixel_origin = pixel_origin
        self.split = split
        self._load = load

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):
        """A sample for an int; a smaller dataset for a slice. Raises DatasetError when the annotation is damaged."""
        if isinstance(index, slice):
            return self.subset(range(len(self))[index])
        position = range(len(self))[index]
        return self._load(position)

    def __iter__(self) -> Iterator[FaceSample]:
        return (self._load(position) for position in range(len(self)))

    def subset(self, indices: Sequence[int] | np.ndarray) -> FaceDataset:
        """The samples at `indices` (positions, in that order) as a dataset; the inventory stays that of the whole."""
        chosen = [range(len(self))[int(index)] for index in indices]
        return FaceDataset(self.name, [self.names[index] for index in chosen], lambda index: self._load(chosen[index]),
                           self.inventory, pixel_origin=self.pixel_origin, split=self.split)

    def by_name(self, name: str) -> FaceSample:
        """The sample of that name; raises ArgumentError for an unknown one."""
        try:
            return self._load(self.names.index(name))
        except ValueError as error:
            raise ArgumentError(f"name: {self.name} has no sample {name!r}") from error


def require_folder(folder: str | os.PathLike[str], dataset: str) -> Path:
    """The folder as a path; raises DatasetError `dataset_missing` when it is not one."""
    path = Path(folder)
    if not path.is_dir():
        raise DatasetError(f"{dataset}: {path} is not a folder; give the folder that the release unpacks to",
                           code="dataset_missing")
    return path


def require_some(names: Sequence[str], folder: Path, dataset: str, wanted: str) -> None:
    """Raise DatasetError `dataset_invalid` when nothing was found, saying what a folder of this dataset holds."""
    if not names:
        raise DatasetError(f"{dataset}: {folder} holds none of {wanted}; give the folder that the release unpacks to",
                           code="dataset_invalid")


def images_below(folder: Path) -> dict[str, Path]:
    """All photos below a folder as {path relative to it without suffix, with /: path}, sorted by name; folders
    that are links are not entered."""
    found = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                found[path.relative_to(folder).with_suffix("").as_posix()] = path
    return dict(sorted(found.items()))


def inside(folder: Path, name: str, dataset: str) -> Path:
    """`folder / name` for a name from a list; raises DatasetError `annotation_invalid` when it leads out of the folder."""
    parts = Path(name.replace("\\", "/")).parts
    if not parts or Path(name).is_absolute() or ".." in parts or ":" in parts[0] or "\0" in name:
        raise DatasetError(f"{dataset}: {name!r} in a list leads out of {folder}", code="annotation_invalid")
    return folder.joinpath(*parts)


def read_lines(path: Path, dataset: str, *, max_bytes: int = 256 << 20) -> list[str]:
    """Lines of a text list without their ends; raises DatasetError when it is missing or too large."""
    if not path.is_file():
        raise DatasetError(f"{dataset}: {path} is missing", code="dataset_missing")
    if path.stat().st_size > max_bytes:
        raise DatasetError(f"{dataset}: {path} has {path.stat().st_size} bytes, more than {max_bytes}", code="annotation_corrupt")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def numbers(words: Sequence[str], path: Path, line: int) -> np.ndarray:
    """Words of a list as float64; raises DatasetError `annotation_corrupt` with file and line."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise DatasetError(f"{path}, line {line}: {error}", code="annotation_corrupt") from error
    if not np.isfinite(values).all():
        raise DatasetError(f"{path}, line {line}: wanted finite numbers", code="annotation_corrupt")
    return values
