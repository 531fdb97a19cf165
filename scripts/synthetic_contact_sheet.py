#!/usr/bin/env python3
"""Put synthetic faces side by side in one picture, to be looked at.

    python scripts/synthetic_contact_sheet.py -o docs/images/synthetic_heads.jpg
    python scripts/synthetic_contact_sheet.py --truth -o docs/images/synthetic_truth.jpg --count 6
    python scripts/synthetic_contact_sheet.py --archive FOLDER -o sheet.png

Without `--archive`, heads of the open model are drawn. `--truth` shows each face with what is known of it, from the top:
picture; the 478 points and the 68, hollow where the head hides them; PNCC; normals; depth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from facerecon.errors import FaceReconError
from facerecon.export import write_image
from facerecon.synthesis import SyntheticFace, read_archive
from facerecon.synthesis.sample import DEPTH_RANGE, MAPS
from facerecon.synthesis.source import HeadOptions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .jpg or .png")
    parser.add_argument("--archive", type=Path, help="of facerecon synthesise; its pictures alone")
    parser.add_argument("--truth", action="store_true", help="with points and maps below each picture")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cell", type=int, default=160, help="side of a picture in px")
    options = parser.parse_args()
    if options.truth and options.archive is not None:
        parser.error("--truth draws heads of its own; leave out --archive")
    try:
        if options.archive is not None:
            images = read_archive(options.archive).images
            cells = list(images[np.linspace(0, len(images) - 1, min(options.count, len(images))).astype(int)])
        else:
            source = HeadOptions(options.count, seed=options.seed, size=192, maps=MAPS if options.truth else ()).open()
            faces = [source.make(index)[0] for index in range(options.count)]
            cells = [truth_of(face) if options.truth else face.image for face in faces]
        write_image(options.output, sheet(cells, columns=options.columns, cell=options.cell), quality=88)
    except FaceReconError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 2
    return 0


def truth_of(face: SyntheticFace) -> np.ndarray:
    """(5 S, S, 3) uint8: a picture above what is known of it."""
    points = np.ascontiguousarray(face.image // 2 + 60)
    for x, y in face.points478[face.visible478]:
        cv2.circle(points, (round(16 * float(x)), round(16 * float(y))), 8, (90, 220, 255), -1, cv2.LINE_AA, 4)
    for (x, y), seen in zip(face.points68, face.visible68):
        cv2.circle(points, (round(16 * float(x)), round(16 * float(y))), 28, (255, 90, 60), -1 if seen else 1, cv2.LINE_AA, 4)
    depth = DEPTH_RANGE.decode(face.maps["depth"])
    near, far = np.nanmin(depth), np.nanmax(depth)
    grey = np.nan_to_num(255 - 205 * (depth - near) / (far - near)).astype(np.uint8)
    side = (face.size, face.size)
    return np.concatenate([face.image, points, cv2.resize(face.maps["pncc"], side, interpolation=cv2.INTER_NEAREST),
                           face.maps["normals"], np.repeat(grey[..., None], 3, axis=2)])


def sheet(cells: list[np.ndarray], *, columns: int, cell: int) -> np.ndarray:
    """Cells (k S, S, 3) in rows, each `cell` px wide, on grey paper."""
    height = cell * len(cells[0]) // cells[0].shape[1]
    small = [cv2.resize(each, (cell, height), interpolation=cv2.INTER_AREA) for each in cells]
    small += [np.full_like(small[0], 200)] * (-len(small) % columns)
    return np.concatenate([np.concatenate(small[first:first + columns], axis=1) for first in range(0, len(small), columns)])


if __name__ == "__main__":
    sys.exit(main())
