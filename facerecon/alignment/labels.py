"""The landmarks that a person, or a network, put on one photo, and what is asked of them.

Every annotation format is read into `LabelledImage` and written from it, in pixels of this package: the upright photo, origin
at the centre of its top-left pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice, check_shape
from facerecon.errors import ArgumentError, DatasetError, LandmarkError

PREDICTED = "predicted"
OUTSIDE = ("refuse", "absent", "keep")
# A tool that stores hundredths of a pixel may put a point of the picture's edge this far beyond it.
_EDGE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImage:
    """Landmarks of one face in one photo.

    Attributes:
        image: path or name of the photo, as the annotation file says it, with `/` between folders.
        points: (L, 2) float64 px in the scheme's order; both coordinates NaN where a point is absent.
        visible: (L,) bool: False where a point is hidden, and where it is absent.
        size: (width, height) of the photo as the file says it, or None where the format says nothing.
        source: where the points come from: "coco", "cvat", "pts", "predicted".

    Raises:
        LandmarkError: `landmarks_nonfinite` for an infinite coordinate, or one that is NaN beside one that is not.
        ArgumentError: `shape_invalid`.
    """

    image: str
    points: np.ndarray
    visible: np.ndarray
    size: tuple[int, int] | None = None
    source: str = "manual"

    def __post_init__(self) -> None:
        points = check_shape("points", np.array(self.points, np.float64), (None, 2))
        visible = check_shape("visible", np.array(self.visible, bool), (len(points),))
        absent = np.isnan(points)
        if np.isinf(points).any() or (absent[:, 0] != absent[:, 1]).any():
            raise LandmarkError(f"{self.image}: wanted finite points, or NaN in both coordinates of an absent one, got "
                                f"{points[~np.isfinite(points).all(1)].tolist()}", code="landmarks_nonfinite")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "visible", visible & ~absent[:, 0])

    @property
    def present(self) -> np.ndarray:
        """(L,) bool: which points the label has."""
        return ~np.isnan(self.points[:, 0])


def checked_label(label: LabelledImage, scheme: LandmarkScheme, size: tuple[int, int], *,
                  outside: str = "refuse") -> LabelledImage:
    """A label that fits the scheme and the photo.

    Args:
        label: as read.
        scheme: of the project.
        size: (width, height) of the upright photo.
        outside: a point beyond the photo's edge is refused, or becomes "absent", or is kept ("keep").

    Raises:
        LandmarkError: `landmarks_count`, `landmarks_nonfinite` (no point at all), `landmarks_outside`.
        DatasetError: `annotation_invalid` when the file speaks of a photo of another size.
    """
    check_choice("outside", outside, OUTSIDE)
    if len(label.points) != len(scheme):
        raise LandmarkError(f"{label.image}: wanted the {len(scheme)} points of {scheme.name}, got {len(label.points)}",
                            code="landmarks_count")
    if label.size is not None and tuple(label.size) != tuple(size):
        raise DatasetError(f"{label.image}: the annotation is of a picture of {label.size[0]} x {label.size[1]} px, the photo "
                           f"has {size[0]} x {size[1]}; annotate the pictures of the task folder as they are",
                           code="annotation_invalid")
    if not label.present.any():
        raise LandmarkError(f"{label.image}: wanted at least one point that is not absent", code="landmarks_nonfinite")
    low, high = -0.5 - _EDGE, np.array(size) - 0.5 + _EDGE
    # NaN compares as False, so absent points are not outside.
    beyond = ((label.points < low) | (label.points > high)).any(1)
    if not beyond.any() or outside == "keep":
        return dataclasses.replace(label, size=tuple(size))
    if outside == "refuse":
        first = int(np.flatnonzero(beyond)[0])
        raise LandmarkError(f"{label.image}: {int(beyond.sum())} points lie outside the photo of {size[0]} x {size[1]} px, "
                            f"such as {scheme.names[first]!r} at {label.points[first].tolist()}; mend them, or take them with "
                            "--outside keep or --outside absent", code="landmarks_outside")
    points = np.where(beyond[:, None], np.nan, label.points)
    return dataclasses.replace(label, points=points, size=tuple(size))


def order_of_names(names: Sequence[str], scheme: LandmarkScheme, where: str) -> list[int]:
    """Index in the scheme of each of a file's point names.

    A file may have the scheme's own names in any order, or the numbers "1" to "L", which annotation tools give to the points of
    a skeleton that nobody named.

    Raises:
        DatasetError: `annotation_invalid` for an unknown name, or one that is there twice.
        LandmarkError: `landmarks_count` when names of the scheme are missing.
    """
    known = {name: index for index, name in enumerate(scheme.names)}
    if not set(names) <= set(known):
        numbers = {str(index + 1): index for index in range(len(scheme))}
        unknown = [name for name in names if name not in known]
        if not set(names) <= set(numbers):
            raise DatasetError(f"{where}: {scheme.name} has no point {unknown[0]!r} ({len(unknown)} unknown names); wanted its "
                               f"names, or the numbers 1 to {len(scheme)}", code="annotation_invalid")
        known = numbers
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise DatasetError(f"{where}: the point {twice!r} is there twice", code="annotation_invalid")
    if len(names) != len(scheme):
        raise LandmarkError(f"{where}: wanted the {len(scheme)} points of {scheme.name}, got {len(names)}",
                            code="landmarks_count")
    return [known[name] for name in names]


def skeleton_edges(scheme: LandmarkScheme) -> list[tuple[int, int]]:
    """Pairs of points (indices from 0) that a drawing joins: neighbours within each group of the scheme."""
    return [pair for group in scheme.groups.values() for pair in zip(group, group[1:])]


def writable_labels(labels: Iterable[LabelledImage], scheme: LandmarkScheme) -> Iterator[LabelledImage]:
    """The labels one by one, each checked to be fit for a file of many photos.

    Raises:
        ArgumentError: a label without size, or with another number of points. DatasetError: `annotation_invalid` for a photo
            that is there twice.
    """
    seen: set[str] = set()
    for label in labels:
        if label.size is None or len(label.points) != len(scheme):
            raise ArgumentError(f"{label.image}: wanted a label with the photo's size and {len(scheme)} points, got size "
                                f"{label.size} and {len(label.points)} points")
        if label.image in seen:
            raise DatasetError(f"{label.image}: the photo is there twice", code="annotation_invalid")
        seen.add(label.image)
        yield label
