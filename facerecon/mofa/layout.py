"""Which numbers of an encoder's output mean what."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facerecon.checks import check_choice, check_range
from facerecon.detection.crop_rule import POINTS_MARGIN
from facerecon.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from facerecon.morphable import MorphableModel

CAMERAS = ("orthographic", "perspective")
BANDS = 9
# MoFA keeps its pinhole fixed and does not name it; this one, in image sides, is that of Deng et al. 2019 (1015 px of 224). A
# face that fills the crop is then about a metre away.
FOCAL = 4.5
_LARGEST_COUNT = 10_000


@dataclasses.dataclass(frozen=True)
class CodeLayout:
    """The split of a code vector into identity, expression, albedo, rotation, translation, scale and light.

    Attributes:
        identity, expression, albedo: how many coefficients of the face model are used, its first ones.
        camera: "orthographic" for a scaled orthographic pose, "perspective" for MoFA's pinhole with a fixed focal length.
        expression_range: (low, high) of expressions that have ends, as the open model's 52 actions do; None for N(0,1).
        anchor: (x, y, z) mm, the middle of the mean face's 68 landmarks. Poses turn and move the head about it.
        extent: mm, longer side of the box of the mean face's 68 landmarks seen from the front.
        margin: side of a crop over the longer side of the landmarks' box, as `CropRule.margin`: with extent it says how large
            the mean face stands in a crop.
        focal: of the perspective camera, in image sides.
    """

    identity: int
    expression: int
    albedo: int
    camera: str = "orthographic"
    expression_range: tuple[float, float] | None = None
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    extent: float = 150.0
    margin: float = POINTS_MARGIN
    focal: float = FOCAL

    def __post_init__(self) -> None:
        for name in ("identity", "expression", "albedo"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int):
                raise ArgumentError(f"{name}: wanted a whole number, got {count!r}")
            check_range(name, count, 0, _LARGEST_COUNT)
        check_choice("camera", self.camera, CAMERAS)
        check_range("extent", self.extent, 1e-3)
        check_range("margin", self.margin, 0.1, 10.0)
        check_range("focal", self.focal, 0.1, 1000.0)
        _check_tuple("anchor", self.anchor, 3)
        if self.expression_range is not None:
            low, high = _check_tuple("expression_range", self.expression_range, 2)
            if not low <= 0 <= high or high - low < 1e-3:
                raise ArgumentError(f"expression_range: wanted low <= 0 <= high that differ, got {self.expression_range!r}")

    @property
    def perspective(self) -> bool:
        """True for the pinhole."""
        return self.camera == "perspective"

    @property
    def parts(self) -> dict[str, int]:
        """How many numbers each part has, in the order of the code vector."""
        parts = {"identity": self.identity, "expression": self.expression, "albedo": self.albedo, "rotation": 6,
                 "translation": 3 if self.perspective else 2}
        if not self.perspective:
            parts["scale"] = 1
        return {**parts, "illumination": 3 * BANDS}

    @property
    def slices(self) -> dict[str, slice]:
        """Where each part lies in the code vector."""
        found, start = {}, 0
        for name, count in self.parts.items():
            found[name] = slice(start, start + count)
            start += count
        return found

    @property
    def size(self) -> int:
        """Length of the code vector."""
        return sum(self.parts.values())

    @property
    def expression_unit(self) -> float:
        """What counts as one standard deviation of an expression: 1 without ends, a quarter of the range of a bounded one."""
        if self.expression_range is None:
            return 1.0
        return (self.expression_range[1] - self.expression_range[0]) / 4

    def mean_scale(self, image_size: int) -> float:
        """px/mm of the mean face that fills a crop of that many px as `CropRule` does."""
        return image_size / (self.margin * self.extent)

    @property
    def mean_distance(self) -> float:
        """mm from the pinhole to the anchor of the mean face that fills a crop."""
        return self.focal * self.margin * self.extent

    @classmethod
    def of(cls, model: MorphableModel, *, camera: str = "orthographic", counts: tuple[int, int, int] | None = None,
           margin: float = POINTS_MARGIN) -> CodeLayout:
        """The layout for a face model.

        Args:
            counts: how many identity, expression and albedo coefficients are used, such as (80, 64, 80) of a Basel model; None
                for all of them.
            margin: of the crops, `CropRule.margin`.

        Raises:
            ArgumentError: for counts that the model does not have, or a model without an embedding `ibug68`.
        """
        check_choice("scheme", "ibug68", sorted(model.embeddings))
        points = model.landmark_basis("ibug68").mean[model.embeddings["ibug68"].valid].detach().double().cpu()
        low, high = points.amin(dim=0), points.amax(dim=0)
        counts = model.sizes if counts is None else tuple(counts)
        if len(counts) != 3 or any(count > most for count, most in zip(counts, model.sizes)):
            raise ArgumentError(f"counts: wanted at most {model.sizes} identity, expression and albedo coefficients, got "
                                f"{counts}")
        x, y = ((low + high) / 2)[:2].tolist()
        return cls(*counts, camera=camera, expression_range=model.expression_range,
                   anchor=(round(x, 4), round(y, 4), round(float(points[:, 2].mean()), 4)),
                   extent=round(float((high - low)[:2].max()), 4), margin=float(margin))

    def to_dict(self) -> dict[str, Any]:
        """As a weights file's header holds it; `from_dict` gives it back."""
        record = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    @classmethod
    def from_dict(cls, record: Any) -> CodeLayout:
        """The inverse of `to_dict`, strict: every key, and no other.

        Raises:
            ModelError: `model_invalid`.
        """
        keys = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(record, Mapping) or set(record) != keys:
            got = sorted(record) if isinstance(record, Mapping) else type(record).__name__
            raise ModelError(f"layout: wanted an object with {sorted(keys)}, got {got}")
        try:
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})
        except (ArgumentError, TypeError) as error:
            raise ModelError(f"layout: {error}") from error


def _check_tuple(name: str, value: Any, length: int) -> tuple[float, ...]:
    good = isinstance(value, tuple) and len(value) == length and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) for number in value)
    if not good:
        raise ArgumentError(f"{name}: wanted {length} finite numbers, got {value!r}")
    return value
