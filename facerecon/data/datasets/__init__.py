"""Benchmarks and training sets: a folder as it is downloaded becomes a sequence of typed samples."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "FaceDataset": "dataset",
    "Inventory": "dataset",
    "FaceSample": "sample",
    "MorphableSample": "sample",
    "read_mat": "mat5",
    "read_aflw2000": "aflw2000",
    "read_300w_lp": "w300lp",
    "read_aflw": "aflw",
    "read_300w": "w300",
    "read_wflw": "wflw",
    "read_celeba": "celeba",
    "read_folder": "folder",
    "project_zhu": "zhu",
    "camera_from_zhu": "zhu",
    "zhu_from_camera": "zhu",
    "zhu_rotation": "zhu",
})
