"""The decoder: agreement with the parts it is made of, gradients, extreme codes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.mofa import (
    CodeLayout, FaceDecoder, MofaTargets, MofaTerms, read_code, total_loss)
from facerecon.render import render_colour

from .conftest import mask_model, random_raw

S = 32
ALL_TERMS = MofaTerms(albedo_symmetry=1.0, parameters=1.0, vertices=1.0, perceptual=1.0, prior=0.01, facing=False)


def features(images):
    """A smooth stand-in for a recognition network."""
    return torch.nn.functional.avg_pool2d(images, 8).flatten(1).tanh() + 0.1


def targets_for(decoder: FaceDecoder, count: int, *, dtype=torch.float64) -> MofaTargets:
    generator = torch.Generator().manual_seed(3)
    truth = read_code(random_raw(decoder.layout, count, seed=9, dtype=dtype), decoder.layout, image_size=decoder.image_size)
    side = (count, decoder.image_size, decoder.image_size)
    return MofaTargets(torch.rand(*side, 3, generator=generator, dtype=dtype), decoder.landmarks(truth).detach(),
                       torch.rand(count, 68, generator=generator, dtype=dtype),
                       torch.rand(*side, generator=generator, dtype=dtype), truth, torch.arange(count) != 0)


def test_equals_the_model_camera_and_renderer(model, camera):
    model = model.double()
    layout = CodeLayout.of(model, camera=camera)
    decoder = FaceDecoder(model, layout, image_size=S)
    code = read_code(random_raw(layout), layout, image_size=S)
    drawn = decoder(code)
    vertices = model.vertices(code.identity, code.expression)
    torch.testing.assert_close(drawn.vertices, vertices)
    torch.testing.assert_close(drawn.projected, code.camera.project(vertices))
    torch.testing.assert_close(drawn.albedo, model.albedo(code.albedo))
    expected = render_colour(vertices, model.faces, model.albedo(code.albedo), code.illumination, code.camera, (S, S))
    front = drawn.mask & (expected.fragments.face_index >= 0)
    assert 0.1 < drawn.mask.double().mean() < 0.9
    torch.testing.assert_close(drawn.image[front], expected.image[front])
    assert not drawn.image[~drawn.mask].any()
    points = code.camera.project(model.landmarks("ibug68", code.identity, code.expression))
    torch.testing.assert_close(drawn.landmarks, points[..., :2])


def test_each_face_of_a_batch_is_drawn_as_if_alone(model, layout):
    decoder = FaceDecoder(model, layout, image_size=S)
    code = read_code(random_raw(layout, 4, dtype=torch.float32), layout, image_size=S)
    together = decoder(code)
    for i in range(4):
        alone = decoder(code[i:i + 1])
        torch.testing.assert_close(alone.image[0], together.image[i])
        assert torch.equal(alone.mask[0], together.mask[i])


def test_the_first_modes_alone_are_the_whole_with_zeros(model):
    few, every = CodeLayout.of(model, counts=(2, 1, 1)), CodeLayout.of(model)
    code = read_code(random_raw(few, dtype=torch.float32), few, image_size=S)
    pad = torch.nn.functional.pad
    full = dataclasses.replace(code, identity=pad(code.identity, (0, 2)), expression=pad(code.expression, (0, 2)),
                               albedo=pad(code.albedo, (0, 1)))
    torch.testing.assert_close(FaceDecoder(model, few, image_size=S)(code).image,
                               FaceDecoder(model, every, image_size=S)(full).image)


def test_regions_skin_and_mirror(model, layout):
    with torch.no_grad():
        model.mask_face[:11] = False
    decoder = FaceDecoder(model, layout, image_size=S)
    assert torch.equal(decoder.vertex_index, torch.arange(11, 121)) and len(decoder.faces) == 180
    # The partner of a partner is the vertex itself, and lies on the other side.
    assert torch.equal(decoder.mirror[decoder.mirror], torch.arange(110))
    x = model.mean[decoder.vertex_index, 0]
    torch.testing.assert_close(x[decoder.mirror], -x)
    drawn = decoder(read_code(torch.zeros(1, layout.size), layout, image_size=S))
    assert (drawn.skin & ~drawn.mask).sum() == 0 and 0 < (drawn.mask & ~drawn.skin).sum() < drawn.mask.sum() / 4
    assert len(FaceDecoder(model, layout, image_size=S, region="all").faces) == 200
    with pytest.raises(ArgumentError, match="region"):
        FaceDecoder(model, layout, image_size=S, region="nose")


def test_the_inside_of_the_mask_is_not_drawn(model, layout):
    decoder = FaceDecoder(model, layout, image_size=S)
    code = read_code(torch.zeros(1, layout.size), layout, image_size=S)
    back = dataclasses.replace(code, rotation=torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None])
    assert decoder(code).mask.any() and not decoder(back).mask.any()


def test_facing_is_the_cosine_to_the_viewer(model, layout):
    decoder = FaceDecoder(model, layout, image_size=S)
    code = read_code(torch.zeros(1, layout.size), layout, image_size=S)
    drawn = decoder(code)
    # The bulge looks at the camera in the middle and less at the sides.
    radius = model.landmark_basis("ibug68").mean[:, :2].sub(torch.tensor([0.0, -20.0])).norm(dim=1)
    assert drawn.facing[0, radius < 25].min() > 0.95 and drawn.facing.abs().max() <= 1.00001
    assert drawn.facing[0, radius > 85].max() < 0.9
    turned = dataclasses.replace(code, rotation=torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None])
    torch.testing.assert_close(decoder(turned).facing, -drawn.facing)


def test_gradcheck_of_decoder_and_all_losses(camera):
    model = mask_model().double()
    layout = CodeLayout.of(model, camera=camera)
    decoder = FaceDecoder(model, layout, image_size=S)
    targets = targets_for(decoder, 2)
    raw = random_raw(layout, 2, size=0.3).requires_grad_()

    def loss(raw):
        code = read_code(raw, layout, image_size=S)
        return total_loss(code, decoder(code), targets, decoder, terms=ALL_TERMS, features=features)[0]

    assert torch.autograd.gradcheck(loss, (raw,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradients_agree_with_the_reference_back_end(model, layout):
    raw = random_raw(layout, 2, dtype=torch.float64)
    model = model.double()
    gradients = []
    for backend in ("numba", "reference"):
        decoder = FaceDecoder(model, layout, image_size=24, backend=backend)
        start = raw.clone().requires_grad_()
        code = read_code(start, layout, image_size=24)
        total_loss(code, decoder(code), targets_for(decoder, 2), decoder, terms=ALL_TERMS, features=features)[0].backward()
        gradients.append(start.grad)
    torch.testing.assert_close(*gradients)


def test_the_back_end_of_gpus_draws_the_same(model, layout):
    pytest.importorskip("pytorch3d")
    raw = random_raw(layout, 2, dtype=torch.float32)
    drawn, gradients = [], []
    for backend in ("numba", "pytorch3d"):
        decoder = FaceDecoder(model, layout, image_size=S, backend=backend)
        start = raw.clone().requires_grad_()
        code = read_code(start, layout, image_size=S)
        drawn.append(decoder(code))
        targets = targets_for(decoder, 2, dtype=torch.float32)
        total_loss(code, drawn[-1], targets, decoder)[0].backward()
        gradients.append(start.grad)
    assert (drawn[0].mask == drawn[1].mask).float().mean() > 0.998
    both = drawn[0].mask & drawn[1].mask
    torch.testing.assert_close(drawn[0].image[both], drawn[1].image[both], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(*gradients, atol=0.02 * float(gradients[0].abs().max()), rtol=0)


@pytest.mark.parametrize("value", [20.0, -20.0, 1e30, -1e30, float("inf")])
def test_extreme_codes_give_finite_pictures_losses_and_gradients(camera, value):
    model = mask_model()
    layout = CodeLayout.of(model, camera=camera)
    decoder = FaceDecoder(model, layout, image_size=S)
    targets = targets_for(decoder, 3, dtype=torch.float32)
    raw = torch.zeros(3, layout.size)
    raw[0] = value
    raw[1, ::2] = value
    raw[2, 1::2] = -value
    raw.requires_grad_()
    code = read_code(raw, layout, image_size=S)
    drawn = decoder(code)
    total, terms = total_loss(code, drawn, targets, decoder, terms=ALL_TERMS, features=features)
    total.backward()
    for name, part in drawn._asdict().items():
        assert part.isfinite().all(), name
    assert total.isfinite() and all(value.isfinite() for value in terms.values())
    assert raw.grad.isfinite().all()


def test_one_bad_code_does_not_touch_the_others(model, layout):
    decoder = FaceDecoder(model, layout, image_size=S)
    raw = random_raw(layout, 3, dtype=torch.float32)
    good = decoder(read_code(raw, layout, image_size=S))
    raw[1] = float("nan")
    drawn = decoder(read_code(raw, layout, image_size=S))
    for i in (0, 2):
        torch.testing.assert_close(drawn.image[i], good.image[i])
    assert not drawn.mask[1].any()


def test_descent_finds_the_face_that_was_drawn(layout):
    model = mask_model()
    decoder = FaceDecoder(model, layout, image_size=S)
    truth = read_code(random_raw(layout, 2, seed=5, size=0.4, dtype=torch.float32), layout, image_size=S)
    with torch.no_grad():
        goal = decoder(truth)
    targets = MofaTargets(goal.image, goal.landmarks)
    raw = torch.zeros(2, layout.size, requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.05)
    history = []
    for _ in range(80):
        optimiser.zero_grad()
        code = read_code(raw, layout, image_size=S)
        total, terms = total_loss(code, decoder(code), targets, decoder)
        total.backward()
        optimiser.step()
        history.append(terms)
    assert history[-1]["photometric"] < history[0]["photometric"] / 3
    assert history[-1]["landmarks"] < history[0]["landmarks"] / 20


def test_codes_of_another_layout_are_refused(model, layout):
    decoder = FaceDecoder(model, CodeLayout.of(model, counts=(2, 3, 2)), image_size=S)
    with pytest.raises(ArgumentError, match="identity"):
        decoder(read_code(torch.zeros(1, layout.size), layout, image_size=S))
    with pytest.raises(ArgumentError, match="at most"):
        FaceDecoder(model, dataclasses.replace(layout, albedo=5), image_size=S)
