"""Texture baking by its laws, on photos that are renders of the model with a known texture and a known pose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from facerecon.errors import ArgumentError
from facerecon.fitting.texture import bake_texture
from facerecon.fitting.texture_atlas import SKIN, atlas_maps
from facerecon.fitting.texture_colour import extend, unlike
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.normals import vertex_normals
from facerecon.geometry.rotations import rotvec_to_matrix
from facerecon.morphable import load_model
from facerecon.morphable.parameters import FaceParameters
from facerecon.render.harmonics import sh_basis
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize

SIZE, SIDE = 512, 480
GREEN = (0, 255, 0)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def known(model):
    """The model's albedo with a smooth random tint and a fine pattern; nowhere green."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.uniform(-14, 14, (12, 12, 3)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    base = cv2.resize(model.albedo_texture, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) + coarse
    base[..., 1] = np.minimum(base[..., 1], np.maximum(base[..., 0], base[..., 2]))
    return np.clip(base, 5, 250).astype(np.uint8)


def parameters_at(model, yaw_deg=0.0, scale=1.9):
    turn = rotvec_to_matrix(torch.tensor([0.0, float(np.deg2rad(yaw_deg)), 0.0], dtype=torch.float64)).float()
    middle = (SIDE - 1) / 2
    pose = ScaledOrthographicPose(torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn, torch.tensor([middle, middle - 20.0]), torch.tensor(scale))
    return FaceParameters.neutral(model, pose)


def photograph(model, parameters, texture, *, side=SIDE, light=None):
    """A photo of the textured model before a green wall."""
    vertices = model.vertices(parameters.identity, parameters.expression)
    fragments = rasterize(parameters.pose.project(vertices), model.faces, (side, side))
    uv = interpolate(fragments, model.uv, model.uv_faces)[0].numpy()
    size = texture.shape[0]
    colour = cv2.remap(texture, uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5, cv2.INTER_LINEAR).astype(np.float64)
    if light is not None:
        normals = parameters.pose.light_frame(vertex_normals(vertices, model.faces))
        colour *= interpolate(fragments, sh_basis(normals) @ light, model.faces)[0].numpy()
    colour[~fragments.mask[0].numpy()] = GREEN
    return np.clip(np.rint(colour), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=[0.0, 35.0, -35.0, 60.0])
def baked(request, model, known):
    parameters = parameters_at(model, request.param)
    photo = photograph(model, parameters, known)
    before = photo.copy()
    texture, sources = bake_texture(model, parameters, photo, size=SIZE)
    np.testing.assert_array_equal(photo, before)
    return request.param, texture, sources


def test_the_photo_comes_back_where_it_is_seen(baked, known):
    _, texture, sources = baked
    sure = sources.photo > 0.995
    assert sure.sum() > 0.04 * SIZE * SIZE
    error = np.abs(texture.astype(int) - known)[sure]
    assert error.mean() < 2.0 and np.quantile(error, 0.99) < 16
    # In its place to less than half a texel: it fits worse when moved by one.
    moved = {(down, right): np.abs(np.roll(texture, (down, right), (0, 1)).astype(int) - known)[sure].mean()
             for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert min(moved, key=moved.get) == (0, 0)
    for axis in ((0, 1), (1, 0)):
        assert abs(moved[axis] - moved[-axis[0], -axis[1]]) < 0.35 * (moved[axis] - moved[0, 0])


def green_excess(texture):
    return texture[..., 1].astype(int) - texture[..., [0, 2]].max(axis=-1)


def test_no_background_gets_into_the_texture(baked):
    _, texture, _ = baked
    # Neutral greys may lean a little to green by matching; a texel that is a tenth wall would show 20 levels.
    assert green_excess(texture).max() <= 15 and (green_excess(texture) > 5).mean() < 1e-3


@pytest.mark.parametrize("yaw", [0.0, 60.0])
@pytest.mark.parametrize("move", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_fit_that_is_two_millimetres_off_paints_no_background(model, known, yaw, move):
    parameters = parameters_at(model, yaw)
    off = parameters.replace(pose=parameters.pose.shifted(move[0] * 2 * 1.9, move[1] * 2 * 1.9))
    texture, _ = bake_texture(model, off, photograph(model, parameters, known), size=256)
    assert green_excess(texture).max() <= 25


def test_a_curtain_beside_the_face_stays_out(model, known):
    parameters = parameters_at(model)
    photo = photograph(model, parameters, known)
    edge = round(60 * 1.9)
    photo[:, SIDE // 2 + edge:] = GREEN
    texture, sources = bake_texture(model, parameters, photo, size=256)
    assert green_excess(texture).max() <= 25 and sources.shares["photo"] > 0.4


def test_sources_are_shares(baked, model):
    yaw, _, sources = baked
    covered = atlas_maps(model, SIZE).covered
    total = sources.photo + sources.mirrored + sources.model
    np.testing.assert_allclose(total[covered], 1.0, atol=1e-5)
    assert (total[~covered] == 0).all() and min(image.min() for image in (sources.photo, sources.mirrored, sources.model)) > -1e-6
    assert abs(sum(sources.shares.values()) - 1) < 1e-5
    assert sources.shares["photo"] > (0.5 if abs(yaw) < 10 else 0.35)


@pytest.mark.parametrize("yaw", [35.0, -35.0, 60.0])
def test_the_far_side_comes_from_the_mirror(yaw, model, known):
    parameters = parameters_at(model, yaw)
    texture, sources = bake_texture(model, parameters, photograph(model, parameters, known), size=SIZE)
    maps = atlas_maps(model, SIZE)
    side = maps.spread(model.mean.numpy()[:, :1])[..., 0]
    # Positive yaw turns the face toward +x, so the camera sees the -x cheek.
    far = (side * np.sign(yaw) > 25) & (maps.face > 0.9) & (maps.skin > 0.5)
    assert sources.photo[far].mean() < 0.35 and sources.mirrored[far].mean() > 0.35
    # What is filled in continues what is there: close to the mirrored truth in broad colour.
    filled = far & (sources.mirrored > 0.9)
    assert filled.sum() > 200
    difference = np.abs(texture.astype(int) - maps.mirrored(known).astype(int))[filled]
    assert difference.mean() < 16


def test_mirrored_photo_gives_the_mirrored_texture(model, known):
    parameters = parameters_at(model, 25.0)
    photo = photograph(model, parameters, known)
    flipped = parameters.replace(pose=parameters.pose.flipped(SIDE))
    one, one_sources = bake_texture(model, parameters, photo, size=SIZE)
    two, two_sources = bake_texture(model, flipped, np.ascontiguousarray(photo[:, ::-1]), size=SIZE)
    maps = atlas_maps(model, SIZE)
    inside = cv2.erode(maps.covered.astype(np.uint8), np.ones((3, 3))) > 0
    # The model's own albedo need not be symmetric; the photo's part has to be.
    seen = inside & (one_sources.photo > 0.9)
    difference = np.abs(maps.mirrored(two).astype(int) - one)[seen]
    assert difference.mean() < 1.5 and np.quantile(difference, 0.99) < 12
    assert np.abs(maps.mirrored(two_sources.photo) - one_sources.photo)[inside].mean() < 0.02
    assert np.abs(maps.mirrored(maps.mirrored(one)).astype(int) - one)[seen].mean() < 3.0


def test_a_larger_photo_gives_the_same_texture(model, known):
    parameters = parameters_at(model)
    photo = photograph(model, parameters, known)
    large = cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    one, sources = bake_texture(model, parameters, photo, size=SIZE)
    two, _ = bake_texture(model, parameters.replace(pose=parameters.pose.scaled_image(3.0)), large, size=SIZE)
    difference = np.abs(one.astype(int) - two)[sources.photo > 0.99]
    assert difference.mean() < 2.0


def test_a_cropped_photo_uses_what_is_in_it(model, known):
    parameters = parameters_at(model)
    photo = photograph(model, parameters, known)
    column = SIDE // 2
    left = np.ascontiguousarray(photo[:, :column])
    _, sources = bake_texture(model, parameters, left, size=SIZE)
    maps = atlas_maps(model, SIZE)
    x = maps.spread(parameters.pose.project(model.mean)[:, :1].numpy())[..., 0]
    assert (sources.photo[maps.covered & (x >= column - 1)] == 0).all() and sources.photo[x < column - 20].max() > 0.99
    assert (sources.mirrored[x >= column] > 0.9).sum() > 500


def test_a_face_outside_the_photo_gives_the_model(model):
    parameters = parameters_at(model)
    away = parameters.replace(pose=parameters.pose.shifted(5000.0, 0.0))
    texture, sources = bake_texture(model, away, np.full((64, 64, 3), GREEN, np.uint8), size=SIZE)
    covered = atlas_maps(model, SIZE).covered
    wanted = cv2.resize(model.albedo_texture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert sources.photo.max() == 0 and np.abs(texture.astype(int) - wanted)[covered].max() <= 2


def test_light_is_divided_out_when_asked(model, known):
    light = torch.zeros(9, 3)
    light[0], light[2], light[3] = 2.6, 0.5, 0.45
    parameters = parameters_at(model).replace(illumination=light)
    photo = photograph(model, parameters, known, light=light)
    plain, sources = bake_texture(model, parameters, photo, size=SIZE)
    delit, _ = bake_texture(model, parameters, photo, size=SIZE, delight=True)
    sure = sources.photo > 0.99
    truth = known.astype(int)[sure]
    assert np.abs(delit[sure] - truth).mean() < 3.0 < 8.0 < np.abs(plain[sure] - truth).mean()


def test_colours_run_on_beyond_the_charts(baked, model):
    _, texture, _ = baked
    maps = atlas_maps(model, SIZE)
    to, source = maps.padding
    flat = texture.reshape(-1, 3)
    np.testing.assert_array_equal(flat[to], flat[source])
    ring = cv2.dilate(maps.covered.astype(np.uint8), np.ones((5, 5))) > 0
    assert not (ring & maps.far).any()


def test_the_same_call_gives_the_same_texture(model, known):
    parameters = parameters_at(model, 15.0)
    photo = photograph(model, parameters, known)
    one, two = (bake_texture(model, parameters, photo, size=128)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (128, 128, 3) and one.dtype == np.uint8


def test_mirror_maps_hold_the_mirrored_point(model):
    maps = atlas_maps(model, SIZE)
    points = maps.spread(model.mean.numpy())
    inside = cv2.erode(maps.covered.astype(np.uint8), np.ones((5, 5))) > 0
    error = np.linalg.norm(maps.mirrored(points) - points * [-1, 1, 1], axis=-1)[inside]
    assert np.median(error) < 0.05 and np.quantile(error, 0.95) < 1.0


def test_extension_solves_its_equation(model):
    maps = atlas_maps(model, 128)
    rng = np.random.default_rng(1)
    known = np.where(rng.random(len(maps.kind)) < 0.2, rng.random(len(maps.kind)), 0.0)
    values = rng.normal(size=(len(known), 3))
    x = extend(maps, values, known, iterations=2000, tolerance=1e-7)
    mean = (known[:, None] * values).sum(axis=0) / known.sum()
    laplacian = scipy.sparse.diags(maps.neighbours.sum(axis=1)) - maps.neighbours
    matrix = (laplacian + scipy.sparse.diags(known / 16.0 + 1 / 3600.0)).tocsc()
    wanted = scipy.sparse.linalg.spsolve(matrix, (known / 16.0)[:, None] * values + mean / 3600.0)
    np.testing.assert_allclose(x, wanted, atol=2e-3)


def test_extension_keeps_a_constant_and_starts_from_nothing(model):
    maps = atlas_maps(model, 128)
    known = (maps.kind == SKIN) * maps.trusted
    same = np.tile([0.3, -0.2, 0.1], (len(known), 1))
    np.testing.assert_allclose(extend(maps, same, known), same, atol=1e-5)
    assert not extend(maps, same, np.zeros(len(known))).any()


def test_hair_and_walls_are_told_from_light_and_shadow():
    expected = np.zeros(3)
    assert unlike(np.log([0.75, 0.75, 0.75]), expected) < 0.7
    assert unlike(np.log([0.3, 0.3, 0.3]), expected) > 1.2
    assert unlike(np.log([0.7, 1.2, 0.7]), expected) > 1.2


@pytest.mark.parametrize(("pixels", "options", "code"), [
    (np.zeros((8, 8, 3)), {}, "dtype_invalid"), (np.zeros((8, 8), np.uint8), {}, "shape_invalid"),
    (np.zeros((0, 8, 3), np.uint8), {}, "dtype_invalid"), (np.zeros((8, 8, 3), np.uint8), {"size": 10}, "argument_invalid"),
    (np.zeros((8, 8, 3), np.uint8), {"size": 1e9}, "argument_invalid"), (np.zeros((8, 8, 3), np.uint8), {"facing_range": (0.5, 0.5)}, "argument_invalid"),
])
def test_wrong_arguments_are_refused(model, pixels, options, code):
    with pytest.raises(ArgumentError) as caught:
        bake_texture(model, parameters_at(model), pixels, **options)
    assert caught.value.code == code


def test_a_model_without_named_regions_is_baked_too(known):
    bare = load_model()
    bare._mask_names = ()
    parameters = parameters_at(bare)
    texture, sources = bake_texture(bare, parameters, photograph(bare, parameters, known), size=256)
    assert sources.shares["photo"] > 0.1 and texture.std() > 10
