"""What a PNCC network's weights file says of its maps: whose code they are, and the crop they were trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from facerecon.checks import check_range
from facerecon.detection import CropRule
from facerecon.errors import FaceReconError, ModelError
from facerecon.pncc.code import FOREGROUND_LEAST, code_box

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel
    from facerecon.pncc.pairs import PnccPairs

TASK = "pncc"
# Codes whose boxes differ by less mean the same places.
SAME_MM = 0.5


@dataclasses.dataclass(frozen=True)
class PnccTask:
    """The task of a PNCC network, as the header of its file has it under `task`.

    Attributes:
        model: name of the face model whose code the maps are.
        topology_sha256: of that model.
        low, high: mm, corners of the box in the mean shape that the colours 0 and 1 stand for.
        crop: what a photo's square around a face looks like.
        least: a pixel whose largest channel is below it is background.
    """

    model: str
    topology_sha256: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    crop: CropRule = CropRule()
    least: float = FOREGROUND_LEAST

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for `facerecon.gmda.save_network`; `from_dict` gives the task back."""
        return {"name": TASK, "model": {"name": self.model, "topology_sha256": self.topology_sha256},
                "ncc": {"low": list(self.low), "high": list(self.high)}, "crop": self.crop.to_dict(), "least": self.least}

    @classmethod
    def from_dict(cls, record: Any) -> PnccTask:
        """The inverse of `to_dict`; without crop or least they have their defaults.

        Raises:
            ModelError: `model_invalid` for the task of another kind of network, or one that cannot be read.
        """
        if not isinstance(record, Mapping) or record.get("name") != TASK:
            got = record.get("name") if isinstance(record, Mapping) else type(record).__name__
            raise ModelError(f"wanted the weights of a PNCC network (task {TASK!r}), got task {got!r}")
        try:
            crop = CropRule.from_dict(record["crop"]) if "crop" in record else CropRule()
            least = float(check_range("least", record.get("least", FOREGROUND_LEAST), 0, 1))
            return cls(str(record["model"]["name"]), str(record["model"]["topology_sha256"]), _corner(record["ncc"]["low"]),
                       _corner(record["ncc"]["high"]), crop, least)
        except (FaceReconError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the task of the weights cannot be read ({type(error).__name__}: {error}); wanted the model and "
                             "the box of its code, as PnccTask.from_pairs(pairs).to_dict() gives them") from error

    @classmethod
    def from_pairs(cls, pairs: PnccPairs) -> PnccTask:
        """The task of a network that is trained on these pairs.

        Raises:
            ModelError: `model_invalid` when the pairs do not say whose codes they have, or have those of several models.
        """
        parts = pairs.about.get("parts", [pairs.about])
        models = [part.get("model") for part in parts]
        if any(model != models[0] for model in models):
            raise ModelError("pairs: wanted codes of one model, got those of several; train on one set")
        model = models[0] or {}
        return cls.from_dict({"name": TASK, "model": model, "ncc": model.get("code")})

    def check_model(self, model: MorphableModel) -> None:
        """Refuse a face model whose colours mean other places; raises ModelError `model_invalid`."""
        box = code_box(model)
        apart = max(np.abs(np.subtract(box[name], getattr(self, name))).max() for name in ("low", "high"))
        if self.topology_sha256 != model.header["topology_sha256"] or apart > SAME_MM:
            raise ModelError(f"the network was trained on codes of model {self.model!r} from {self.low} to {self.high} mm; "
                             f"{model.name!r} has others; name the model of the training with --model")


def _corner(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(check_range("ncc", float(value))) for value in values)
    return x, y, z
