"""Photos in: decode files and arrays to upright 8-bit RGB, and refuse what is not a photo."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "load_image": "images",
    "LoadedImage": "images",
    "BACKGROUND": "colour",
})
