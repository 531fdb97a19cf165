"""Photos in: decode files and arrays to upright 8-bit RGB, and refuse what is not a photo."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "load_image": "images",
    "LoadedImage": "images",
    "BACKGROUND": "colour",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    # Public names load their module on first use, so that `import facerecon` stays light.
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
