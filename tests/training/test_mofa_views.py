"""Parameters, points and codes of a face follow its picture into moved, turned and mirrored views."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from facerecon.mofa import FaceCode
from facerecon.morphable.schemes import IBUG68_FLIP
from facerecon.render import shade, turned_light
from facerecon.training.augment import Augmentation, augment, warp_points
from facerecon.training.mofa_views import Mirror, moved_truth, warp_code

MOVES = Augmentation(flip=0.5, translate=0.05, scale=(0.9, 1.1), rotate_deg=25.0)
SIZE = 144


@pytest.fixture(scope="module")
def mirror(heads):
    return Mirror.of(heads.model, heads.model.sizes)


@pytest.fixture(scope="module")
def shown(heads, mofa_heads, mirror):
    """Faces, their pictures, views of them, and their moved parameters."""
    code = heads.code(6, seed=3)
    images = (heads.draw(code) * 255).round().to(torch.uint8)
    warped = augment(images, MOVES, torch.Generator().manual_seed(5))
    assert 0 < int(warped.flipped.sum()) < 6
    moved = moved_truth({name: getattr(code, name) for name in mofa_heads.truth_names()}, warped, mirror)
    assert bool(moved.pop("known").all())
    return code, images, warped, FaceCode(**moved)


def test_landmarks_of_moved_parameters_are_the_moved_landmarks(heads, shown):
    code, _, warped, moved = shown
    wanted = warp_points(heads.landmarks(code), warped, torch.tensor(IBUG68_FLIP))
    # The landmarks' places on the mesh are symmetric to a millimetre only; where nothing is mirrored they agree to rounding.
    away = (heads.landmarks(moved) - wanted).norm(dim=2)
    assert away.max() < 1.0 and away.mean() < 0.15
    assert (heads.landmarks(moved) - wanted)[~warped.flipped].abs().max() < 1e-3


def test_vertices_of_moved_parameters_are_the_moved_vertices(heads, shown):
    code, _, warped, moved = shown
    before, after = heads.decoder.geometry(code).projected, heads.decoder.geometry(moved).projected
    partner = heads.decoder.mirror
    before = torch.where(warped.flipped[:, None, None], before[:, partner], before)[..., :2]
    wanted = torch.einsum("bij,bnj->bni", warped.matrices[:, :, :2], before) + warped.matrices[:, None, :, 2]
    assert (after[..., :2] - wanted).abs().max() < 0.02


def test_moved_rotations_are_rotations(shown):
    _, _, _, moved = shown
    assert torch.allclose(moved.rotation @ moved.rotation.mT, torch.eye(3).expand(6, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(moved.rotation), torch.ones(6), atol=1e-5)


def test_the_render_of_moved_parameters_is_the_moved_render(heads, shown):
    """Light turns and mirrors with the picture: shape alone would leave differences of a tenth and more."""
    code, _, warped, moved = shown
    drawn = heads.decoder(moved)
    inside = torch.nn.functional.avg_pool2d(drawn.mask[:, None].float(), 9, 1, 4)[:, 0] > 0.999
    away = (drawn.image.clamp(0, 1) - warped.images.permute(0, 2, 3, 1)).abs().mean(3)
    assert all(float(one[where].mean()) < 0.012 for one, where in zip(away, inside))
    still = dataclasses.replace(moved, illumination=code.illumination)
    other = (heads.decoder(still).image.clamp(0, 1) - warped.images.permute(0, 2, 3, 1)).abs().mean(3)
    assert float(other[inside].mean()) > 3 * float(away[inside].mean())


def test_codes_of_moved_heads_are_the_moved_codes(heads, mirror, shown):
    code, _, warped, moved = shown
    found = warp_code(heads.pncc(code), warped, crop_size=SIZE, mirror=mirror)
    wanted = heads.pncc(moved)
    both = (found > 0).any(1) & (wanted > 0).any(1)
    either = (found > 0).any(1) | (wanted > 0).any(1)
    assert float(both.sum() / either.sum()) > 0.97
    assert float((found - wanted).abs().mean(1)[both].mean()) < 0.01
    red = (found - wanted)[:, 0].abs()[warped.flipped][both[warped.flipped]]
    assert float(red.mean()) < 0.01
    assert not found[~either[:, None].expand_as(found)].any()


def test_codes_mix_face_with_face_alone():
    maps = torch.zeros(1, 3, 8, 8)
    maps[:, :, 2:6, 2:6] = 0.8
    images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    warped = augment(images, Augmentation(rotate_deg=20, scale=(0.8, 0.8)), torch.Generator().manual_seed(0))
    found = warp_code(maps, warped, crop_size=16, mirror=None)
    assert set(found.unique().mul(1000).round().tolist()) == {0.0, 800.0}
    still = augment(images, Augmentation(), torch.Generator())
    doubled = torch.zeros(16, 16)
    doubled[4:12, 4:12] = 0.8
    assert torch.allclose(warp_code(maps, still, crop_size=16, mirror=None)[0], doubled.expand(3, -1, -1), atol=1e-6)


def test_the_light_of_a_turned_surface_is_the_same():
    generator = torch.Generator().manual_seed(0)
    light, normals = (torch.randn(2, count, 3, generator=generator) for count in (9, 20))
    normals = torch.nn.functional.normalize(normals, dim=-1)
    camera = torch.eye(3).repeat(2, 1, 1)
    angle = torch.tensor(0.7)
    camera[:, :2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    camera[1, :, 0] *= -1
    flip = torch.tensor([1.0, -1.0, -1.0])
    seen = normals @ (flip[:, None] * camera * flip).mT
    albedo = torch.ones(2, 20, 3)
    assert torch.allclose(shade(albedo, seen, turned_light(light, camera)), shade(albedo, normals, light), atol=1e-5)
    assert torch.allclose(turned_light(turned_light(light, camera), camera.mT), light, atol=1e-5)
    assert turned_light(light, torch.eye(3).repeat(2, 1, 1)) is light


def test_mirroring_twice_changes_nothing(mirror):
    for matrix in (mirror.identity, mirror.expression, mirror.albedo):
        assert torch.allclose(matrix @ matrix, torch.eye(len(matrix)), atol=1e-3)
    assert mirror.code_x == pytest.approx(1.0, abs=1e-5)


def test_actions_of_the_left_become_those_of_the_right(heads, mirror):
    names = heads.model.expression_names
    left, right = names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")
    mirrored = torch.eye(len(names))[left] @ mirror.expression
    assert mirrored[right] == pytest.approx(1.0, abs=1e-3) and mirrored[left] == pytest.approx(0.0, abs=1e-3)


def test_what_cannot_be_mirrored_is_not_known(heads, mofa_heads):
    """A basis without the mirror image of one of its vectors, as one of scans; a code whose mean is not symmetric."""
    model = copy.copy(heads.model)
    changed = {name: getattr(heads.model, name).clone() for name in ("identity_basis", "albedo_basis", "ncc")}
    model._buffers = {**heads.model._buffers, **changed}
    model.identity_basis[0, ::2, 0] += 5.0
    model.albedo_basis[3, :2000, 1] += 0.2
    model.ncc[model.masks["pncc"].nonzero()[:50, 0], 0] *= 0.5
    mirror = Mirror.of(model, model.sizes)
    assert mirror.identity is None and mirror.expression is not None and mirror.code_x is None and not mirror.shape_known
    code = heads.code(4)
    warped = augment(torch.zeros(4, SIZE, SIZE, 3, dtype=torch.uint8), MOVES, torch.Generator().manual_seed(1))
    moved = moved_truth({name: getattr(code, name) for name in mofa_heads.truth_names()}, warped, mirror)
    assert 0 < int(warped.flipped.sum()) < 4 and torch.equal(moved["known"], ~warped.flipped)
    assert all(torch.equal(moved[name].isnan().all(1), warped.flipped) for name in ("identity", "albedo"))
    assert torch.equal(moved["identity"][~warped.flipped], code.identity[~warped.flipped])
