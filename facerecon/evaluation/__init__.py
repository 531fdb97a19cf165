"""Scoring against benchmarks: predictions once, scores as often as wanted, tables that say what they measured."""

from __future__ import annotations

import importlib

_HOMES = {
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
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
