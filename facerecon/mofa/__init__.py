"""MoFA: an encoder of faces that learns from photos alone, through a renderer; with PNCC as further input."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "CodeLayout": "layout",
    "FaceCode": "code",
    "read_code": "code",
    "write_code": "code",
    "FaceEncoder": "encoder",
    "encoder_input": "encoder",
    "load_imagenet": "encoder",
    "Drawn": "decoder",
    "FaceDecoder": "decoder",
    "Geometry": "decoder",
    "MofaTargets": "objective",
    "MofaTerms": "objective",
    "total_loss": "objective",
    "albedo_symmetry_loss": "losses",
    "landmark_loss": "losses",
    "parameter_loss": "losses",
    "perceptual_loss": "losses",
    "photometric_loss": "losses",
    "prior_loss": "losses",
    "vertex_loss": "losses",
    "EncoderFacts": "weights",
    "EncoderFile": "weights",
    "load_encoder": "weights",
    "save_encoder": "weights",
    "EncoderPredictor": "predictor",
    "EncoderResult": "predictor",
})
