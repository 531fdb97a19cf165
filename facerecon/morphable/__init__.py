"""The statistical face: model, its file format, landmark schemes and embeddings, normalised coordinate code."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
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
    "schemes": "schemes",
})
