"""COCO keypoints (cocodataset.org, "Data format", keypoint detection): one JSON file with images, categories and annotations.

A keypoint is [x, y, v]: v = 0 is absent (x = y = 0 then), 1 hidden, 2 visible. COCO's own x and y are 0-indexed pixels, so that
the centre of the top-left pixel is (0, 0): origin "centre", the same as this package's. Boxes and outlines of COCO count from
the pixel's corner instead, and tools that keep everything in that frame (CVAT's COCO export, for one) write their keypoints so
too: origin "edge", where the centre of the top-left pixel is (0.5, 0.5). A file does not say which; the caller does.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.alignment.labels import LabelledImage, order_of_names, skeleton_edges, writable_labels
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice
from facerecon.errors import DatasetError, LandmarkError
from facerecon.export.source import read_bounded
from facerecon.files import write_atomic

ORIGINS = {"centre": 0.0, "edge": 0.5}
CATEGORY = "face"
_MOST_BYTES = 256 << 20
_ABSENT, _HIDDEN, _VISIBLE = 0, 1, 2


def write_coco(path: str | os.PathLike[str], labels: Sequence[LabelledImage], scheme: LandmarkScheme, *,
               origin: str = "centre") -> Path:
    """Write labels as COCO keypoints, whole or not at all.

    A photo without a single point is written as an image without annotation. Coordinates keep eight decimals.

    Args:
        path: goal.
        labels: one for each photo; `size` is required, since the format has it.
        scheme: names and order of the points; its groups become the category's skeleton.
        origin: "centre" or "edge", see above.

    Raises:
        ArgumentError: a label without size, or with another number of points. DatasetError: `annotation_invalid` for a photo
            that is there twice. PathError: `path_write`.
    """
    shift = ORIGINS[check_choice("origin", origin, tuple(ORIGINS))]
    images, annotations = [], []
    for number, label in enumerate(writable_labels(labels, scheme), start=1):
        width, height = label.size
        images.append({"id": number, "file_name": label.image, "width": int(width), "height": int(height)})
        if label.present.any():
            annotations.append(_annotation(label, number, len(annotations) + 1, shift))
    category = {"id": 1, "name": CATEGORY, "supercategory": CATEGORY, "keypoints": list(scheme.names),
                "skeleton": [[first + 1, second + 1] for first, second in skeleton_edges(scheme)]}
    info = {"description": f"{scheme.name} landmarks; the centre of the top-left pixel is ({shift:g}, {shift:g})"}
    record = {"info": info, "licenses": [], "images": images, "categories": [category], "annotations": annotations}
    return write_atomic(path, json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")


def _annotation(label: LabelledImage, image: int, number: int, shift: float) -> dict[str, Any]:
    keypoints: list[float] = []
    for (x, y), present, visible in zip(label.points + shift, label.present, label.visible):
        keypoints += [round(float(x), 8), round(float(y), 8), _VISIBLE if visible else _HIDDEN] if present else [0, 0, _ABSENT]
    # Boxes count from the top-left corner of the top-left pixel whatever the keypoints do.
    low, high = (function(label.points, axis=0) + 0.5 for function in (np.nanmin, np.nanmax))
    wide, high_side = (round(float(side), 4) for side in high - low)
    return {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "keypoints": keypoints,
            "num_keypoints": int(label.present.sum()), "area": round(wide * high_side, 4),
            "bbox": [round(float(low[0]), 4), round(float(low[1]), 4), wide, high_side]}


def read_coco(path: str | os.PathLike[str], scheme: LandmarkScheme, *, origin: str = "centre") -> list[LabelledImage]:
    """Read COCO keypoints: the photos that have an annotation with at least one point, in the file's order.

    Point names may come in any order. Annotations of categories without keypoints (boxes, outlines) are passed over.

    Raises:
        DatasetError: `annotation_corrupt` for what is not such a file; `annotation_invalid` for an unknown point name, a photo
            twice, two annotated faces in one photo, an annotation of an image that the file does not have.
        LandmarkError: `landmarks_count` when the number of points is not the scheme's, `landmarks_nonfinite`.
        PathError: `path_missing`, `path_not_file`.
    """
    shift = ORIGINS[check_choice("origin", origin, tuple(ORIGINS))]
    record = _load(path)
    orders = {}
    for category in _items(record, "categories", path):
        if category.get("keypoints"):
            names = [str(name) for name in category["keypoints"]]
            orders[category["id"]] = order_of_names(names, scheme, f"{path}, categories")
    if not orders:
        raise DatasetError(f"{path}: wanted a category with keypoints, got none; export it as COCO keypoints, not as "
                           "COCO boxes", code="annotation_invalid")
    images: dict[Any, dict[str, Any]] = {}
    seen: set[str] = set()
    for image in _items(record, "images", path):
        name = image.get("file_name")
        if not isinstance(name, str) or not name or name in seen or image.get("id") in images:
            raise DatasetError(f"{path}: wanted images with an id and a file_name of their own, got {name!r} with id "
                               f"{image.get('id')!r}", code="annotation_invalid")
        seen.add(name)
        images[image.get("id")] = image
    found: dict[Any, LabelledImage] = {}
    for annotation in _items(record, "annotations", path):
        if annotation.get("category_id") not in orders:
            continue
        image = images.get(annotation.get("image_id"))
        if image is None:
            raise DatasetError(f"{path}: annotation {annotation['id']!r} is of image {annotation.get('image_id')!r}, which is "
                               "not there", code="annotation_invalid")
        label = _label(annotation, image, orders[annotation["category_id"]], shift, path)
        if label.present.any():
            if image["id"] in found:
                raise DatasetError(f"{path}: {label.image} has two annotated faces; leave one for each photo",
                                   code="annotation_invalid")
            found[image["id"]] = label
    return [found[key] for key in images if key in found]


def _label(annotation: dict[str, Any], image: dict[str, Any], order: list[int], shift: float, path: Any) -> LabelledImage:
    name, values = image["file_name"], annotation.get("keypoints")
    where = f"{path}: {name}"
    if not isinstance(values, list) or len(values) != 3 * len(order):
        got = len(values) if isinstance(values, list) else values
        raise LandmarkError(f"{where}: wanted {3 * len(order)} numbers (x, y, v for each point), got {got}",
                            code="landmarks_count")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise DatasetError(f"{where}: wanted numbers as keypoints", code="annotation_corrupt")
    if not all(map(math.isfinite, values)):
        raise LandmarkError(f"{where}: wanted finite keypoints, got NaN or infinite ones", code="landmarks_nonfinite")
    table = np.array(values, np.float64).reshape(-1, 3)
    if not np.isin(table[:, 2], (_ABSENT, _HIDDEN, _VISIBLE)).all():
        raise DatasetError(f"{where}: wanted visibilities 0, 1 or 2", code="annotation_corrupt")
    points = np.full((len(order), 2), np.nan)
    visible = np.zeros(len(order), bool)
    points[order] = np.where(table[:, 2:] == _ABSENT, np.nan, table[:, :2] - shift)
    visible[order] = table[:, 2] == _VISIBLE
    return LabelledImage(name.replace("\\", "/"), points, visible, _size(image), "coco")


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    sides = image.get("width"), image.get("height")
    # Some tools write 0 where they do not know.
    return sides if all(type(side) is int and side > 0 for side in sides) else None


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    too_large = DatasetError(f"{path}: wanted at most {_MOST_BYTES} bytes of annotations", code="annotation_corrupt")
    try:
        record = json.loads(read_bounded(path, max_bytes=_MOST_BYTES, too_large=too_large).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: wanted JSON in UTF-8: {error}", code="annotation_corrupt") from error
    if not isinstance(record, dict) or not {"images", "annotations", "categories"} <= set(record):
        raise DatasetError(f"{path}: wanted COCO JSON with images, annotations and categories", code="annotation_corrupt")
    return record


def _items(record: dict[str, Any], key: str, path: Any) -> list[dict[str, Any]]:
    items = record[key]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError(f"{path}: wanted {key} as a list of objects", code="annotation_corrupt")
    if not all(isinstance(item.get("id"), (int, str)) for item in items):
        raise DatasetError(f"{path}: wanted an id in each of {key}", code="annotation_corrupt")
    return items
