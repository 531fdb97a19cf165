"""Parts of face profiling: what lies beyond the photo, the neck, the mouth, hair, and colours that go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.geometry.normals import face_normals
from facerecon.morphable import load_model
from facerecon.synthesis.profile_colours import spread_colours, vertex_colours
from facerecon.synthesis.profile_hair import ONE_SIDED_MM, _ray_thickness, unseen_hair
from facerecon.synthesis.profile_head import COLLAR_TWIST, boundary_vertices, neck_twist
from facerecon.synthesis.profile_mouth import lidded_mesh
from facerecon.synthesis.profile_window import continued, fill_in, photo_area


@pytest.fixture(scope="module")
def model():
    return load_model("open")


def test_filling_keeps_what_is_known_and_stays_within_it():
    generator = np.random.default_rng(1)
    image = generator.uniform(0.2, 0.7, (45, 60, 3)).astype(np.float32)
    known = (generator.uniform(size=(45, 60)) < 0.3).astype(np.float32)
    known[:, 30:] = 0
    filled = fill_in(image, known)
    assert np.array_equal(filled[known == 1], image[known == 1])
    assert filled.min() >= 0.2 - 1e-5 and filled.max() <= 0.7 + 1e-5
    assert np.allclose(fill_in(np.full((33, 20, 3), 0.4, np.float32), np.eye(33, 20)), 0.4, atol=1e-5)
    assert np.allclose(fill_in(image, np.zeros((45, 60))), 0.5)


def test_the_photo_goes_on_beyond_its_border_without_a_step():
    ramp = np.broadcast_to(np.linspace(0, 1, 100, dtype=np.float32)[None, :, None], (100, 100, 3)).copy()
    inside = np.zeros((100, 100), bool)
    inside[20:80, 20:80] = True
    ramp[~inside] = 0
    result = continued(ramp, inside)
    assert np.array_equal(result[inside], ramp[inside])
    assert np.abs(result[50, 80] - ramp[50, 79]).max() < 0.02 and np.abs(result[50, 19] - ramp[50, 20]).max() < 0.02
    assert result[50, 95].mean() > 0.6 and result[50, 5].mean() < 0.4
    # Near the border it is a mirror image, not the border's colour drawn out.
    turned = continued(ramp.transpose(1, 0, 2).copy(), inside)
    for step in (result[50, 82], turned[82, 50]):
        assert step.mean() < ramp[50, 79].mean() - 0.01


def test_black_bars_are_no_part_of_the_photo():
    pixels = np.random.default_rng(0).integers(40, 255, (50, 60, 3)).astype(np.uint8)
    assert (photo_area(pixels) == 255).all()
    # A photo with something black in it has no bar.
    pixels[10:20, 10:30] = 0
    assert (photo_area(pixels) == 255).all()
    pixels[-12:] = 9
    pixels[:, :5] = 3
    area = photo_area(pixels)[..., 0]
    assert (area[:36, 7:] == 255).all() and not area[36:].any() and not area[:, :7].any()
    assert not photo_area(np.zeros((20, 20, 3), np.uint8)).any()


def test_the_neck_takes_less_of_the_turn_the_lower_it_is(model):
    twist = neck_twist(model)
    neck, end = model.masks["neck"], boundary_vertices(model.faces, len(model.mean))
    assert (twist[~neck] == 1).all()
    assert torch.allclose(twist[neck & end], torch.tensor(COLLAR_TWIST)) and (neck & end).sum() > 10
    assert ((twist[neck] >= COLLAR_TWIST) & (twist[neck] <= 1)).all()
    # Neighbours differ little: the neck is wrung, not torn.
    ends = torch.cat([model.faces[:, [0, 1]], model.faces[:, [1, 2]]])
    assert (twist[ends[:, 0]] - twist[ends[:, 1]]).abs().max() < 0.35


def test_the_lid_closes_the_mouth(model):
    mesh = lidded_mesh(model)
    count, rim = len(model.mean), len(mesh.rim)
    assert rim > 10 and mesh.faces.max() == count + rim and mesh.faces.shape == mesh.uv_faces.shape
    assert not model.masks["mouth"][mesh.faces[mesh.faces.max(1).values < count]].all(1).any()
    # With the lid's rim welded to the lips, only the neck is open.
    weld = torch.cat([torch.arange(count), mesh.rim, torch.tensor([count])])
    opened = boundary_vertices(weld[mesh.faces], count + 1)
    assert opened.any() and model.masks["neck"][opened[:count]].all() and not opened[count]
    points = mesh.shape(model.mean)
    lid = face_normals(points, mesh.faces)[mesh.faces.max(1).values >= count]
    assert lid.sum(0)[2] > 0
    assert points[-1, 2] < points[count:-1, 2].mean()


def test_colours_spread_from_where_they_are_known(model):
    members = model.masks["neck"].numpy()
    colours = np.random.default_rng(3).uniform(size=(len(members), 3)).astype(np.float32)
    known = (members & (np.random.default_rng(4).uniform(size=len(members)) < 0.2)).astype(np.float32)
    spread = spread_colours(model, colours, known, members)
    assert np.array_equal(spread[~members], colours[~members])
    assert spread[members].min() >= -1e-5 and spread[members].max() <= 1 + 1e-5
    assert np.allclose(spread_colours(model, np.full_like(colours, 0.3), known, members)[members], 0.3, atol=1e-4)
    assert np.array_equal(spread_colours(model, colours, np.zeros_like(known), members), colours)


def test_vertex_colours_read_the_texture(model):
    size = 256
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    texture = np.stack([column, row, np.zeros_like(row)], -1).astype(np.uint8)
    colours = vertex_colours(model, texture) * 255
    # One of a vertex's texture coordinates, in texels from the top left.
    place = model.uv[model.uv_faces].numpy() * [1, -1] * size + [0, size]
    found = np.abs(colours[model.faces.numpy()][..., :2] + 0.5 - place).max(-1) < 0.6
    assert found.mean() > 0.9
    assert np.isin(np.arange(len(model.mean)), model.faces.numpy()[found]).all()


def test_hair_is_measured_along_rays():
    row, column = np.mgrid[:200, :200] - 100
    head = np.hypot(row, column) < 50
    person = np.hypot(row, column) < 65
    found = _ray_thickness(person, head, np.array([100.0, 100.0]), 1.0)
    assert found[[54, 45, 63]] == pytest.approx(15, abs=1.5)
    # Downwards is the neck, and what hangs there is not on the scalp.
    assert found[18] == 0
    inside = _ray_thickness(np.hypot(row, column) < 44, head, np.array([100.0, 100.0]), 1.0)
    assert inside[54] == pytest.approx(-6, abs=1.5)
    # A tree beside the head is not hair.
    tree = person | ((column > 0) & (row < 0) & (np.hypot(row, column) < 88))
    assert _ray_thickness(tree, head, np.array([100.0, 100.0]), 1.0)[63] == pytest.approx(15 + ONE_SIDED_MM, abs=1.5)


def test_unseen_hair_is_looked_for_in_the_hair(model):
    place = torch.cat([model.mean[:, :2] * torch.tensor([1.0, -1.0]) + 150, model.mean[:, 2:]], 1).numpy()
    row, column = np.mgrid[:300, :300]
    head = np.hypot((row - 130) / 125, (column - 150) / 80) < 1
    hair = head & (row < 100)
    where, weight = unseen_hair(model, place, hair, head & ~hair, 1.0)
    scalp = model.masks["scalp"].numpy()
    assert not weight[~scalp].any() and (weight[scalp & (place[:, 1] < 60)] > 0.9).all()
    trusted = np.rint(where[weight > 0.5]).astype(int)
    assert hair[trusted[:, 1], trusted[:, 0]].mean() > 0.97
    none = unseen_hair(model, place, np.zeros_like(hair), head, 1.0)[1]
    assert not none.any()
