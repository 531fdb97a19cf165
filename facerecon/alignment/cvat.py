"""CVAT's own XML, "CVAT for images 1.1" (docs.cvat.ai, "XML annotation format").

A face is a `skeleton` whose `points` elements carry the point's name as label; loose `points` elements with one point each, or
one with all points in the scheme's order, are read too. `outside="1"` is an absent point, `occluded="1"` a hidden one.
Coordinates count from the top-left corner of the picture, so the centre of the top-left pixel is (0.5, 0.5) there: half a pixel
is added on the way out and taken off on the way in. CVAT itself keeps hundredths of a pixel.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from facerecon.alignment.labels import PREDICTED, LabelledImage, order_of_names, skeleton_edges, writable_labels
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_shape
from facerecon.errors import ArgumentError, DatasetError, LandmarkError
from facerecon.export.source import read_bounded
from facerecon.files import write_atomic

LABEL = "face"
_SHIFT = 0.5
_MOST_BYTES = 256 << 20
_DEEPEST = 16
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class _Shape(NamedTuple):
    """A skeleton with its elements, or a loose points element, by their attributes."""

    attributes: dict[str, str]
    elements: list[dict[str, str]] | None


def write_cvat(path: str | os.PathLike[str], labels: Sequence[LabelledImage], scheme: LandmarkScheme) -> Path:
    """Write labels as CVAT for images 1.1, one skeleton a photo, whole or not at all; eight decimals.

    A photo without a single point is written without a skeleton.

    Raises:
        ArgumentError: a label without size, with another number of points, or a name that XML cannot hold.
        DatasetError: `annotation_invalid` for a photo that is there twice. PathError: `path_write`.
    """
    text = io.StringIO()
    text.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
               f"      <size>{len(labels)}</size>\n      <mode>annotation</mode>\n      <labels>\n        <label>\n"
               f"          <name>{LABEL}</name>\n          <type>skeleton</type>\n        </label>\n")
    for name in scheme.names:
        text.write(f"        <label>\n          <name>{escape(_plain(name))}</name>\n          <type>points</type>\n"
                   f"          <parent>{LABEL}</parent>\n        </label>\n")
    text.write("      </labels>\n    </task>\n  </meta>\n")
    for number, label in enumerate(writable_labels(labels, scheme)):
        text.write(f'  <image id="{number}" name={quoteattr(_plain(label.image))} width="{int(label.size[0])}" '
                   f'height="{int(label.size[1])}">\n')
        if label.present.any():
            _write_skeleton(text, label, scheme)
        text.write("  </image>\n")
    text.write("</annotations>\n")
    return write_atomic(path, text.getvalue())


def _write_skeleton(text: io.StringIO, label: LabelledImage, scheme: LandmarkScheme) -> None:
    source = "auto" if label.source == PREDICTED else "manual"
    text.write(f'    <skeleton label="{LABEL}" source="{source}" z_order="0">\n')
    # An absent point needs a place all the same; the middle of the others is easy to find in the tool.
    middle = np.nanmean(label.points, axis=0)
    for name, point, present, visible in zip(scheme.names, label.points, label.present, label.visible):
        x, y = (point if present else middle) + _SHIFT
        text.write(f'      <points label={quoteattr(name)} source="{source}" occluded="{int(present and not visible)}" '
                   f'outside="{int(not present)}" points="{x:.8f},{y:.8f}"/>\n')
    text.write("    </skeleton>\n")


def cvat_label_setup(scheme: LandmarkScheme, template: np.ndarray) -> str:
    """JSON for the "Raw" tab of CVAT's label constructor: the skeleton `face`, so that nobody has to draw it.

    Args:
        template: (L, 2) finite places of the points on some face, y down, in any unit; scaled to the constructor's canvas.
    """
    template = check_shape("template", np.asarray(template, np.float64), (len(scheme), 2))
    low, span = template.min(0), max(float(np.ptp(template, axis=0).max()), 1e-9)
    placed = 5 + 90 * (template - low) / span
    parts = [f'<line x1="{placed[a, 0]:.2f}" y1="{placed[a, 1]:.2f}" x2="{placed[b, 0]:.2f}" y2="{placed[b, 1]:.2f}" '
             f'data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>' for a, b in skeleton_edges(scheme)]
    parts += [f'<circle r="0.75" cx="{x:.2f}" cy="{y:.2f}" data-type="element node" data-element-id="{number}" '
              f'data-node-id="{number}" data-label-name={quoteattr(_plain(name))}></circle>'
              for number, (name, (x, y)) in enumerate(zip(scheme.names, placed), start=1)]
    sublabels = [{"name": name, "type": "points", "attributes": []} for name in scheme.names]
    label = {"name": LABEL, "type": "skeleton", "attributes": [], "sublabels": sublabels, "svg": "".join(parts)}
    return json.dumps([label], ensure_ascii=False, indent=1) + "\n"


def read_cvat(path: str | os.PathLike[str], scheme: LandmarkScheme) -> list[LabelledImage]:
    """Read CVAT for images 1.1: the photos that have at least one point, in the file's order.

    Boxes, outlines and tags are passed over. A point that has no loose element of its own is absent.

    Raises:
        DatasetError: `annotation_corrupt` for what is not such a file, or has a document type (a way to smuggle entities in);
            `annotation_invalid` for an unknown point name, a photo twice, two faces in one photo, a point twice, and for tracks
            (that is "CVAT for video").
        LandmarkError: `landmarks_count`, `landmarks_nonfinite`. PathError: `path_missing`, `path_not_file`.
    """
    labels, seen = [], set()
    for attributes, shapes in _parse(path):
        name = attributes.get("name", "").replace("\\", "/")
        if not name or name in seen:
            raise DatasetError(f"{path}: wanted images with a name of their own, got {name!r} without or twice",
                               code="annotation_invalid")
        seen.add(name)
        label = _label(name, attributes, shapes, scheme, f"{path}: {name}")
        if label is not None and label.present.any():
            labels.append(label)
    return labels


def _label(name: str, attributes: dict[str, str], shapes: list[_Shape], scheme: LandmarkScheme,
           where: str) -> LabelledImage | None:
    skeletons = [shape for shape in shapes if shape.elements is not None]
    loose = [shape.attributes for shape in shapes if shape.elements is None]
    whole = [element for element in loose if ";" in element.get("points", "")]
    if len(skeletons) + len(whole) + bool(len(loose) > len(whole)) > 1:
        raise DatasetError(f"{where} has two annotated faces; leave one for each photo", code="annotation_invalid")
    if not skeletons and not loose:
        return None
    if whole:
        points = _coordinates(whole[0], where)
        if len(points) != len(scheme):
            raise LandmarkError(f"{where}: wanted the {len(scheme)} points of {scheme.name}, got {len(points)}",
                                code="landmarks_count")
        visible = np.full(len(scheme), whole[0].get("occluded") != "1")
    else:
        elements = skeletons[0].elements if skeletons else loose
        names = [element.get("label", "") for element in elements]
        # Loose points may leave some out; a skeleton always has them all.
        order = order_of_names(names, scheme, where) if skeletons else _loose_order(names, scheme, where)
        points, visible = np.full((len(scheme), 2), np.nan), np.zeros(len(scheme), bool)
        for index, element in zip(order, elements):
            found = _coordinates(element, where)
            if len(found) != 1:
                raise LandmarkError(f"{where}: wanted one point in {element.get('label')!r}, got {len(found)}",
                                    code="landmarks_count")
            if element.get("outside") != "1":
                points[index], visible[index] = found[0], element.get("occluded") != "1"
    sides = attributes.get("width", ""), attributes.get("height", "")
    size = tuple(map(int, sides)) if all(side.isdecimal() and int(side) > 0 for side in sides) else None
    return LabelledImage(name, points - _SHIFT, visible, size, "cvat")


def _loose_order(names: list[str], scheme: LandmarkScheme, where: str) -> list[int]:
    missing = [name for name in scheme.names if name not in set(names)]
    known = [name for name in names if name in set(scheme.names)]
    # With the scheme's own names, the missing ones complete the list; with numbers or unknown names it has to stand alone.
    return order_of_names(names + missing, scheme, where)[:len(names)] if known else order_of_names(names, scheme, where)


def _coordinates(attributes: dict[str, str], where: str) -> np.ndarray:
    try:
        table = [[float(word) for word in pair.split(",")] for pair in attributes["points"].split(";")]
        if any(len(pair) != 2 for pair in table):
            raise ValueError(f"got {attributes['points'][:40]!r}")
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{where}: wanted points as x,y;x,y: {error}", code="annotation_corrupt") from error
    if not all(math.isfinite(value) for pair in table for value in pair):
        raise LandmarkError(f"{where}: wanted finite points, got NaN or infinite ones", code="landmarks_nonfinite")
    return np.array(table, np.float64)


def _parse(path: str | os.PathLike[str]) -> list[tuple[dict[str, str], list[_Shape]]]:
    too_large = DatasetError(f"{path}: wanted at most {_MOST_BYTES} bytes of annotations", code="annotation_corrupt")
    data = read_bounded(path, max_bytes=_MOST_BYTES, too_large=too_large)
    images: list[tuple[dict[str, str], list[_Shape]]] = []
    open_tags: list[str] = []

    def refuse(*_: Any) -> None:
        raise DatasetError(f"{path}: wanted XML without a document type, which CVAT never writes; entities are not read",
                           code="annotation_corrupt")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_tags) >= _DEEPEST or (not open_tags and tag != "annotations"):
            raise DatasetError(f"{path}: wanted <annotations> of CVAT, got <{tag}> at depth {len(open_tags)}",
                               code="annotation_corrupt")
        if tag == "track":
            raise DatasetError(f"{path}: wanted images, got tracks; export it as CVAT for images 1.1",
                               code="annotation_invalid")
        if tag == "image" and open_tags == ["annotations"]:
            images.append((attributes, []))
        elif tag in ("skeleton", "points") and open_tags == ["annotations", "image"]:
            images[-1][1].append(_Shape(attributes, [] if tag == "skeleton" else None))
        elif tag == "points" and open_tags == ["annotations", "image", "skeleton"]:
            images[-1][1][-1].elements.append(attributes)
        open_tags.append(tag)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, lambda tag: open_tags.pop()
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DatasetError(f"{path}: wanted XML: {error}", code="annotation_corrupt") from error
    return images


def _plain(name: str) -> str:
    if not name or _NOT_XML.search(name):
        raise ArgumentError(f"name: wanted text that XML can hold, got {name!r}")
    return name
