"""CelebA (Liu et al., ICCV 2015): 202,599 photos of celebrities with 5 points, 40 attributes, identities and a partition."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import FaceDataset, Inventory, inside, numbers, read_lines, require_folder, require_some
from facerecon.data.datasets.sample import PIXEL_ORIGINS, FaceSample, box_to_pixel_origin, to_pixel_origin
from facerecon.errors import DatasetError

SPLITS = {"train": 162770, "valid": 19867, "test": 19962, "all": 202599}
VARIANTS = {"aligned": ("img_align_celeba", "list_landmarks_align_celeba.txt"),
            "in_the_wild": ("img_celeba", "list_landmarks_celeba.txt")}
_PARTITION = "list_eval_partition.txt"
_PLACES = ("", "Anno", "Eval", "anno", "eval", "Img")


def read_celeba(folder: str | os.PathLike[str], *, split: str = "all", variant: str = "aligned",
                pixel_origin: str = "zero") -> FaceDataset:
    """CelebA: a folder of images with its lists, in the release's tree (Img/, Anno/, Eval/) or all in one place.

    Lists that are not there are named as missing and their part of the samples stays empty: landmarks (5, 2) eyes, nose, mouth
    corners (subject's right to left), `box` (in-the-wild images), `attributes` (40 flags, `identity`). Only a split needs its list.
    Coordinates in the lists count from 0.

    Args:
        split: "train", "valid", "test", "all". variant: "aligned" (178 x 218 crops) or "in_the_wild".

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`, `annotation_corrupt` (file and line).
    """
    check_choice("split", split, tuple(SPLITS))
    check_choice("variant", variant, tuple(VARIANTS))
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "CelebA")
    folder_name, points_list = VARIANTS[variant]
    images = next((root / place / folder_name for place in _PLACES if (root / place / folder_name).is_dir()), None)
    if images is None:
        raise DatasetError(f"CelebA: {root} holds no folder {folder_name}", code="dataset_missing")
    # Some copies have one folder too many.
    images = images / folder_name if (images / folder_name).is_dir() else images
    missing: list[str] = []
    partition = _table(root, _PARTITION, 1, missing, required=split != "all")
    points = _table(root, points_list, 10, missing)
    identities = _table(root, "identity_CelebA.txt", 1, missing)
    flags, flag_names = _table(root, "list_attr_celeba.txt", 40, missing, named=True)
    boxes = _table(root, "list_bbox_celeba.txt", 4, missing) if variant == "in_the_wild" else {}
    with os.scandir(images) as entries:
        here = {entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")}
    wanted = sorted(here if not partition else partition)
    if split != "all":
        number = ("train", "valid", "test").index(split)
        wanted = [name for name in wanted if partition[name][0] == number]
    present = [name for name in wanted if name in here]
    missing += [name for name in wanted if name not in here]
    require_some(present, images, "CelebA", "images such as 000001.jpg")
    inventory = Inventory("CelebA", ((split, len(present), SPLITS[split]),), tuple(missing))

    def load(index: int) -> FaceSample:
        name = present[index]
        box = None
        if name in boxes:
            x, y, width, height = boxes[name]
            box = box_to_pixel_origin(np.array([x, y, x + width, y + height]), "zero", pixel_origin)
        attributes: dict[str, object] = {key: bool(value > 0) for key, value in zip(flag_names, flags.get(name, ()))}
        if name in identities:
            attributes["identity"] = int(identities[name][0])
        marks = points.get(name)
        return FaceSample(
            name=Path(name).stem, image=inside(images, name, "CelebA"), scheme=None if marks is None else "celeba5",
            landmarks=None if marks is None else to_pixel_origin(marks.reshape(5, 2), "zero", pixel_origin), box=box,
            pixel_origin=pixel_origin, split=split, attributes=attributes)

    return FaceDataset("celeba", [Path(name).stem for name in present], load, inventory, pixel_origin=pixel_origin, split=split)


def _table(root: Path, name: str, columns: int, missing: list[str], *, required: bool = False, named: bool = False):
    """Rows of a list as {file name: (columns,) float64}, with the column names if `named`; a list that is not there is empty."""
    path = next((root / place / name for place in _PLACES if (root / place / name).is_file()), None)
    if path is None:
        if required:
            raise DatasetError(f"CelebA: {name} is missing below {root}; it says which image belongs to which split",
                               code="dataset_missing")
        missing.append(name)
        return ({}, ()) if named else {}
    lines = read_lines(path, "CelebA")
    titles: tuple[str, ...] = ()
    start = 0
    # Lists with column titles begin with the number of rows.
    if len(lines) > 1 and len(lines[0].split()) == 1:
        titles, start = tuple(lines[1].split()), 2
    rows = {}
    for number, line in enumerate(lines[start:], start=start + 1):
        words = line.split()
        if not words:
            continue
        if len(words) != columns + 1:
            raise DatasetError(f"{path}, line {number}: wanted a file name and {columns} numbers, got {len(words)} words",
                               code="annotation_corrupt")
        rows[words[0]] = numbers(words[1:], path, number)
    return (rows, titles) if named else rows
