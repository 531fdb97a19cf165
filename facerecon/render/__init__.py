"""Rendering: rasterise -> interpolate -> shade -> compose. Differentiable except for visibility; torch loads at first use."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "Fragments": "fragments",
    "count_dropped": "fragments",
    "rasterize": "rasterizer",
    "interpolate": "interpolation",
    "sh_basis": "harmonics",
    "shade": "harmonics",
    "ambient_light": "harmonics",
    "turned_light": "harmonics",
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
})
