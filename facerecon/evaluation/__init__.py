"""Scoring against benchmarks: predictions once, scores as often as wanted, tables that say what they measured."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "EvalConfig": "protocol",
    "PRESETS": "protocol",
    "preset": "protocol",
    "Prediction": "prediction",
    "PredictionStore": "predictions",
    "open_predictions": "prediction_files",
    "FaceTruth": "truth",
    "DenseTruth": "truth",
    "Region": "regions",
    "load_region": "regions",
    "predict": "predict",
    "ScoreTable": "scores",
    "score": "score",
    "compare": "compare",
    "build_report": "report",
    "evaluate_scan": "scan",
})
