"""What a landmark network's weights file says of its maps: scheme, width of the Gaussians, decoding, crop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from facerecon.alignment.heatmaps import METHODS, SIGMA
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice, check_range
from facerecon.detection import CropRule
from facerecon.errors import FaceReconError, ModelError

TASK = "landmarks"


@dataclasses.dataclass(frozen=True)
class LandmarkTask:
    """The task of a heatmap network, as the header of its file has it under `task`.

    Attributes:
        scheme: of the points, one map for each.
        sigma: standard deviation of the Gaussians in px of a 256 px input, see `encode_heatmaps`.
        decoding: method of `decode_heatmaps` that its errors were measured with.
        crop: what a photo's square around a face looks like.
    """

    scheme: LandmarkScheme
    sigma: float = SIGMA
    decoding: str = METHODS[0]
    crop: CropRule = CropRule()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `facerecon.gmda.save_network`; `from_dict` gives the task back."""
        return {"name": TASK, "scheme": self.scheme.to_dict(), "sigma": float(self.sigma),
                "decoding": self.decoding, "crop": self.crop.to_dict()}

    @classmethod
    def from_dict(cls, record: Any) -> LandmarkTask:
        """The inverse of `to_dict`; sigma, decoding and crop have defaults, further keys are left alone.

        Raises:
            ModelError: `model_invalid` for the task of another kind of network, or one that cannot be read.
        """
        if not isinstance(record, Mapping) or record.get("name") != TASK or "scheme" not in record:
            got = record.get("name") if isinstance(record, Mapping) else type(record).__name__
            raise ModelError(f"wanted the weights of a landmark network (task {TASK!r} with a scheme), got task {got!r}")
        try:
            sigma = float(check_range("sigma", record.get("sigma", SIGMA), 1e-3))
            crop = CropRule.from_dict(record["crop"]) if "crop" in record else CropRule()
            decoding = check_choice("decoding", record.get("decoding", METHODS[0]), METHODS)
            return cls(LandmarkScheme.from_dict(record["scheme"], where="scheme"), sigma, decoding, crop)
        except FaceReconError as error:
            raise ModelError(f"the task of the weights cannot be read: {error.message}") from error
