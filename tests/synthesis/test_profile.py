"""Face profiling: a photo whose head is known, turned; the truth that comes with it; what surrounds the head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.detection import Crop
from facerecon.errors import ArgumentError, FitError
from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.morphable import FaceParameters, load_model
from facerecon.render import antialias, rasterize, render_colour, render_pncc, sh_basis, turned_light
from facerecon.synthesis.profile import Profiler, larger_yaws, profile_views

SIZE = 96
PITCH, YAW, ROLL = 4.0, 14.0, -3.0


@pytest.fixture(scope="module")
def model():
    return load_model("open")


@pytest.fixture(scope="module")
def parameters(model):
    """A head of its own, three quarters of the photo high, lit from the image's left."""
    generator = np.random.default_rng(5)
    pose = ScaledOrthographicPose(torch.as_tensor(euler_deg_to_matrix_aflw(PITCH, YAW, ROLL)), torch.tensor([150.0, 152.0]),
                                  torch.tensor(0.95))
    light = torch.zeros(9, 3)
    light[0], light[3], light[2] = 2.3, -0.5, 0.5
    return FaceParameters.neutral(model, pose).replace(
        identity=torch.from_numpy(0.6 * generator.normal(size=model.sizes[0])).float(),
        expression=model.expression_vector({"jawOpen": 0.3}), illumination=light,
        albedo=torch.from_numpy(0.5 * generator.normal(size=model.sizes[2])).float())


@pytest.fixture(scope="module")
def photo(model, parameters):
    """(300, 300, 3) uint8: the head before slanting bands of blue."""
    behind = 0.5 + 0.2 * np.sin(np.add.outer(np.arange(300) / 13.0, np.arange(300) / 29.0))[..., None] * [0.2, 0.5, 1.0]
    return draw(model, parameters, 300, behind)


@pytest.fixture(scope="module")
def profiler(model, photo, parameters):
    return Profiler(model, photo, parameters, size=SIZE)


def draw(model, parameters, size, behind):
    with torch.no_grad():
        vertices, albedo = model.vertices(parameters.identity, parameters.expression), model.albedo(parameters.albedo)
        drawn = render_colour(vertices, model.faces, albedo, parameters.illumination, parameters.pose.scaled_image(2),
                              (2 * size,) * 2)
        image, covered = antialias(drawn.image, drawn.mask, 2)
    share = covered[0, ..., None].numpy()
    return (255 * (behind * (1 - share) + image[0].numpy() * share).clip(0, 1) + 0.5).astype(np.uint8)


def view(profiler, yaw, seed=3):
    return profiler.view(yaw, generator=np.random.default_rng(seed), name="a.jpg", maps=("pncc", "depth", "normals"))


def face_mask(model, face):
    """(S, S) bool: the code's region, away from its edge."""
    import cv2

    code = cv2.resize(face.maps["pncc"], (face.size, face.size), interpolation=cv2.INTER_NEAREST)
    return cv2.erode((code > 0).any(-1).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def test_no_turn_gives_the_photo_again(model, photo, parameters, profiler):
    face = view(profiler, YAW)
    # Where the crop lies in the photo follows from the two poses.
    pose, before = face.parameters.pose, parameters.pose
    side = SIZE * float(before.scale / pose.scale)
    middle = before.translation + ((SIZE - 1) / 2 - pose.translation) * float(before.scale / pose.scale)
    expected = Crop(tuple(middle.tolist()), side, SIZE).extract(photo)
    difference = np.abs(face.image.astype(float) - expected)
    assert difference[face_mask(model, face)].mean() < 3.0
    assert difference.mean() < 4.0


@pytest.mark.parametrize("turn", [20.0, 45.0])
def test_a_turned_photo_is_the_head_seen_from_there(model, photo, profiler, turn):
    face = view(profiler, YAW + turn)
    truth = draw(model, face.parameters, SIZE, np.full((SIZE, SIZE, 3), 0.5))
    inside = face_mask(model, face)
    assert inside.sum() > 500
    difference = np.abs(face.image.astype(float) - truth)[inside].max(-1)
    assert np.median(difference) < 6 and np.quantile(difference, 0.9) < 25
    # The check can fail: a picture that did not turn is far from it.
    still = np.abs(view(profiler, YAW).image.astype(float) - truth)[inside].max(-1)
    assert np.quantile(still, 0.9) > 35


def test_the_code_is_that_of_the_turned_head(model, parameters, profiler):
    face = view(profiler, YAW + 40)
    rotation = torch.as_tensor(euler_deg_to_matrix_aflw(PITCH, YAW + 40, ROLL))
    assert torch.allclose(face.parameters.pose.rotation, rotation, atol=1e-4)
    given = face.parameters.pose
    pose = ScaledOrthographicPose(rotation, given.translation, given.scale).scaled_image(128 / SIZE)
    with torch.no_grad():
        placed = pose.project(model.vertices(parameters.identity, parameters.expression))
        expected = render_pncc(placed, model.faces, model.ncc.clamp(0, 1), (128, 128))[0].numpy()
    code = face.maps["pncc"] / 255
    shown = (code > 0).any(-1)
    assert shown.sum() > 2000 and np.abs(code - expected)[shown].max() < 0.02


def test_points_are_the_parameters_projected(model, profiler):
    face = view(profiler, YAW + 30)
    for scheme, points in (("ibug68", face.points68), ("mediapipe478", face.points478)):
        with torch.no_grad():
            placed = model.landmarks(scheme, face.parameters.identity, face.parameters.expression)
            expected = face.parameters.pose.project(placed)
        assert np.abs(points - expected[:, :2].numpy()).max() < 1e-3
    assert (face.points68 > 0).all() and (face.points68 < SIZE - 1).all()
    assert face.visible68[8] and face.visible68[30] and not face.visible68[:3].any() and face.visible68[14:17].any()


def test_the_light_turns_with_the_head():
    generator = torch.Generator().manual_seed(2)
    light = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    flip = torch.diag(torch.tensor([1.0, -1, -1])).double()
    turn = torch.as_tensor(euler_deg_to_matrix_aflw(10.0, 50.0, -20.0)).double() @ flip
    normals = torch.nn.functional.normalize(torch.randn(40, 3, generator=generator, dtype=torch.float64), dim=-1)
    after = sh_basis(normals @ (flip @ turn @ flip).T) @ turned_light(light, turn)
    assert torch.allclose(after, sh_basis(normals) @ light, atol=1e-10)
    assert torch.allclose(turned_light(light, torch.eye(3)), light, atol=1e-10)


def test_the_sheet_covers_the_window_and_does_not_fold_at_rest(profiler):
    sheet, size = profiler.sheet, profiler.head.window.size
    still = sheet.moved(np.eye(3), profiler.head.window.pivot)
    assert np.allclose(still, sheet.points, atol=1e-6)
    a, b, c = (still[sheet.triangles[:, corner], :2] for corner in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all() or (areas < 0).all()
    assert np.abs(areas).sum() == pytest.approx((size - 1) ** 2)


@pytest.mark.parametrize("turn", [-70.0, 35.0, 76.0])
def test_the_turned_sheet_has_no_hole(profiler, turn):
    head, sheet = profiler.head, profiler.sheet
    rotation = profiler.turned(YAW + turn).pose.rotation.double() @ head.window.parameters.pose.rotation.double().T
    moved = sheet.moved(rotation.numpy(), head.window.pivot)
    size = head.window.size
    edge = (sheet.points[:, :2] == 0).any(1) | (sheet.points[:, :2] == size - 1).any(1)
    assert edge.sum() > 50 and np.array_equal(moved[edge], sheet.points[edge])
    assert np.abs(moved - sheet.points).max() > 10
    covered = rasterize(torch.from_numpy(moved).float(), torch.from_numpy(sheet.triangles), (size - 1, size - 1)).mask[0]
    assert covered.all()


def test_the_outline_of_the_sheet_stays_on_the_head(profiler):
    """Anchors that are held move exactly as the rigid head does where they take all of its turn."""
    head, sheet = profiler.head, profiler.sheet
    turn = (profiler.turned(YAW + 30).pose.rotation.double() @ head.window.parameters.pose.rotation.double().T).numpy()
    held = np.isinf(sheet.hold) & (sheet.turned == 1)
    assert held.sum() > 30
    expected = (sheet.points[held] - head.window.pivot) @ turn.T + head.window.pivot
    assert np.allclose(sheet.moved(turn, head.window.pivot)[held], expected)


def test_the_same_seed_gives_the_same_bytes(model, photo, parameters, profiler):
    def made(seed):
        return profile_views(model, photo, parameters, yaws_deg=(40.0,), size=SIZE, seed=seed, name="p")[0]

    first, again = made(1), made(1)
    assert first.name == "p_yaw+040.jpg"
    assert np.array_equal(first.image, again.image) and np.array_equal(first.maps["pncc"], again.maps["pncc"])
    assert torch.equal(first.parameters.pose.translation, again.parameters.pose.translation)
    assert not np.array_equal(view(profiler, 40.0, seed=1).image, view(profiler, 40.0, seed=2).image)


def test_larger_yaws():
    assert larger_yaws(0.0, step_deg=30) == (-30.0, -60.0, -90.0, 30.0, 60.0, 90.0)
    assert larger_yaws(-20.0, step_deg=30) == (-60.0, -90.0)
    assert larger_yaws(14.0, step_deg=30) == (30.0, 60.0, 90.0)
    assert larger_yaws(80.0, step_deg=30) == ()
    assert larger_yaws(5.0, step_deg=25, limit_deg=60) == (-25.0, -50.0, 25.0, 50.0)


def test_what_cannot_be_turned_is_refused(model, photo, parameters, profiler):
    with pytest.raises(ArgumentError, match="yaw_deg"):
        view(profiler, 91.0)
    with pytest.raises(ArgumentError, match="uint8"):
        Profiler(model, photo.astype(np.float32), parameters)
    with pytest.raises(ArgumentError, match="shows nothing of this head"):
        Profiler(model, photo, parameters.replace(pose=parameters.pose.shifted(5000.0, 0.0)), size=64)
    broken = ScaledOrthographicPose(parameters.pose.rotation, torch.tensor([float("nan"), 0.0]), parameters.pose.scale)
    with pytest.raises(FitError) as error:
        profile_views(model, photo, parameters.replace(pose=broken))
    assert error.value.code == "fit_failed"
