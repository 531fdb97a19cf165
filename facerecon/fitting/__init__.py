"""One photo: pose and shape from landmarks; albedo, light and detail by analysis through synthesis; texture."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "FitResult": "result",
    "fit_landmarks": "landmark_fit",
    "judge_parameters": "landmark_fit",
    "LandmarkGuide": "guide",
    "fit_colours": "colours",
    "refine_photometric": "photometric",
    "estimate_view": "initial_pose",
    "landmark_visibility": "visibility",
    "bake_texture": "texture",
})
