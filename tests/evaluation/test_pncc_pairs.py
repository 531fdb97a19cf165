"""Training pairs of 300W-LP: the code lies where the release's parameters put the face, crop and map in one frame."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from facerecon.data.datasets.zhu import project_zhu
from facerecon.morphable import load_model

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
POSE = np.array([*np.radians([4.0, 18.0, -6.0]), 220, 230, 0, 1.1e-3])


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import make_pncc_pairs

    yield make_pncc_pairs
    sys.modules.pop("make_pncc_pairs")


def test_the_code_is_on_the_face(script, dense, basel_file, tmp_path):
    shape, expression = np.zeros((199, 1)), np.zeros((29, 1))
    shape[:3, 0], expression[:2, 0] = [6e4, -8e4, 3e4], [0.6, -0.4]
    coefficients = np.concatenate([shape[:3, 0], expression[:2, 0]]).astype(np.float32)
    mesh = (coefficients @ dense._basis).reshape(-1, 3) + dense.mean
    points = project_zhu(mesh, POSE, 450)[:, :2]
    photo = np.full((450, 450, 3), 40, np.uint8)
    # A white spot on every landmark, so that the crop shows where they went.
    for x, y in np.rint(points[dense.keypoints] * 16).astype(int):
        cv2.circle(photo, (int(x), int(y)), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    folder = tmp_path / "300W_LP"
    (folder / "AFW").mkdir(parents=True)
    cv2.imwrite(str(folder / "AFW" / "AFW_1_2_0.png"), photo)
    (folder / "AFW" / "AFW_1_2_0.png").rename(folder / "AFW" / "AFW_1_2_0.jpg")
    scipy.io.savemat(folder / "AFW" / "AFW_1_2_0.mat", {
        "Shape_Para": shape, "Exp_Para": expression, "Tex_Para": np.zeros((199, 1)), "Pose_Para": POSE[None],
        "Illum_Para": np.zeros((1, 10)), "Color_Para": np.ones((1, 7)), "pt2d": points[dense.keypoints].T + 1})

    source = script.ReleasedFits(folder, basel_file, size=128, every=1)
    assert source.names == ("AFW/AFW_1_2_0",)
    pair = source.make(0)
    assert pair.image.shape == pair.code.shape == (128, 128, 3) and pair.subject == "AFW/AFW_1_2"
    # 1.6 times the longer side of the landmarks' box, as CropRule says.
    low, high = points[dense.keypoints].min(axis=0), points[dense.keypoints].max(axis=0)
    side = 1.6 * (high - low).max()
    mapped = (points[dense.keypoints] - (low + high) / 2) * 128 / side + 63.5
    inside = mapped.round().astype(int)
    lit = pair.image[inside[:, 1], inside[:, 0]].min(axis=1)
    assert (lit > 140).mean() > 0.95 and np.median(pair.image) < 60
    # The dome turns little: every landmark is seen, and its pixel has its colour.
    codes = load_model(basel_file).ncc.numpy()[dense.keypoints]
    found = pair.code[inside[:, 1], inside[:, 0]]
    assert np.median(np.abs(found - codes).max(axis=1)) < 0.02 and np.quantile(np.abs(found - codes).max(axis=1), 0.8) < 0.05
