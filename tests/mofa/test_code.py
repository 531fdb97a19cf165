"""Code vectors: what zero means, inverses, rotations, limits."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from facerecon.errors import ArgumentError, ModelError
from facerecon.geometry import ScaledOrthographicPose, rotvec_to_matrix
from facerecon.mofa import CodeLayout, read_code, write_code
from facerecon.mofa.code import LIMIT

from .conftest import mask_model, random_raw

S = 64


def test_slices_follow_the_documented_order(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    names = ["identity", "expression", "albedo", "rotation", "translation", "scale", "illumination"]
    counts = [4, 3, 2, 6, 2, 1, 27]
    if camera == "perspective":
        names.remove("scale")
        counts = [4, 3, 2, 6, 3, 27]
    assert list(layout.slices) == names
    assert [part.stop - part.start for part in layout.slices.values()] == counts
    assert [part.start for part in layout.slices.values()][1:] == [part.stop for part in layout.slices.values()][:-1]
    assert layout.size == sum(counts)


def test_the_layout_measures_the_models_valid_landmarks(model):
    layout = CodeLayout.of(model)
    points = model.landmark_basis("ibug68").mean[model.embeddings["ibug68"].valid]
    low, high = points.amin(0), points.amax(0)
    assert layout.extent == pytest.approx(float((high - low)[:2].max()), abs=1e-3)
    assert layout.anchor == pytest.approx([*((low + high) / 2)[:2].tolist(), float(points[:, 2].mean())], abs=1e-3)


def test_counts_take_the_first_modes_and_no_more_than_there_are(model):
    layout = CodeLayout.of(model, counts=(2, 3, 1))
    assert (layout.identity, layout.expression, layout.albedo) == (2, 3, 1)
    with pytest.raises(ArgumentError, match="at most"):
        CodeLayout.of(model, counts=(5, 3, 2))
    with pytest.raises(ArgumentError):
        CodeLayout.of(model, counts=(-1, 3, 2))


def test_layouts_survive_a_header_and_refuse_anything_else(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    record = layout.to_dict()
    assert CodeLayout.from_dict(record) == layout
    for change in ({"identity": 1.5}, {"identity": -1}, {"identity": True}, {"camera": "fisheye"}, {"anchor": [0.0, 1.0]},
                   {"anchor": [0.0, 1.0, "2"]}, {"extent": 0.0}, {"expression_range": [1.0, 0.0]}, {"extra": 1}):
        with pytest.raises(ModelError) as caught:
            CodeLayout.from_dict({**record, **change})
        assert caught.value.code == "model_invalid", change
    for wrong in (None, [], {name: record[name] for name in list(record)[1:]}):
        with pytest.raises(ModelError):
            CodeLayout.from_dict(wrong)


def test_a_zero_vector_is_the_neutral_mean_face_that_fills_the_crop(model):
    layout = CodeLayout.of(model)
    code = read_code(torch.zeros(1, layout.size), layout, image_size=S)
    assert not code.identity.any() and not code.albedo.any()
    assert code.expression.abs().max() <= 0.0101
    torch.testing.assert_close(code.rotation[0], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    # White light of strength one shows the albedo as it is: c_0 / (2 sqrt(pi)) = 1.
    expected = torch.zeros(9, 3)
    expected[0] = 2 * math.sqrt(math.pi)
    torch.testing.assert_close(code.illumination[0], expected)
    # The box of the mean face's landmarks: side S / margin, in the middle of the crop.
    points = code.pose(0).project(model.landmark_basis("ibug68").mean[model.embeddings["ibug68"].valid])[:, :2]
    low, high = points.amin(0), points.amax(0)
    assert float((high - low).max()) == pytest.approx(S / 1.6, rel=1e-4)
    torch.testing.assert_close((low + high) / 2, torch.full((2,), (S - 1) / 2), atol=1e-3, rtol=0)


def test_the_pinholes_mean_face_fills_the_crop_about_as_much(model):
    layout = CodeLayout.of(model, camera="perspective")
    code = read_code(torch.zeros(1, layout.size), layout, image_size=S)
    anchor = torch.tensor(layout.anchor)[None, None]
    torch.testing.assert_close(code.camera.project(anchor)[0, 0, :2], torch.full((2,), (S - 1) / 2))
    assert float(code.camera.project(anchor)[0, 0, 2]) == pytest.approx(layout.mean_distance, rel=1e-5)
    assert float(code.poses().scale[0]) == pytest.approx(layout.mean_scale(S), rel=1e-5)


@pytest.mark.parametrize("bounded", [True, False])
def test_writing_is_the_inverse_of_reading(camera, bounded):
    layout = CodeLayout.of(mask_model(bounded=bounded), camera=camera)
    raw = random_raw(layout, 5)
    part = layout.slices["expression"]
    # Within the reach of the inverse: no nearer to an end than a thousandth.
    raw[:, part] = raw[:, part].abs() * 0.5 if bounded else raw[:, part]
    code = read_code(raw, layout, image_size=S)
    written = write_code(code, layout, image_size=S)
    again = read_code(written, layout, image_size=S)
    six = layout.slices["rotation"]
    rest = [i for i in range(layout.size) if not six.start <= i < six.stop]
    torch.testing.assert_close(written[:, rest], raw[:, rest])
    for field in dataclasses.fields(code):
        if isinstance(getattr(code, field.name), torch.Tensor):
            torch.testing.assert_close(getattr(again, field.name), getattr(code, field.name), msg=field.name)


def test_ends_of_the_expressions_are_reached_within_a_thousandth(layout):
    code = read_code(torch.zeros(2, layout.size), layout, image_size=S)
    code = dataclasses.replace(code, expression=torch.tensor([[0.0, 0.5, 1.0], [-1.0, 2.0, 0.3]]))
    again = read_code(write_code(code, layout, image_size=S), layout, image_size=S)
    torch.testing.assert_close(again.expression, code.expression.clamp(0, 1), atol=1.1e-3, rtol=0)


def test_expressions_stay_in_their_range_and_rise(layout):
    part = layout.slices["expression"]
    raw = torch.zeros(401, layout.size, dtype=torch.float64)
    raw[:, part] = torch.linspace(-4, 4, 401, dtype=torch.float64)[:, None]
    values = read_code(raw, layout, image_size=S).expression
    assert (values >= 0).all() and (values <= 1).all() and (values.diff(dim=0) > 0).all()
    assert values[0].max() < 1e-6 and values[-1].min() > 1 - 1e-6


def test_rotations_are_orthonormal_and_keep_orientation(layout):
    raw = random_raw(layout, 200, size=3.0)
    rotation = read_code(raw, layout, image_size=S).rotation
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3, dtype=raw.dtype).expand(200, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(200, dtype=raw.dtype))


def test_columns_that_are_no_rotation_are_read_as_frontal_with_finite_gradients(layout):
    part = layout.slices["rotation"]
    raw = torch.zeros(3, layout.size)
    raw[0, part] = torch.tensor([-1.0, 0, 0, 0, 0, 0])
    raw[1, part] = torch.tensor([-1.0, 0, 0, 0, -1.0, 0])
    raw[2, part] = torch.tensor([0.0, 0, 0, 1.0, -1.0, 0])
    raw.requires_grad_()
    rotation = read_code(raw, layout, image_size=S).rotation
    torch.testing.assert_close(rotation, torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(3, 3, 3))
    rotation.square().sum().backward()
    assert raw.grad.isfinite().all()


def test_any_rotation_can_be_written(layout):
    turns = rotvec_to_matrix(torch.randn(50, 3, dtype=torch.float64) * 2)
    code = dataclasses.replace(read_code(random_raw(layout, 50), layout, image_size=S), rotation=turns)
    again = read_code(write_code(code, layout, image_size=S), layout, image_size=S)
    torch.testing.assert_close(again.rotation, turns)


def test_turning_keeps_the_anchor_in_place(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    raw = torch.zeros(20, layout.size, dtype=torch.float64)
    raw[:, layout.slices["rotation"]] = torch.randn(20, 6, dtype=torch.float64)
    code = read_code(raw, layout, image_size=S)
    anchor = torch.tensor(layout.anchor, dtype=torch.float64).expand(20, 1, 3)
    torch.testing.assert_close(code.camera.project(anchor)[:, 0, :2], torch.full((20, 2), (S - 1) / 2, dtype=torch.float64))


def test_units_of_translation_and_scale(layout):
    raw = torch.zeros(1, layout.size, dtype=torch.float64)
    raw[0, layout.slices["translation"]] = torch.tensor([1.0, -2.0], dtype=torch.float64)
    raw[0, layout.slices["scale"]] = 1.0
    code = read_code(raw, layout, image_size=S)
    anchor = torch.tensor(layout.anchor, dtype=torch.float64)
    place = code.pose(0).project(anchor[None])[0, :2]
    torch.testing.assert_close(place, torch.tensor([(S - 1) / 2 + S / 10, (S - 1) / 2 - S / 5], dtype=torch.float64))
    assert float(code.scale) == pytest.approx(layout.mean_scale(S) * math.exp(0.2))


@pytest.mark.parametrize("value", [1e30, -1e30, math.inf, -math.inf])
def test_extreme_numbers_are_read_as_the_limit(model, camera, value):
    layout = CodeLayout.of(model, camera=camera)
    raw = torch.full((1, layout.size), value, requires_grad=True)
    code = read_code(raw, layout, image_size=S)
    limit = read_code(torch.full((1, layout.size), math.copysign(LIMIT, value)), layout, image_size=S)
    total = 0
    for field in dataclasses.fields(code):
        part = getattr(code, field.name)
        if isinstance(part, torch.Tensor):
            assert part.isfinite().all(), field.name
            torch.testing.assert_close(part, getattr(limit, field.name))
            total = total + part.sum()
    total.backward()
    assert raw.grad.isfinite().all()


def test_reading_is_differentiable(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    raw = random_raw(layout, 2).requires_grad_()

    def numbers(raw):
        code = read_code(raw, layout, image_size=S)
        return tuple(part for part in (code.identity, code.expression, code.albedo, code.rotation, code.translation, code.scale,
                                       code.illumination) if part is not None)

    assert torch.autograd.gradcheck(numbers, (raw,))


def test_a_pinholes_pose_agrees_with_it_at_the_anchors_depth(model):
    layout = CodeLayout.of(model, camera="perspective")
    code = read_code(random_raw(layout), layout, image_size=S)
    plane = torch.cat([50 * torch.randn(3, 30, 2, dtype=torch.float64), torch.zeros(3, 30, 1, dtype=torch.float64)], -1)
    points = torch.tensor(layout.anchor, dtype=torch.float64) + plane @ code.rotation
    torch.testing.assert_close(code.poses().project(points)[..., :2], code.camera.project(points)[..., :2])


def test_resizing_the_crop_moves_what_is_drawn(model, camera):
    layout = CodeLayout.of(model, camera=camera)
    code = read_code(random_raw(layout), layout, image_size=S)
    points = model.double().mean.expand(3, -1, -1)
    before, after = code.camera.project(points)[..., :2], code.resized(1.5).camera.project(points)[..., :2]
    torch.testing.assert_close(after, (before + 0.5) * 1.5 - 0.5)
    # The same raw numbers at another size mean the same picture.
    other = read_code(random_raw(layout), layout, image_size=96).camera.project(points)[..., :2]
    torch.testing.assert_close(after, other)


def test_parts_of_a_batch_and_values_of_one_face(model):
    layout = CodeLayout.of(model, counts=(2, 3, 1))
    code = read_code(random_raw(layout, 4, dtype=torch.float32).requires_grad_(), layout, image_size=S)
    assert len(code[1:3]) == 2
    torch.testing.assert_close(code[1:3].rotation, code.rotation[1:3])
    face = code.parameters(2, model)
    assert isinstance(face.pose, ScaledOrthographicPose) and not face.identity.requires_grad
    torch.testing.assert_close(face.identity, torch.cat([code.identity[2].detach(), torch.zeros(2)]))
    torch.testing.assert_close(face.albedo[:1], code.albedo[2].detach())
    assert face.albedo.shape == (2,)
    assert code.to(torch.float64).scale.dtype == torch.float64 and not code.detach().rotation.requires_grad


def test_wrong_shapes_are_refused(model, layout):
    with pytest.raises(ArgumentError) as caught:
        read_code(torch.zeros(2, layout.size + 1), layout, image_size=S)
    assert caught.value.code == "shape_invalid"
    code = read_code(torch.zeros(2, layout.size), layout, image_size=S)
    with pytest.raises(ArgumentError):
        write_code(code, CodeLayout.of(model, camera="perspective"), image_size=S)
    with pytest.raises(ArgumentError):
        write_code(code, CodeLayout.of(model, counts=(2, 3, 1)), image_size=S)
    with pytest.raises(ArgumentError):
        dataclasses.replace(code, scale=None)
    with pytest.raises(ArgumentError):
        dataclasses.replace(code, rotation=torch.zeros(2, 3, 2))
