"""Laws of the cameras: half pixels, mirrors, JSON, and other programs' axes."""

from __future__ import annotations

import json

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.geometry import PerspectiveCamera, ScaledOrthographicPose, camera_to, euler_deg_to_matrix_aflw, rotvec_to_matrix

F64 = torch.float64


def some_pose() -> ScaledOrthographicPose:
    rotation = euler_deg_to_matrix_aflw(*(torch.tensor(angle, dtype=F64) for angle in (12.0, -35.0, 8.0)))
    return ScaledOrthographicPose(rotation, torch.tensor([100.0, 80.0], dtype=F64), torch.tensor(1.7, dtype=F64))


def some_camera() -> PerspectiveCamera:
    rotation = some_pose().rotation
    return PerspectiveCamera(torch.tensor(900.0, dtype=F64), torch.tensor([99.5, 79.5], dtype=F64), rotation,
                             torch.tensor([5.0, -8.0, 700.0], dtype=F64))


@pytest.fixture
def points() -> torch.Tensor:
    return 90 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_frontal_face_by_hand():
    pose = ScaledOrthographicPose.frontal(scale=2.0, translation=(10.0, 20.0))
    point = torch.tensor([[3.0, 4.0, 5.0]])  # 3 to the image's right, 4 up, 5 toward the viewer
    assert pose.project(point).tolist() == [[16.0, 12.0, -10.0]]


def test_the_datasets_projection(points):
    # Q = f Rx Ry Rz S + t with y up; 0-based pixels are u = Qx - 1, v = h - Qy; the dataset's depth grows toward the viewer.
    angles = [torch.tensor(angle, dtype=F64) for angle in (12.0, -35.0, 8.0)]
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=F64)
    y_up = flip[:, None] * euler_deg_to_matrix_aflw(*angles)
    height, scale, shift = 450, 0.9, torch.tensor([220.0, 240.0, -30.0], dtype=F64)
    q = scale * points @ y_up.T + shift
    expected = torch.stack([q[:, 0] - 1, height - q[:, 1], -(q[:, 2] - shift[2])], -1)
    pose = ScaledOrthographicPose(flip[:, None] * y_up, torch.tensor([shift[0] - 1, height - shift[1]], dtype=F64),
                                  torch.tensor(scale, dtype=F64))
    assert (pose.project(points) - expected).abs().max() < 1e-10


@pytest.mark.parametrize("camera", [some_pose(), some_camera()], ids=["orthographic", "perspective"])
class TestImageChanges:
    def test_scaling_keeps_the_edges_in_place(self, camera, points):
        before, after = camera.project(points), camera.scaled_image(2.5).project(points)
        assert (after[:, :2] - ((before[:, :2] + 0.5) * 2.5 - 0.5)).abs().max() < 1e-10

    def test_scaling_and_back_is_the_identity(self, camera, points):
        back = camera.scaled_image(0.3).scaled_image(1 / 0.3).project(points)
        assert (back - camera.project(points)).abs().max() < 1e-9

    def test_flip_mirrors_the_image(self, camera, points):
        mirrored_points = points * torch.tensor([-1.0, 1.0, 1.0], dtype=F64)
        before, after = camera.project(points), camera.flipped(200).project(mirrored_points)
        expected = before * torch.tensor([-1.0, 1.0, 1.0], dtype=F64) + torch.tensor([199.0, 0.0, 0.0], dtype=F64)
        assert (after - expected).abs().max() < 1e-10
        assert torch.linalg.det(camera.flipped(200).rotation).item() == pytest.approx(1)

    def test_flip_twice_is_the_identity(self, camera, points):
        assert torch.equal(camera.flipped(200).flipped(200).project(points), camera.project(points))

    def test_shift_moves_pixels(self, camera, points):
        moved = camera.shifted(-7, 3).project(points) - camera.project(points)
        assert (moved - torch.tensor([-7.0, 3.0, 0.0], dtype=F64)).abs().max() < 1e-10

    def test_dictionary_round_trip_through_json(self, camera, points):
        values = json.loads(json.dumps(camera.to_dict()))
        assert values["euler_deg"] == pytest.approx({"pitch": 12.0, "yaw": -35.0, "roll": 8.0})
        assert torch.equal(type(camera).from_dict(values, dtype=F64).project(points), camera.project(points))
        del values["rotation"]
        again = type(camera).from_dict(values, dtype=F64)
        assert (again.project(points) - camera.project(points)).abs().max() < 1e-9

    def test_damaged_dictionaries_are_refused(self, camera):
        for damage in ({"translation": None}, {"rotation": "no"}, {"translation": [0.0, float("nan"), 0.0][-len(
                camera.to_dict()["translation"]):]}):
            with pytest.raises(ArgumentError):
                type(camera).from_dict({**camera.to_dict(), **damage})
        with pytest.raises(ArgumentError, match="KeyError"):
            type(camera).from_dict({"rotation": torch.eye(3).tolist()})


def test_batches_equal_single_poses(points):
    pose = some_pose()
    other = ScaledOrthographicPose(pose.rotation.mT, pose.translation + 1, 2 * pose.scale)
    batch = ScaledOrthographicPose(*(torch.stack([getattr(one, name) for one in (pose, other)])
                                     for name in ("rotation", "translation", "scale")))
    both = batch.project(torch.stack([points, points]))
    assert torch.allclose(both[0], pose.project(points)) and torch.allclose(both[1], other.project(points))
    assert torch.allclose(batch.project(points), both), "one mesh seen by two poses"


def test_perspective_by_hand():
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera = PerspectiveCamera(torch.tensor(500.0), torch.tensor([50.0, 40.0]), rotation, torch.tensor([0.0, 0.0, 100.0]))
    # 10 right, 20 up, 50 toward the viewer: camera point (10, -20, 50).
    assert camera.project(torch.tensor([[10.0, 20.0, 50.0]])).tolist() == [[150.0, -160.0, 50.0]]
    behind = camera.project(torch.tensor([[1.0, 1.0, 100.0], [1.0, 1.0, 300.0]]))
    assert behind.isfinite().all() and behind[1, 2] == -200


def test_mofa_motion_of_the_camera(points):
    turn = rotvec_to_matrix(torch.tensor([3.0, 0.1, -0.2], dtype=F64))
    centre = torch.tensor([3.0, -4.0, 600.0], dtype=F64)
    camera = PerspectiveCamera.from_mofa(torch.tensor(500.0, dtype=F64), torch.zeros(2, dtype=F64), turn, centre)
    x, y, z = torch.linalg.solve(turn, (points - centre).T)
    assert torch.allclose(camera.project(points), torch.stack([500 * x / z, 500 * y / z, z], -1))


@pytest.mark.parametrize("kind", ["orthographic", "perspective"])
def test_gradients(kind, points):
    if kind == "orthographic":
        leaves = (some_pose().rotation, some_pose().translation, some_pose().scale)

        def project(vertices, *parts):
            return ScaledOrthographicPose(*parts).project(vertices)
    else:
        camera = some_camera()
        leaves = (camera.focal, camera.principal, camera.rotation, camera.translation)

        def project(vertices, *parts):
            return PerspectiveCamera(*parts).project(vertices)
    inputs = [points[:4].clone().requires_grad_(), *(leaf.clone().requires_grad_() for leaf in leaves)]
    assert torch.autograd.gradcheck(project, inputs)


def test_other_programs_see_the_same_picture(points):
    rotation, translation = some_camera().rotation, some_camera().translation
    seen = points @ rotation.T + translation
    r, t = camera_to("opengl", rotation, translation)
    assert torch.allclose(points @ r.T + t, seen * torch.tensor([1.0, -1.0, -1.0], dtype=F64))
    r, t = camera_to("pytorch3d", rotation, translation)
    assert torch.allclose(points @ r + t, seen * torch.tensor([-1.0, -1.0, 1.0], dtype=F64))
    r, t = camera_to("blender", rotation, translation)
    world = torch.stack([points[:, 0], -points[:, 2], points[:, 1]], -1)
    assert torch.allclose((world - t) @ r, seen * torch.tensor([1.0, -1.0, -1.0], dtype=F64))
    assert torch.linalg.det(r).item() == pytest.approx(1)
    with pytest.raises(ArgumentError, match="unity"):
        camera_to("unity", rotation, translation)


def test_pytorch3d_agrees_with_the_conversion(points):
    from pytorch3d.renderer import PerspectiveCameras

    camera = some_camera()
    r, t = camera_to("pytorch3d", camera.rotation, camera.translation)
    centre = (camera.principal + 0.5).float()[None]
    theirs = PerspectiveCameras(focal_length=camera.focal.float().reshape(1, 1), principal_point=centre, R=r.float()[None],
                                T=t.float()[None], in_ndc=False, image_size=((160, 200),))
    screen = theirs.transform_points_screen(points.float())[..., :2] - 0.5
    assert (screen - camera.project(points)[:, :2]).abs().max() < 1e-2


def test_light_frame_of_a_frontal_face_is_the_model_frame(points):
    assert torch.equal(ScaledOrthographicPose.frontal(dtype=F64).light_frame(points), points)


def test_mismatched_parts_are_refused():
    with pytest.raises(ArgumentError, match="equal"):
        ScaledOrthographicPose(torch.eye(3), torch.zeros(2, 2), torch.ones(2))
    with pytest.raises(ArgumentError, match="as tensors"):
        ScaledOrthographicPose(torch.eye(3), torch.zeros(2), 1.0)
    with pytest.raises(ArgumentError, match="factor"):
        ScaledOrthographicPose.frontal().scaled_image(0)
