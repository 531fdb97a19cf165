"""AFLW (Koestinger et al., ICCVW 2011) with the 19-point protocol of CCL (Zhu et al., "Unconstrained Face Alignment via Cascaded
Compositional Learning", CVPR 2016): 20,000 training faces, 4,386 test faces, and the frontal test faces among them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import FaceDataset, Inventory, inside, require_folder, require_some
from facerecon.data.datasets.mat5 import read_mat
from facerecon.data.datasets.sample import PIXEL_ORIGINS, FaceSample, box_to_pixel_origin, to_pixel_origin
from facerecon.errors import DatasetError

RELEASE = 24386
SPLITS = {"train": 20000, "test": 4386, "test_frontal": 1314, "all": RELEASE}
_TRAIN = 20000
_INFO = "AFLWinfo_release.mat"
# Where the image tree of the release (0/, 2/, 3/) may lie below the given folder.
_IMAGE_ROOTS = ("", "flickr", "data/flickr", "images", "aflw/data/flickr")


def read_aflw(folder: str | os.PathLike[str], *, split: str = "test", info: str | os.PathLike[str] | None = None,
              pixel_origin: str = "zero") -> FaceDataset:
    """AFLW with AFLWinfo_release.mat of the CCL authors.

    `landmarks` (19, 2) are AFLW's 21 without the ears' lobes, in the order of that file: brows (6), eyes (6), nose (3), mouth
    (3), chin. Hidden points have estimated places there; `visible` tells them. `box` is the face rectangle.

    Args:
        folder: holds the release's image tree (0/, 2/, 3/ or a folder flickr with them) and AFLWinfo_release.mat.
        split: "train", "test" (the Full test set), "test_frontal" (test faces with all 19 points visible), or "all".
        info: the .mat when it lies elsewhere.
        pixel_origin: coordinates in the release count from 0 (AFLW's database was made by a C++ program).

    Raises:
        DatasetError: `dataset_missing`, `dataset_invalid`, `annotation_corrupt`.
    """
    check_choice("split", split, tuple(SPLITS))
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    root = require_folder(folder, "AFLW")
    path = Path(info) if info is not None else next((root / place / _INFO for place in ("", "data", "annotations")
                                                     if (root / place / _INFO).is_file()), root / _INFO)
    if not path.is_file():
        raise DatasetError(f"AFLW: {path} is missing; it is published with the paper of the 19-point protocol (CCL, CVPR 2016)",
                           code="dataset_missing")
    points, visible, boxes, files, order = _annotations(path)
    images = next((root / place for place in _IMAGE_ROOTS if any((root / place / part).is_dir() for part in "023")), root)
    rows = {"train": order[:_TRAIN], "test": order[_TRAIN:], "all": order}.get(split)
    if rows is None:
        rows = order[_TRAIN:]
        rows = rows[visible[rows].all(axis=1)]
    paths = {row: inside(images, files[row], "AFLW") for row in rows.tolist()}
    present = [row for row in rows.tolist() if paths[row].is_file()]
    missing = sorted({files[row] for row in rows.tolist() if not paths[row].is_file()})
    names = [f"{row:05d}-{Path(files[row]).stem}" for row in present]
    require_some(names, images, "AFLW", f"the images that {_INFO} names, such as {files[0]}")
    inventory = Inventory("AFLW", ((split, len(present), SPLITS[split]),), tuple(missing))

    def load(index: int) -> FaceSample:
        row = present[index]
        return FaceSample(
            name=names[index], image=paths[row], scheme="aflw19",
            landmarks=to_pixel_origin(points[row], "zero", pixel_origin), visible=visible[row].copy(),
            box=box_to_pixel_origin(boxes[row], "zero", pixel_origin), pixel_origin=pixel_origin, split=split,
            attributes={"frontal": bool(visible[row].all())})

    return FaceDataset("aflw", names, load, inventory, pixel_origin=pixel_origin, split=split)


def _annotations(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str], np.ndarray]:
    values = read_mat(path, names=("bbox", "data", "mask_new", "nameList", "ra"), max_bytes=256 << 20)
    files = [item if isinstance(item, str) else "" for item in values["nameList"]] if isinstance(values["nameList"], tuple) else []
    count = len(files)
    if count == 0 or not all(files):
        raise DatasetError(f"{path}: nameList: wanted a cell array of file names", code="annotation_corrupt")
    for key, shape in {"bbox": (count, 4), "data": (count, 38), "mask_new": (count, 19)}.items():
        value = values[key]
        if not isinstance(value, np.ndarray) or value.shape != shape or not np.isfinite(value).all():
            raise DatasetError(f"{path}: {key}: wanted finite numbers {shape}", code="annotation_corrupt")
    order = np.asarray(values["ra"]).reshape(-1).astype(np.int64) - 1
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise DatasetError(f"{path}: ra: wanted a permutation of 1 to {count}", code="annotation_corrupt")
    stored = values["data"].astype(np.float64)
    # x1 .. x19, y1 .. y19; boxes are left, right, top, bottom.
    return (np.stack([stored[:, :19], stored[:, 19:]], axis=-1), values["mask_new"] > 0,
            values["bbox"].astype(np.float64)[:, [0, 2, 1, 3]], files, order)
