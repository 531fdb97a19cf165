"""Metrics of face alignment, reconstruction and head pose, on plain NumPy arrays in float64.

Nothing here knows a model, a dataset or a network. Errors are fractions; multiply by 100 when printing.
"""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "BIN_NAMES": "aggregate",
    "YAW_EDGES": "aggregate",
    "Summary": "aggregate",
    "balanced_subset_mean": "aggregate",
    "bin_means": "aggregate",
    "mean_of_bins": "aggregate",
    "summarise": "aggregate",
    "yaw_bins": "aggregate",
    "Interval": "bootstrap",
    "bootstrap_intervals": "bootstrap",
    "paired_difference": "bootstrap",
    "resampling_counts": "bootstrap",
    "box_size": "boxes",
    "area_under_ced": "curves",
    "ced_curve": "curves",
    "failure_rate": "curves",
    "align_depth": "dense",
    "dense_nme": "dense",
    "angle_error_deg": "pose",
    "euler_deg_from_rotation": "pose",
    "geodesic_deg": "pose",
    "rotation_from_euler_deg": "pose",
    "within_angles": "pose",
    "SimilarityTransform": "reconstruction",
    "align_points": "reconstruction",
    "interocular_distance": "reconstruction",
    "reconstruction_error": "reconstruction",
    "point_to_point": "sparse",
    "sparse_nme": "sparse",
})
