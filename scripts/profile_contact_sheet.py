#!/usr/bin/env python3
"""Turn the photos of a folder to larger yaw and put the views side by side in one picture, to be looked at.

    python scripts/profile_contact_sheet.py assets/portraits -o docs/images/profile_views.jpg

For each photo: the photo, cropped as the views are; then the views, turned by so many degrees away from where it looks. With
`--truth`, a second row with the projected code and the 68 landmarks (green: seen, red: hidden) over the views.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from facerecon.detection import FaceFinder
from facerecon.errors import FaceReconError
from facerecon.export import write_image
from facerecon.morphable import load_model
from facerecon.synthesis.profile import YAW_LIMIT_DEG, profile_views
from facerecon.synthesis.photo_source import fit_photo
from facerecon.synthesis.profile_photos import list_photos
from facerecon.synthesis.sample import SyntheticFace


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photos, or a crop archive")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--turns", type=float, nargs="+", default=[20.0, 40.0, 60.0, 80.0], help="degrees beyond the photo's")
    parser.add_argument("--size", type=int, default=160, help="side of a picture, px")
    parser.add_argument("--columns", type=int, default=2, help="photos side by side")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("--count", type=int, default=16, help="most photos")
    parser.add_argument("--truth", action="store_true", help="show the code and the landmarks as well")
    options = parser.parse_args()
    model, rows = load_model(), []
    with FaceFinder() as finder:
        for number, photo in enumerate(list_photos(options.folder)[0][::options.every][:options.count]):
            try:
                pixels = photo.read()
                parameters = fit_photo(finder, model, pixels).parameters
            except FaceReconError as error:
                print(f"{photo.name}: {error.code}: {error.message}", file=sys.stderr)
                continue
            yaw = parameters.pose.to_dict()["euler_deg"]["yaw"]
            # Photos that look at the camera are turned to one side and the other by turns.
            side = float(np.sign(yaw)) if abs(yaw) > 10 else (-1.0) ** number
            yaws = [yaw, *(side * min(abs(yaw) + turn, YAW_LIMIT_DEG) for turn in options.turns)]
            faces = profile_views(model, pixels, parameters, yaws_deg=yaws, size=options.size, name=photo.name)
            strips = [[face.image for face in faces], [truth(face) for face in faces]][:1 + options.truth]
            rows.append(np.concatenate([np.concatenate(strip, axis=1) for strip in strips]))
    if not rows:
        print("no photo could be turned", file=sys.stderr)
        return 3
    rows += [np.full_like(rows[0], 240)] * (-len(rows) % options.columns)
    high = len(rows) // options.columns
    sheet = np.concatenate([np.concatenate(rows[first:first + high]) for first in range(0, len(rows), high)], axis=1)
    write_image(options.output, sheet)
    print(f"{options.output}: {sheet.shape[1]} x {sheet.shape[0]}")
    return 0


def truth(face: SyntheticFace) -> np.ndarray:
    """The view with its code laid over it, and its landmarks."""
    code = cv2.resize(face.maps["pncc"], (face.size, face.size), interpolation=cv2.INTER_LINEAR)
    picture = np.ascontiguousarray(face.image // 2 + code // 2)
    for (x, y), seen in zip(face.points68, face.visible68):
        colour = (40, 220, 60) if seen else (230, 40, 40)
        cv2.circle(picture, (round(8 * float(x)), round(8 * float(y))), 12, colour, -1, cv2.LINE_AA, 3)
    return picture


if __name__ == "__main__":
    sys.exit(main())
