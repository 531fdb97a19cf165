"""Rendering: rasterise -> interpolate -> shade -> compose. Differentiable except for visibility; torch loads at first use."""

from __future__ import annotations

import importlib

_HOMES = {
    "Fragments": "fragments",
    "count_dropped": "fragments",
    "rasterize": "rasterizer",
    "interpolate": "interpolation",
    "sh_basis": "harmonics",
    "shade": "harmonics",
    "ambient_light": "harmonics",
    "ColourRender": "colour",
    "render_colour": "colour",
    "sample_texture": "textured",
    "antialias": "compose",
    "compose_over": "compose",
    "render_attributes": "maps",
    "render_depth": "maps",
    "render_normals": "maps",
    "render_pncc": "maps",
    "normals_to_rgb": "maps",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
