"""Benchmarks and training sets: a folder as it is downloaded becomes a sequence of typed samples."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
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
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
