"""One photo: pose and shape from landmarks, then albedo, light and detail by analysis through synthesis; texture from the photo."""

from __future__ import annotations

import importlib

_HOMES = {
    "FitResult": "result",
    "fit_landmarks": "landmark_fit",
    "refine_photometric": "photometric",
    "estimate_view": "initial_pose",
    "landmark_visibility": "visibility",
    "bake_texture": "texture",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
