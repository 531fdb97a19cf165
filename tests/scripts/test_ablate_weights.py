"""`ablate_weights`: shares, what a perfect and a shifted predictor score, and the table."""

from __future__ import annotations

import argparse
import types

import numpy as np
import pytest
import torch

from facerecon.geometry import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw


@pytest.fixture
def script(single_thread):
    import ablate_weights

    return ablate_weights


def test_every_variant_fills_the_batch_and_leaves_out_one_thing(script):
    for name, (_, shares, changes) in script.VARIANTS.items():
        assert sum(shares.values()) == pytest.approx(1.0) and set(shares) <= set(script.SHARES)
        left_out = len(set(script.SHARES) - set(shares)) + len(changes)
        assert left_out == (0 if name == "all" else 1)


def faces(count: int = 6):
    """Faces 100 px wide at yaws of 10, 25, 40, ... of two people."""
    from evaluate_weights_sets import PROFILED, Face, FaceSet

    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        points = rng.uniform(0.0, 100.0, (68, 2))
        points[:2] = (0.0, 0.0), (100.0, 100.0)
        photo = types.SimpleNamespace(read=lambda: np.zeros((4, 4, 3), np.uint8))
        made.append(Face(f"f{index}", f"p{index % 2}", photo, points, np.array([0.0, 10.0 + 15 * index, 0.0])))
    return FaceSet(PROFILED, "drawn", "", tuple(made))


class Told:
    """A predictor that knows the answers and is off by some px and degrees."""

    def __init__(self, known, *, px: float = 0.0, deg: float = 0.0) -> None:
        self._known, self._px, self._deg = iter(known.faces), px, deg

    def predict(self, pixels, *, points):
        face = next(self._known)
        rotation = torch.as_tensor(euler_deg_to_matrix_aflw(0.0, face.euler[1] + self._deg, 0.0), dtype=torch.float32)
        pose = ScaledOrthographicPose(rotation, torch.zeros(2), torch.tensor(1.0))
        return types.SimpleNamespace(parameters=types.SimpleNamespace(pose=pose), landmarks68=points + (self._px, 0.0))


def test_scores_of_known_errors(script):
    for px, deg in ((0.0, 0.0), (3.0, 2.0)):
        found = script.scores(Told(faces(), px=px, deg=deg), faces(), every=1)
        assert found["faces"] == 6
        # A shift of 3 px of a box of 100 px is 3 %, for everybody, so the interval is a point.
        for column in ("0-30", "30-60", "60-90"):
            np.testing.assert_allclose(found["errors"]["nme68"][column], px, atol=1e-3)
            np.testing.assert_allclose(found["errors"]["yaw"][column], deg, atol=1e-2)


def test_the_table_has_a_row_for_each_variant(script):
    found = script.scores(Told(faces(), px=3.0, deg=2.0), faces(), every=1)
    real = {"faces": 5, "errors": {"nme51": {"mean_all": [4.0, 3.5, 4.5]}}}
    text = script.report(argparse.Namespace(steps=7, seed=1), ["all", "no-heads"],
                         dict.fromkeys(("all", "no-heads"), {"profiled": found, "real": real}))
    assert "7 steps each, seed 1; 6 turned photos and 5 labelled crops" in text
    rows = text.splitlines()[4:]
    assert len(rows) == 2 and rows[1].startswith("| no synthetic heads | 3.00 (3.00-3.00)") and rows[1].endswith("4.00 (3.50-4.50) |")
