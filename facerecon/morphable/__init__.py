"""The statistical face: model, its file format, landmark schemes and embeddings, normalised coordinate code."""

from __future__ import annotations

import importlib

_HOMES = {
    "MorphableModel": "model",
    "load_model": "model",
    "FaceParameters": "parameters",
    "ModelData": "modelfile",
    "read_model": "modelfile",
    "write_model": "modelfile",
    "with_embeddings": "modelfile",
    "LandmarkEmbedding": "embedding",
    "embed_points": "embedding",
    "normalised_coordinate_code": "ncc",
}

__all__ = sorted([*_HOMES, "schemes"])


def __getattr__(name: str):
    if name == "schemes":
        return importlib.import_module(f"{__name__}.schemes")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
