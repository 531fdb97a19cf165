"""WFLW (Wu et al., "Look at Boundary", CVPR 2018): 98 points, 7,500 training and 2,500 test faces, six attributes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import FaceDataset, Inventory, inside, numbers, read_lines, require_folder, require_some
from facerecon.data.datasets.sample import PIXEL_ORIGINS, FaceSample, box_to_pixel_origin, to_pixel_origin
from facerecon.errors import DatasetError

ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
# Subsets of the test set: the faces with that attribute.
SUBSETS = {"largepose": ("pose", 326), "expression": ("expression", 314), "illumination": ("illumination", 698),
           "makeup": ("make_up", 206), "occlusion": ("occlusion", 736), "blur": ("blur", 773)}
SPLITS = {"train": 7500, "test": 2500, **{f"test_{name}": count for name, (_, count) in SUBSETS.items()}}
_POINTS = 98
_LISTS = "list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"
_WORDS = 2 * _POINTS + 4 + len(ATTRIBUTES) + 1


def read_wflw(folder: str | os.PathLike[str], *, split: str = "test", pixel_origin: str = "zero") -> FaceDataset:
    """WFLW as it unpacks: WFLW_images/ and WFLW_annotations/list_98pt_rect_attr_train_test/.

    Several samples may share one photo. `box` is the detector's rectangle of the lists, `attributes` the six flags. Coordinates
    in the lists count from 0.

    Args:
        split: "train", "test", or a subset of the test set: "test_largepose", "test_expression", "test_illumination",
            "test_makeup", "test_occlusion", "test_blur".

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`, `annotation_corrupt` (file and line).
    """
    check_choice("split", split, tuple(SPLITS))
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "WFLW")
    images = root / "WFLW_images"
    words = _LISTS.format("train" if split == "train" else "test")
    path = next((root / place / words for place in ("WFLW_annotations", "") if (root / place / words).is_file()),
                root / "WFLW_annotations" / words)
    records = [_record(line.split(), path, number) for number, line in enumerate(read_lines(path, "WFLW"), start=1) if line.strip()]
    if split not in ("train", "test"):
        column = ATTRIBUTES.index(SUBSETS[split.removeprefix("test_")][0])
        records = [record for record in records if record[2][column]]
    paths = [inside(images, record[3], "WFLW") for record in records]
    present = [index for index, place in enumerate(paths) if place.is_file()]
    missing = sorted({records[index][3] for index, place in enumerate(paths) if not place.is_file()})
    kept = [records[index] for index in present]
    names = [f"{record[4]:05d}-{Path(record[3]).stem}" for record in kept]
    require_some(names, images, "WFLW", "the images that the list names")
    inventory = Inventory("WFLW", ((split, len(kept), SPLITS[split]),), tuple(missing))

    def load(index: int) -> FaceSample:
        points, box, flags, _, _ = kept[index]
        return FaceSample(
            name=names[index], image=paths[present[index]], scheme="wflw98",
            landmarks=to_pixel_origin(points, "zero", pixel_origin), box=box_to_pixel_origin(box, "zero", pixel_origin),
            pixel_origin=pixel_origin, split=split, attributes=dict(zip(ATTRIBUTES, flags)))

    return FaceDataset("wflw", names, load, inventory, pixel_origin=pixel_origin, split=split)


def _record(words: list[str], path: Path, line: int) -> tuple[np.ndarray, np.ndarray, tuple[bool, ...], str, int]:
    if len(words) != _WORDS:
        raise DatasetError(f"{path}, line {line}: wanted {_WORDS} words, got {len(words)}", code="annotation_corrupt")
    values = numbers(words[:-1], path, line)
    flags = values[2 * _POINTS + 4:]
    if not np.isin(flags, (0, 1)).all():
        raise DatasetError(f"{path}, line {line}: wanted attributes 0 or 1", code="annotation_corrupt")
    return (values[:2 * _POINTS].reshape(-1, 2), values[2 * _POINTS:2 * _POINTS + 4], tuple(bool(flag) for flag in flags),
            words[-1], line)
