"""One prediction for one image, and its bytes."""

from __future__ import annotations

import dataclasses
import json
import struct

import numpy as np

from facerecon.checks import check_choice, check_shape
from facerecon.errors import ArgumentError, FaceReconError, ModelError

STATUSES = ("ok", "refused", "failed")
METADATA_KEY = "facerecon.prediction"
# Vertices of the topologies that can be scored densely; None accepts landmarks and pose only.
TOPOLOGIES = {"bfm53215": 53215, "bfm38365": 38365, "bfm35709": 35709, "open-head": None}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a method says about one image, in the project's pixel convention.

    x and y are pixels of the upright image with the centre of the top-left pixel at (0, 0), y down; the third coordinate is
    depth in pixels, growing away from the camera, up to a constant.

    Attributes:
        name: the image's name in the data set (no suffix).
        status: "ok"; "refused" (the method found nothing to work on); "failed" (it broke).
        code, message: why, when the status is not "ok".
        landmarks68: (68, 3) float32; vertices: (V, 3) float32 in `topology`, or None; rotation: (3, 3) float64 camera rotation
            (x right, y down, z forward), or None.
    """

    name: str
    status: str = "ok"
    code: str | None = None
    message: str | None = None
    landmarks68: np.ndarray | None = None
    vertices: np.ndarray | None = None
    rotation: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_choice("status", self.status, STATUSES)
        if self.status != "ok":
            return
        if self.landmarks68 is None:
            raise ArgumentError(f"{self.name}: a prediction needs landmarks68; got none")
        check_shape("landmarks68", self.landmarks68, (68, 3))
        if self.vertices is not None:
            check_shape("vertices", self.vertices, (None, 3))
        if self.rotation is not None:
            check_shape("rotation", self.rotation, (3, 3))
        for name in ("landmarks68", "vertices", "rotation"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise ArgumentError(f"{self.name}: {name}: wanted finite numbers, got {int((~np.isfinite(value)).sum())} "
                                    f"others", code="nonfinite")

    @property
    def found(self) -> bool:
        """Whether there is a result to score."""
        return self.status == "ok"

    @classmethod
    def miss(cls, name: str, error: FaceReconError, *, status: str = "refused") -> Prediction:
        """The record of an image without a result."""
        return cls(name=name, status=status, code=error.code, message=error.message)

    def record(self) -> dict:
        """The JSON record without arrays."""
        return {"name": self.name, "status": self.status, "code": self.code, "message": self.message}


def encode_prediction(prediction: Prediction) -> bytes:
    """Bytes of a prediction: safetensors with the record in its metadata; equal predictions give equal bytes."""
    import safetensors.numpy

    tensors = {}
    for name, kind in (("landmarks68", np.float32), ("vertices", np.float32), ("rotation", np.float64)):
        value = getattr(prediction, name)
        if value is not None:
            tensors[name] = np.ascontiguousarray(value, dtype=kind)
    # One metadata key only: the library keeps several in no fixed order, and results must be byte-equal.
    return safetensors.numpy.save(tensors, metadata={METADATA_KEY: json.dumps(prediction.record(), sort_keys=True)})


def decode_prediction(content: bytes, *, source: str) -> Prediction:
    """Inverse of `encode_prediction`.

    Raises:
        ModelError: `model_corrupt` when the bytes are not one whole prediction.
    """
    import safetensors
    import safetensors.numpy

    try:
        tensors = safetensors.numpy.load(content)
        length = struct.unpack("<Q", content[:8])[0]
        record = json.loads(json.loads(content[8:8 + length])["__metadata__"][METADATA_KEY])
        return Prediction(**record, **{name: tensors.get(name) for name in ("landmarks68", "vertices", "rotation")})
    except (safetensors.SafetensorError, struct.error, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{source}: not a prediction of this version ({error}); predict this image again",
                         code="model_corrupt") from error
