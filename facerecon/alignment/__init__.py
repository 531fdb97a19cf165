"""Facial landmarks by heatmaps: encode and decode, score, predict, and choose which photos to label next."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "k_center_greedy": "acquisition",
    "nnm": "acquisition",
    "random_order": "acquisition",
    "select": "acquisition",
    "spatial_entropy": "acquisition",
    "decode_heatmaps": "heatmaps",
    "encode_heatmaps": "heatmaps",
    "labelled_weights": "heatmaps",
    "LandmarkSummary": "normalisers",
    "landmark_nme": "normalisers",
    "summarise_landmarks": "normalisers",
    "LandmarkScheme": "scheme",
    "load_scheme": "scheme",
    "scheme_names": "scheme",
    "LandmarkPredictor": "predictor",
    "Landmarks": "predictor",
    "LandmarkTask": "task",
})
