"""Vertex normals against hand values, plain autograd and degenerate meshes."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.geometry import face_normals, vertex_normals

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


@pytest.fixture
def mesh() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 12, 3, generator=generator, dtype=torch.float64), torch.randint(0, 12, (30, 3), generator=generator)


def plain(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    sums = torch.zeros_like(vertices)
    for corner in range(3):
        sums = sums.index_add(-2, faces[:, corner], face_normals(vertices, faces))
    return sums / sums.norm(dim=-1, keepdim=True)


def test_a_square_by_hand():
    # Counter-clockwise in the x-y plane, seen from +z: the normal is +z, toward the viewer.
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]])
    normals = vertex_normals(square, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert normals[:4].tolist() == [[0.0, 0.0, 1.0]] * 4
    assert normals[4].tolist() == [0.0, 0.0, 0.0], "a vertex without faces"


def test_normals_of_a_closed_solid_point_out():
    corners = torch.tensor([[1.0, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    normals = vertex_normals(corners, TETRAHEDRON[:, [0, 2, 1]])
    expected = torch.nn.functional.normalize(corners, dim=-1)
    assert torch.allclose(normals, expected) or torch.allclose(normals, -expected)
    volume = torch.linalg.det(corners[TETRAHEDRON[:, [0, 2, 1]]]).sum()
    assert torch.allclose(normals, expected * volume.sign()), "out exactly when the winding encloses a positive volume"


def test_values_and_gradients_equal_the_plain_version(mesh):
    vertices, faces = mesh
    weight = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for function in (vertex_normals, plain):
        leaf = vertices.clone().requires_grad_()
        normals = function(leaf, faces)
        (normals * weight).sum().backward()
        gradients.append(leaf.grad)
    assert (vertex_normals(vertices, faces) - plain(vertices, faces)).abs().max() < 1e-13
    assert (gradients[0] - gradients[1]).abs().max() < 1e-11
    single = vertex_normals(vertices[1], faces.int())
    assert torch.equal(single, vertex_normals(vertices, faces)[1])


def test_gradcheck(mesh):
    vertices, faces = mesh
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), vertices.requires_grad_())


def test_float32_is_near_float64(mesh):
    vertices, faces = mesh
    weight = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = vertices.to(dtype).requires_grad_()
        (vertex_normals(leaf, faces) * weight.to(dtype)).sum().backward()
        found.append(leaf.grad.double())
    assert (found[0] - found[1]).norm() < 1e-3 * found[1].norm()


def test_degenerate_faces_give_finite_gradients():
    vertices = torch.zeros(3, 3, requires_grad=True)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    normals.sum().backward()
    assert not normals.any() and vertices.grad.isfinite().all()


def test_empty_meshes():
    assert vertex_normals(torch.zeros(0, 5, 3), TETRAHEDRON).shape == (0, 5, 3)
    assert not vertex_normals(torch.ones(5, 3), torch.zeros(0, 3, dtype=torch.long)).any()


def test_bad_arguments_are_refused():
    for faces in (torch.tensor([[0, 1, 4]]), torch.tensor([[0, -1, 2]])):
        with pytest.raises(ArgumentError, match="indices"):
            vertex_normals(torch.zeros(4, 3), faces)
    with pytest.raises(ArgumentError, match="float32"):
        vertex_normals(torch.zeros(4, 3, dtype=torch.float16), TETRAHEDRON)
    with pytest.raises(ArgumentError, match="integers"):
        vertex_normals(torch.zeros(4, 3), TETRAHEDRON.float())
