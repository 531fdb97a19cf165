"""AFLW2000-3D and 300W-LP: samples, pixel origins, what is missing, damaged files; the projection and its inverse."""

from __future__ import annotations

import os

import numpy as np
import pytest

from facerecon.data.datasets import (
    camera_from_zhu, project_zhu, read_300w_lp, read_aflw2000, read_mat, zhu_from_camera, zhu_rotation,
)
from facerecon.errors import ArgumentError, DatasetError


def test_samples_are_sorted_counted_and_in_the_wanted_pixels(aflw2000_folder):
    zero, stored = read_aflw2000(aflw2000_folder), read_aflw2000(aflw2000_folder, pixel_origin="matlab1")
    assert zero.names == ("image00001", "image00002", "image00003") and len(zero) == 3
    assert zero.inventory.parts == (("images with parameters", 3, 2000),) and not zero.inventory.complete
    assert "found 3 of 2000" in zero.inventory.describe()
    raw = read_mat(aflw2000_folder / "image00001.mat")
    sample, same = zero[0], stored[0]
    assert (sample.pixel_origin, same.pixel_origin, sample.scheme) == ("zero", "matlab1", "ibug68")
    np.testing.assert_array_equal(same.landmarks, raw["pt3d_68"].T)
    # x and y move by the one pixel, the depth does not.
    np.testing.assert_array_equal(same.landmarks - sample.landmarks, np.tile([1.0, 1.0, 0.0], (68, 1)))
    assert np.isnan(sample.points2d[4]).all() and np.isfinite(np.delete(sample.points2d, 4, 0)).all()
    assert sample.exp_para.shape == (29,) and sample.exp_para.dtype == np.float64
    assert sample.roi.tolist() == [-5, 10, 200, 300] and sample.pose_para.shape == (7,)
    assert [item.attributes["pose_excluded"] for item in zero] == [False, False, True]
    np.testing.assert_allclose(sample.euler_deg, np.degrees([0.1, -0.5, 0.05]), rtol=1e-6)


def test_subsets_slices_and_names(aflw2000_folder):
    samples = read_aflw2000(aflw2000_folder)
    assert samples[1:].names == ("image00002", "image00003") and samples[-1].name == "image00003"
    assert samples.subset([2, 0])[0].name == "image00003" and samples.by_name("image00002").name == "image00002"
    assert [sample.name for sample in samples] == list(samples.names)
    with pytest.raises(IndexError):
        samples[3]
    with pytest.raises(ArgumentError):
        samples.by_name("image99999")


def test_the_folder_above_and_the_code_of_the_release(aflw2000_folder, tools, tmp_path_factory):
    home = tmp_path_factory.mktemp("above")
    tools.mat(aflw2000_folder / "Code" / "Model_Shape.mat", mu_shape=np.ones((9, 1)))
    tools.empty(aflw2000_folder / "Code" / "figure.jpg")
    aflw2000_folder.rename(home / "AFLW2000")
    samples = read_aflw2000(home)
    assert len(samples) == 3 and samples.inventory.missing == () and samples[0].name == "image00001"


def test_what_is_missing_is_named(aflw2000_folder, tools):
    (aflw2000_folder / "image00001.mat").unlink()
    (aflw2000_folder / "image00002.jpg").unlink()
    samples = read_aflw2000(aflw2000_folder)
    assert samples.names == ("image00003",) and set(samples.inventory.missing) == {"image00001.mat", "image00002.jpg"}
    assert "image00001.mat" in samples.inventory.describe()
    with pytest.raises(DatasetError) as caught:
        read_aflw2000(aflw2000_folder / "absent")
    assert caught.value.code == "dataset_missing"
    (aflw2000_folder / "sub").mkdir()
    with pytest.raises(DatasetError) as caught:
        read_aflw2000(aflw2000_folder / "sub")
    assert caught.value.code == "dataset_invalid"
    with pytest.raises(ArgumentError):
        read_aflw2000(aflw2000_folder, pixel_origin="one")


def test_a_damaged_annotation_is_refused_by_name_and_the_others_stay_readable(aflw2000_folder, tools):
    generator = np.random.default_rng(2)
    good = {"pt2d": np.ones((2, 21)), "pt3d_68": np.ones((3, 68))}
    for changes in ({"pt3d_68": np.ones((3, 67))}, {"pt3d_68": np.full((3, 68), np.nan)}, {"Pose_Para": np.ones((1, 6))},
                    {"Shape_Para": np.ones((198, 1))}, {"Exp_Para": np.full((29, 1), np.inf)}):
        tools.mat(aflw2000_folder / "image00002.mat", **tools.parameters(generator, **{**good, **changes}))
        samples = read_aflw2000(aflw2000_folder)
        with pytest.raises(DatasetError) as caught:
            samples[1]
        assert caught.value.code == "annotation_corrupt" and "image00002.mat" in caught.value.message
        assert samples[2].name == "image00003"


def test_300w_lp_parts_flips_and_points(tmp_path, tools):
    generator = np.random.default_rng(3)
    for part, name in (("AFW", "AFW_1_0"), ("AFW_Flip", "AFW_1_0"), ("HELEN", "HELEN_5_2")):
        tools.mat(tmp_path / part / f"{name}.mat", **tools.parameters(generator, pt2d=generator.uniform(0, 450, (2, 68))))
        tools.empty(tmp_path / part / f"{name}.jpg")
    points = generator.uniform(0, 450, (68, 2))
    tools.mat(tmp_path / "landmarks" / "AFW" / "AFW_1_0_pts.mat", pts_2d=points + 5, pts_3d=points)
    samples = read_300w_lp(tmp_path)
    assert samples.names == ("AFW/AFW_1_0", "AFW_Flip/AFW_1_0", "HELEN/HELEN_5_2")
    assert sum(expected for _, _, expected in samples.inventory.parts) == 122450
    assert {"IBUG/", "LFPW/"} <= set(samples.inventory.missing)
    np.testing.assert_allclose(samples[0].landmarks, points - 1)
    assert samples[1].landmarks is None and samples[1].points2d.shape == (68, 2) and samples[0].split == "AFW"
    assert read_300w_lp(tmp_path, parts=("HELEN",)).names == ("HELEN/HELEN_5_2",)
    with pytest.raises(ArgumentError):
        read_300w_lp(tmp_path, parts=("HELLEN",))


def test_projection_by_hand():
    # A quarter turn of yaw takes +z (out of the face) to -x: positive yaw looks to the image's left.
    pose = np.array([0, np.pi / 2, 0, 100, 50, 7, 1e-3])
    placed = project_zhu(np.array([[0.0, 0, 10], [0, 10, 0], [10, 0, 0]]), pose, 450, pixel_origin="matlab1")
    np.testing.assert_allclose(placed, [[90, 401, 7], [100, 391, 7], [100, 401, 17]], atol=1e-9)
    zero = project_zhu(np.array([[0.0, 0, 10]]), pose, 450)
    np.testing.assert_allclose(zero, [[89, 400, 7]], atol=1e-9)


def test_zhu_rotation_is_the_transposed_standard_one():
    from scipy.spatial.transform import Rotation

    angles = np.array([0.3, -0.8, 0.2])
    wanted = Rotation.from_euler("xyz", angles).as_matrix().T
    np.testing.assert_allclose(zhu_rotation(angles), wanted, atol=1e-12)


@pytest.mark.parametrize("pixel_origin", ["zero", "matlab1"])
def test_camera_of_the_project_draws_the_same_points_and_leads_back(pixel_origin):
    torch = pytest.importorskip("torch")
    from facerecon.geometry.cameras import ScaledOrthographicPose

    generator = np.random.default_rng(5)
    vertices = generator.normal(size=(30, 3)) * 60
    for _ in range(20):
        pose = np.concatenate([generator.uniform(-1.5, 1.5, 3), generator.uniform(0, 450, 2), [0.0], [1.3e-3]])
        rotation, translation, scale = camera_from_zhu(pose, 450, pixel_origin=pixel_origin)
        camera = ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float64) for part in (rotation, translation, scale)))
        drawn = camera.project(torch.from_numpy(vertices)).numpy()
        wanted = project_zhu(vertices, pose, 450, pixel_origin=pixel_origin)
        np.testing.assert_allclose(drawn * [1, 1, -1], wanted, atol=1e-9)
        np.testing.assert_allclose(zhu_from_camera(rotation, translation, scale, 450, pixel_origin=pixel_origin), pose, atol=1e-9)
        euler = camera.to_dict()["euler_deg"]
        np.testing.assert_allclose([euler["pitch"], euler["yaw"], euler["roll"]], np.degrees(pose[:3]), atol=1e-6)


def test_real_samples_where_a_folder_of_them_is_given():
    """AFLW's terms forbid to ship images; FACERECON_AFLW2000 names a folder of the release, or of some of its images."""
    if "FACERECON_AFLW2000" not in os.environ:
        pytest.skip("FACERECON_AFLW2000 names no folder")
    import scipy.io

    samples = read_aflw2000(os.environ["FACERECON_AFLW2000"], pixel_origin="matlab1")
    for sample in samples:
        stored = scipy.io.loadmat(sample.image.with_suffix(".mat"))
        np.testing.assert_array_equal(sample.landmarks, stored["pt3d_68"].T)
        np.testing.assert_array_equal(sample.shape_para, stored["Shape_Para"].reshape(-1))
        # The stored angles come back from the rotation, where it defines them.
        if np.abs(sample.euler_deg[1]) < 90 and np.abs(sample.euler_deg).max() < 99:
            rotation, translation, scale = camera_from_zhu(sample.pose_para, sample.image_height)
            np.testing.assert_allclose(zhu_from_camera(rotation, translation, scale, 450)[:3], sample.pose_para[:3], atol=1e-6)
