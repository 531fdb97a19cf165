"""MorphableModel on a cube: linear algebra, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, ModelError
from facerecon.morphable import FaceParameters, MorphableModel, load_model


def draws(model: MorphableModel, batch: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dtype = model.mean.dtype
    return tuple(torch.randn(batch, size, generator=generator, dtype=dtype) for size in model.sizes)


def test_vertices_and_albedo_are_the_plain_sums(tiny):
    data = tiny.tiny_data()
    model = MorphableModel(data)
    identity, expression, albedo = draws(model, 4)
    vertices, colour = model.vertices(identity, expression), model.albedo(albedo)
    for row in range(4):
        shape = data.mean.copy()
        for mode in range(3):
            shape = shape + float(identity[row, mode]) * data.identity_basis[mode]
        for mode in range(2):
            shape = shape + float(expression[row, mode]) * data.expression_basis[mode]
        np.testing.assert_allclose(vertices[row].numpy(), shape, atol=2e-6)
        expected = data.albedo_mean + np.tensordot(albedo[row].numpy(), data.albedo_basis, 1)
        np.testing.assert_allclose(colour[row].numpy(), expected, atol=2e-6)
    np.testing.assert_array_equal(model.vertices(torch.zeros(3)).numpy(), data.mean)


def test_landmarks_equal_the_embedding_of_the_vertices(tiny):
    data = tiny.tiny_data()
    model = MorphableModel(data)
    identity, expression, _ = draws(model, 5)
    found = model.landmarks("three", identity, expression).numpy()
    vertices = model.vertices(identity, expression).numpy()
    for row in range(5):
        np.testing.assert_allclose(found[row], data.embeddings["three"].locate(vertices[row], data.faces), atol=2e-6)


def test_rows_equal_the_same_rows_of_the_vertices(tiny):
    model = MorphableModel(tiny.tiny_data())
    identity, expression, _ = draws(model, 2)
    rows = torch.tensor([5, 0, 5])
    expected = model.vertices(identity, expression)[:, rows]
    torch.testing.assert_close(model.rows(rows).points(identity, expression), expected)


def test_cached_landmark_basis_never_touches_the_full_basis(tiny):
    model = MorphableModel(tiny.tiny_data())
    identity, expression, _ = draws(model, 2)
    before = model.landmarks("three", identity, expression)
    model.identity_basis.fill_(float("nan"))
    torch.testing.assert_close(model.landmarks("three", identity, expression), before)
    assert model.landmark_basis("three") is model.landmark_basis("three")


def test_change_of_precision_renews_the_cache(tiny):
    model = MorphableModel(tiny.tiny_data())
    assert model.landmark_basis("three").mean.dtype == torch.float32
    model = model.double()
    assert model.landmark_basis("three").mean.dtype == torch.float64
    assert model.mean.dtype == torch.float64 and model.faces.dtype == torch.int64


def test_gradients(tiny):
    model = MorphableModel(tiny.as_dtype(tiny.tiny_data(), np.float64))
    identity, expression, albedo = (value.requires_grad_() for value in draws(model, 2))
    assert torch.autograd.gradcheck(model.vertices, (identity, expression))
    assert torch.autograd.gradcheck(model.albedo, (albedo,))
    assert torch.autograd.gradcheck(lambda a, e: model.landmarks("three", a, e), (identity, expression))


def test_code_spans_its_region(tiny):
    model = MorphableModel(tiny.tiny_data())
    inside = model.ncc[model.masks["pncc"]]
    assert inside.min(dim=0).values.tolist() == [0, 0, 0]
    assert inside.max(dim=0).values.tolist() == [1, 1, 1]
    # The cube's corners, by hand: vertex 1 is (1, -1, -1).
    assert model.ncc[1].tolist() == [1, 0, 0]


def test_expression_vector(tiny):
    model = MorphableModel(tiny.tiny_data())
    assert model.expression_vector({"shut": 0.25}).tolist() == [0, 0.25]
    with pytest.raises(ArgumentError, match="wanted one of 'open', 'shut', got 'jump'"):
        model.expression_vector({"jump": 1.0})


def test_arguments_are_checked(tiny):
    model = MorphableModel(tiny.tiny_data())
    with pytest.raises(ArgumentError, match="identity") as caught:
        model.vertices(torch.zeros(2, 4))
    assert caught.value.code == "shape_invalid"
    with pytest.raises(ArgumentError, match="coefficients") as caught:
        model.albedo(torch.zeros(2, 2, dtype=torch.float64))
    assert caught.value.code == "dtype_invalid"
    with pytest.raises(ArgumentError, match="wanted one of 'three', got 'ibug68'"):
        model.landmarks("ibug68", torch.zeros(3), torch.zeros(2))


def test_unknown_model_names(tmp_path):
    with pytest.raises(ModelError, match="'open' or the path") as caught:
        load_model("opne")
    assert caught.value.code == "model_missing"
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "none.facemodel")
    assert caught.value.code == "model_missing"


def test_face_parameters(tiny):
    from facerecon.geometry.cameras import ScaledOrthographicPose

    model = MorphableModel(tiny.tiny_data())
    parameters = FaceParameters.neutral(model, ScaledOrthographicPose.frontal(scale=2.0))
    assert [len(value) for value in (parameters.identity, parameters.expression, parameters.albedo)] == [3, 2, 2]
    moved = parameters.replace(identity=torch.ones(3))
    assert moved.identity.tolist() == [1, 1, 1] and parameters.identity.tolist() == [0, 0, 0]
    with pytest.raises(ArgumentError, match="illumination"):
        parameters.replace(illumination=torch.zeros(3, 9))
    with pytest.raises(ArgumentError, match="identity") as caught:
        parameters.replace(identity=torch.tensor([0.0, float("nan"), 0.0]))
    assert caught.value.code == "nonfinite"
