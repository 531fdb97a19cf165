"""The whole job: photo -> find faces -> encode or fit -> refine -> texture -> `Reconstruction`."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "FaceReconstructor": "reconstructor",
    "reconstruct": "reconstructor",
    "FaceEstimator": "methods",
    "ENCODER_ASSET": "encoder_weights",
    "find_encoder": "encoder_weights",
    "LANDMARK_ASSET": "landmark_network",
    "LandmarkNetwork": "landmark_network",
    "landmark_network_ships": "landmark_network",
    "check_encoder_options": "encoder_weights",
})
