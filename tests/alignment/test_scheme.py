"""Schemes: the shipped ones are what their datasets say, and a file that is no scheme is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from facerecon.alignment import LandmarkScheme, load_scheme, scheme_names
from facerecon.errors import ArgumentError, LandmarkError, PathError
from facerecon.morphable import schemes as model_schemes

COUNTS = {"ibug68": 68, "wflw98": 98, "aflw19": 19, "five": 5}
MINE = {"schema": 1, "name": "mine", "names": ["a", "b", "c"], "flip_pairs": [[0, 1]], "eye_corners": [0, 1],
        "groups": {"all": [0, 2]}}


def arc(count, centre, wide, tall, start, end):
    """Points on an ellipse's arc; degrees count clockwise as seen, from the image's right."""
    angles = np.radians(np.linspace(start, end, count))
    return [(centre[0] + wide * math.cos(angle), centre[1] + tall * math.sin(angle)) for angle in angles]


def wflw_face():
    """A frontal face in WFLW's order: contour from the image's left, brows, nose, eyes, mouth, pupils."""
    def eye(x):
        upper, lower = arc(5, (x, 40), 8, 4, 180, 360), arc(5, (x, 40), 8, 4, 0, 180)
        return upper + lower[1:4]

    def mouth(wide, tall, count):
        upper, lower = arc(count, (50, 75), wide, tall, 180, 360), arc(count, (50, 75), wide, tall, 0, 180)
        return upper + lower[1:-1]

    right_brow = [(20, 30), (24, 27), (28, 26), (33, 26), (38, 28), (38, 30), (33, 29), (28, 29), (24, 30)]
    left_brow = [(62, 28), (67, 26), (72, 26), (76, 27), (80, 30), (76, 30), (72, 29), (67, 29), (62, 30)]
    return np.array([*arc(33, (50, 45), 40, 52, 180, 0), *right_brow, *left_brow, (50, 40), (50, 46), (50, 52), (50, 58),
                     (43, 62), (46, 63), (50, 64), (54, 63), (57, 62), *eye(32), *eye(68), *mouth(14, 7, 7), *mouth(10, 3, 5),
                     (32, 40), (68, 40)])


def aflw_face():
    """The 19 points of AFLW: three for each brow and eye from the image's left to its right, nose, mouth, chin."""
    brows, eyes = ([(x, y) for x in (20, 28, 36, 64, 72, 80)] for y in (28, 40))
    return np.array([*brows, *eyes, (43, 60), (50, 57), (57, 60), (38, 75), (50, 75), (62, 75), (50, 95)])


@pytest.mark.parametrize("name", scheme_names())
def test_shipped_schemes_hold_together(name):
    scheme = load_scheme(name)
    assert scheme.name == name and len(scheme) == COUNTS[name] == len(scheme.flip)
    assert [scheme.flip[partner] for partner in scheme.flip] == list(range(len(scheme)))
    for index, other in enumerate(scheme.flip):
        mine, its = (scheme.names[place].rstrip("0123456789") for place in (index, other))
        assert its == (mine.replace("right", "left") if "right" in mine else mine.replace("left", "right")) \
            or ("right" not in mine and "left" not in mine)
    if scheme.eye_corners is not None:
        assert [scheme.names[index] for index in scheme.eye_corners] == ["right eye outer corner", "left eye outer corner"]
    covered = [index for indices in scheme.groups.values() for index in indices]
    assert len(covered) == len(set(covered))


def test_the_model_s_schemes_are_not_written_twice():
    scheme = load_scheme("ibug68")
    assert scheme.names is model_schemes.IBUG68_NAMES and scheme.flip is model_schemes.IBUG68_FLIP
    assert scheme.eye_corners == (36, 45)
    assert load_scheme("five").flip == model_schemes.FIVE_FLIP and load_scheme("five").eye_corners is None


@pytest.mark.parametrize(("name", "face"), [("wflw98", wflw_face()), ("aflw19", aflw_face())])
def test_a_symmetric_face_mirrors_onto_itself(name, face):
    scheme = load_scheme(name)
    assert face.shape == (len(scheme), 2)
    mirrored = face[list(scheme.flip)] * [-1, 1] + [100, 0]
    np.testing.assert_allclose(mirrored, face, atol=1e-9)
    right, left = scheme.eye_corners
    assert face[right, 0] < face[:, 0].mean() < face[left, 0]
    eyes = [index for index, label in enumerate(scheme.names) if " eye " in label]
    assert face[right, 0] == face[eyes, 0].min() and face[left, 0] == face[eyes, 0].max()


def test_wflw_pairs_that_are_easily_got_wrong():
    flip = load_scheme("wflw98").flip
    assert [flip[index] for index in (0, 16, 33, 37, 38, 41, 55, 57, 60, 64, 65, 67, 76, 79, 87, 88, 95, 96)] == [
        32, 16, 46, 42, 50, 47, 59, 57, 72, 68, 75, 73, 82, 79, 83, 92, 93, 97]


def test_a_file_of_one_s_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    scheme = load_scheme(path)
    assert scheme == LandmarkScheme("mine", ("a", "b", "c"), (1, 0, 2), (0, 1), {"all": (0, 2)})
    assert scheme.to_dict() == MINE and LandmarkScheme.from_dict(scheme.to_dict()) == scheme
    shorter = {key: MINE[key] for key in ("name", "names", "flip_pairs")}
    assert LandmarkScheme.from_dict(shorter) == LandmarkScheme("mine", ("a", "b", "c"), (1, 0, 2))


@pytest.mark.parametrize("change", [
    {"names": []}, {"names": ["a", "a", "c"]}, {"names": ["a", "b", 3]}, {"names": 3}, {"name": ""}, {"flip_pairs": [[0, 3]]},
    {"flip_pairs": [[0, 1], [1, 2]]}, {"flip_pairs": [[0, 0]]}, {"flip_pairs": [[0, -1]]}, {"flip_pairs": [[0]]},
    {"flip_pairs": [[0, True]]}, {"eye_corners": [0, 2]}, {"eye_corners": [0, 1, 2]}, {"eye_corners": [0, 7]},
    {"groups": {"all": [3]}}, {"groups": [1]}, {"schema": 2}, {"flips": []},
])
def test_a_wrong_file_is_refused(tmp_path, change):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**MINE, **change}))
    with pytest.raises(LandmarkError, match="mine"):
        load_scheme(path)


def test_other_refusals(tmp_path):
    with pytest.raises(ArgumentError, match="ibug68"):
        load_scheme("ibug69")
    with pytest.raises(PathError):
        load_scheme(tmp_path / "gone.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(LandmarkError):
        load_scheme(tmp_path / "text.json")
    with pytest.raises(LandmarkError, match="partners"):
        LandmarkScheme("x", ("a", "b", "c"), (1, 2, 0))
