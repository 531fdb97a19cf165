"""Closed meshes in generic position."""

from __future__ import annotations

import pytest
import torch


def closed_surface(kind: str, rings: int, sides: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed grid of triangles, counter-clockwise from outside: a bumpy `sphere` or a `torus`, about 2 units wide."""
    around = torch.arange(sides, dtype=torch.float64) * (2 * torch.pi / sides)
    if kind == "torus":
        tube = (torch.arange(rings, dtype=torch.float64) * (2 * torch.pi / rings))[:, None]
        radius = 0.7 + 0.3 * tube.cos()
        vertices = torch.stack([radius * around.cos(), radius * around.sin(), (0.3 * tube.sin()).expand(rings, sides)], -1)
        index = torch.arange(rings * sides).reshape(rings, sides)
        a, b, c, d = index, index.roll(-1, 1), index.roll(-1, 0), index.roll((-1, -1), (0, 1))
        quads = [a, b, c, d]
        poles = []
    else:
        down = (torch.linspace(0, torch.pi, rings + 2, dtype=torch.float64)[1:-1])[:, None]
        radius = 1 + 0.1 * (5 * around).sin() * down.sin() ** 2
        flat = radius * down.sin()
        vertices = torch.stack([flat * around.sin(), radius * down.cos(), flat * around.cos()], -1)
        vertices = torch.cat([vertices.reshape(-1, 3), torch.tensor([[0.0, 1, 0], [0, -1, 0]], dtype=torch.float64)])
        index = torch.arange(rings * sides).reshape(rings, sides)
        following = index.roll(-1, 1)
        quads = [index[:-1], index[1:], following[:-1], following[1:]]
        north, south = torch.full((sides,), rings * sides), torch.full((sides,), rings * sides + 1)
        poles = [torch.stack([north, index[0], following[0]], -1), torch.stack([south, following[-1], index[-1]], -1)]
    a, b, c, d = (part.reshape(-1) for part in quads)
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([b, d, c], -1), *poles])
    return vertices.reshape(-1, 3), faces


@pytest.fixture(params=["sphere", "torus"])
def closed_mesh(request) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (V, 3) float64 about 2 wide, tilted so that nothing lies on a symmetry plane; and faces."""
    from facerecon.geometry import rotvec_to_matrix

    vertices, faces = closed_surface(request.param, 22, 40)
    return vertices @ rotvec_to_matrix(torch.tensor([0.4, -0.7, 0.2], dtype=torch.float64)), faces


@pytest.fixture
def small_sphere() -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere of 30 vertices in float64."""
    return closed_surface("sphere", 4, 7)
