"""Which square of a photo a face network is shown, so that a face found by a detector looks as its training crops did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_range
from facerecon.detection.boxes import points_box
from facerecon.detection.crop import Crop
from facerecon.errors import ModelError

BOX_KINDS = ("detector", "points")
# The crops that the networks train on are squares around the box of the 68 points: 1.6 times its longer side (in 93 % of 4,216
# crops of udacity/P1_Facial_Keypoints, 1.2 to 1.6 in the others), with its centre.
POINTS_MARGIN = 1.6
# The same squares seen from `FaceFinder`'s box, medians over 90 of those crops: side over the box's longer side (1.34 to 1.67
# in the middle nine tenths), and how far the crop's centre lies below the box's, in longer sides (0.06 to 0.11).
DETECTOR_MARGIN, DETECTOR_SHIFT = 1.47, 0.087
_RULE = "points_box"


@dataclasses.dataclass(frozen=True)
class CropRule:
    """The square around a face, from the box of its landmarks or from a detector's.

    Attributes:
        margin: side of the square over the longer side of the box of the landmarks, whose centre it has.
        detector_margin: the same over the longer side of `FaceFinder`'s box.
        detector_shift: how far down the square's centre lies from that of `FaceFinder`'s box, in longer sides of it.
    """

    margin: float = POINTS_MARGIN
    detector_margin: float = DETECTOR_MARGIN
    detector_shift: float = DETECTOR_SHIFT

    def __post_init__(self) -> None:
        check_range("margin", self.margin, 0.1, 10.0)
        check_range("detector_margin", self.detector_margin, 0.1, 10.0)
        check_range("detector_shift", self.detector_shift, -1.0, 1.0)

    def crop(self, box: np.ndarray, *, size: int, box_of: str = "detector", roll: float = 0.0) -> Crop:
        """The crop of a box (x0, y0, x1, y1), `size` px a side.

        Args:
            box_of: whose box it is, "detector" or "points".
            roll: radians by which the face lies in the photo, clockwise as seen; the crop is turned with it. The box is then
                one in the photo turned back by that about its own origin, as `unrolled` gives points.
        """
        check_choice("box_of", box_of, BOX_KINDS)
        if roll:
            upright = self.crop(box, size=size, box_of=box_of)
            centre = unrolled(np.array([upright.centre]), -roll)[0]
            return dataclasses.replace(upright, centre=(float(centre[0]), float(centre[1])), roll=roll)
        if box_of == "points":
            return Crop.around(box, size=size, padding=self.margin)
        x0, y0, x1, y1 = (float(value) for value in box)
        down = self.detector_shift * max(x1 - x0, y1 - y0)
        return Crop.around(np.array([x0, y0 + down, x1, y1 + down]), size=size, padding=self.detector_margin)

    def around_points(self, points: np.ndarray, *, size: int, roll: float = 0.0) -> Crop:
        """The crop of landmarks (N, 2) px of the photo, whose face lies in it by `roll` radians, as in `crop`."""
        points = np.asarray(points, np.float64)[:, :2]
        return self.crop(points_box(unrolled(points, roll) if roll else points), size=size, box_of="points", roll=roll)

    def to_dict(self) -> dict[str, Any]:
        """As a weights file's header holds it; `from_dict` gives it back."""
        return {"rule": _RULE, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, record: Any) -> CropRule:
        """The inverse of `to_dict`; a key that is not there has its default.

        Raises:
            ModelError: `model_invalid` for another rule, unknown keys or values out of range.
        """
        keys = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(record, Mapping) or record.get("rule") != _RULE or not set(record) <= {"rule", *keys}:
            raise ModelError(f"crop: wanted an object with rule {_RULE!r} and perhaps {sorted(keys)}, got {record!r}")
        try:
            return cls(**{name: value for name, value in record.items() if name != "rule"})
        except ValueError as error:
            raise ModelError(f"crop: {error}") from error


def unrolled(points: np.ndarray, roll: float) -> np.ndarray:
    """Points (N, 2) px as they lie in a photo turned back by `roll` radians about its origin, float64."""
    cosine, sine = math.cos(roll), math.sin(roll)
    return np.asarray(points, np.float64) @ np.array([[cosine, -sine], [sine, cosine]])


def cut_square(pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """The crop (size, size, C) of a uint8 or float picture, as `Crop.extract` but averaging over area when it is reduced.

    Training crops are reduced that way; a bilinear reduction by less than two would be sharper than they are.
    """
    import cv2

    wide = min(round(crop.side), 8 * crop.size)
    if wide <= crop.size:
        return crop.extract(pixels)
    whole = dataclasses.replace(crop, size=wide).extract(pixels)
    return cv2.resize(whole, (crop.size, crop.size), interpolation=cv2.INTER_AREA)
