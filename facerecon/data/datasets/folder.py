"""A plain folder of photos as a dataset without annotations."""

from __future__ import annotations

import os

from facerecon.data.datasets.dataset import FaceDataset, Inventory, images_below, require_folder, require_some
from facerecon.data.datasets.sample import FaceSample


def read_folder(folder: str | os.PathLike[str]) -> FaceDataset:
    """Every photo below a folder, sorted by name; the name is the path below the folder without its suffix.

    Raises:
        DatasetError: `dataset_missing`, or `dataset_invalid` when there is no photo.
    """
    root = require_folder(folder, "folder")
    images = images_below(root)
    names = list(images)
    require_some(names, root, "folder", ".jpg, .jpeg, .png, .bmp, .webp, .tif")
    return FaceDataset("folder", names, lambda index: FaceSample(names[index], images[names[index]]),
                       Inventory("folder", (("images", len(names), None),)))
