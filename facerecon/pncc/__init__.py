"""Projected normalised coordinate codes: training pairs, prediction, correspondences, pose."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "cleaned": "code",
    "code_box": "code",
    "foreground": "code",
    "PnccPairs": "pairs",
    "join_pairs": "pairs",
    "load_pairs": "pairs",
    "make_pairs": "pairs",
    "read_shard": "pairs",
    "shard_path": "pairs",
    "write_shard": "pairs",
    "PnccPrediction": "predictor",
    "PnccPredictor": "predictor",
    "PnccTask": "task",
    "CodeSurface": "correspondences",
    "Correspondences": "correspondences",
    "CodePose": "pose",
    "pose_to_crop": "pose",
    "pose_to_photo": "pose",
    "recover_pose": "pose",
})
