"""facerecon: textured, posed, animatable 3D face meshes from photos.

Importing the package reads no file and imports no heavy library; the names below are loaded at first use.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOMES = {
    "FaceReconstructor": "facerecon.pipeline",
    "reconstruct": "facerecon.pipeline",
    "Reconstruction": "facerecon.reconstruction",
    "load_model": "facerecon.morphable",
    "load_image": "facerecon.data",
    "FaceReconError": "facerecon.errors",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'facerecon' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
