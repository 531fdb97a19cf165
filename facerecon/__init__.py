"""facerecon: textured, posed, animatable 3D face meshes from photos.

Importing the package reads no file and imports no heavy library; the names below are loaded at first use.
"""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "FaceReconstructor": "pipeline",
    "reconstruct": "pipeline",
    "Reconstruction": "reconstruction",
    "load_model": "morphable",
    "load_image": "data",
    "FaceReconError": "errors",
})
