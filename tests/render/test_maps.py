"""PNCC, depth, normals, and laying renders over photos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.geometry import ScaledOrthographicPose, vertex_normals
from facerecon.render import (
    antialias,
    compose_over,
    interpolate,
    normals_to_rgb,
    rasterize,
    render_attributes,
    render_depth,
    render_normals,
    render_pncc,
)

ROOT = Path(__file__).resolve().parents[2]
SQUARE = torch.tensor([[-0.5, -0.5, 7.0], [3.5, -0.5, 7.0], [3.5, 3.5, 11.0], [-0.5, 3.5, 11.0]])
FACES = torch.tensor([[0, 3, 1], [1, 3, 2]])


def test_attributes_linear_on_the_screen_come_out_linear():
    # Attributes equal to the position: each covered pixel must read its own coordinates.
    image, fragments = render_attributes(SQUARE, FACES, SQUARE[:, :2].contiguous(), (5, 6))
    assert torch.equal(fragments.mask[0], torch.tensor([[y < 4 and x < 4 for x in range(6)] for y in range(5)]))
    for y in range(4):
        for x in range(4):
            assert image[0, y, x].tolist() == pytest.approx([x, y], abs=1e-6)
    assert not image[0, 4].any() and not image[0, :, 4:].any()


def test_depth_and_its_invalid_value():
    depth = render_depth(SQUARE, FACES, (5, 6))
    assert depth[0, 2, 1].item() == pytest.approx(7 + 4 * 2.5 / 4)
    assert depth[0, 4].isnan().all() and depth[0, :, 4:].isnan().all()
    assert render_depth(SQUARE, FACES, (5, 6), invalid=0.0)[0, 4].tolist() == [0.0] * 6


def test_pncc_is_the_code_of_the_visible_vertex(small_sphere):
    vertices, faces = small_sphere
    low, high = vertices.amin(0), vertices.amax(0)
    code = (vertices - low) / (high - low)
    pose = ScaledOrthographicPose.frontal(scale=20.0, translation=(25.2, 24.7), dtype=torch.float64)
    pncc = render_pncc(pose.project(vertices), faces, code, (50, 52))[0]
    assert pncc.shape == (50, 52, 3) and pncc.min() >= 0 and pncc.max() <= 1
    assert not pncc[0].any(), "background is 0"
    # Red grows to the right, green upwards, and the visible half is the one toward the viewer (blue above one half).
    assert pncc[25, 40, 0] > pncc[25, 10, 0] and pncc[10, 25, 1] > pncc[40, 25, 1]
    seen = pncc.any(-1)
    assert pncc[seen][:, 2].median() > 0.6
    # The code and the position are the same thing here, so the code at a pixel gives the pixel back.
    model = pncc * (high - low) + low
    assert model[20, 30, 0].item() * 20 + 25.2 == pytest.approx(30, abs=1e-9)


def test_normals_look_at_the_viewer_and_are_unit(closed_mesh):
    vertices, faces = closed_mesh
    pose = ScaledOrthographicPose.frontal(scale=25.0, translation=(31.2, 31.7), dtype=torch.float64)
    normals = render_normals(pose.project(vertices), faces, pose.light_frame(vertex_normals(vertices, faces)), (64, 64))
    seen = (normals != 0).any(-1)
    assert (normals.norm(dim=-1)[seen] - 1).abs().max() < 1e-12
    assert normals[seen][:, 2].mean() > 0.4
    colours = normals_to_rgb(normals)
    assert colours.min() >= 0 and colours.max() <= 1 and not colours[~seen].any()


def test_texture_coordinates_may_have_their_own_faces():
    uv = torch.tensor([[0.0, 0], [0, 1], [1, 0], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75]])
    fragments = rasterize(SQUARE, FACES, (4, 4))
    image = interpolate(fragments, uv, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    assert image[0, 0, 0].tolist() == pytest.approx([0.125, 0.125]), "an eighth of the way along both sides"
    assert image[0, 3, 3].min() > 0.25


def test_interpolation_arguments_are_checked():
    fragments = rasterize(SQUARE, FACES, (4, 4))
    for attributes, faces in ((torch.zeros(3, 2), FACES), (torch.zeros(4, 2), FACES - 5), (torch.zeros(4, 2), FACES[:1])):
        with pytest.raises(ArgumentError, match="faces"):
            interpolate(fragments, attributes, faces)
    with pytest.raises(ArgumentError, match="attributes"):
        interpolate(fragments, torch.zeros(2, 4, 2), FACES)
    with pytest.raises(ArgumentError, match="float"):
        interpolate(fragments, torch.zeros(4, 2, dtype=torch.long), FACES)
    assert interpolate(rasterize(torch.zeros(0, 4, 3), FACES, (4, 5)), torch.zeros(0, 4, 2), FACES).shape == (0, 4, 5, 2)


def test_half_precision_attributes_work():
    fragments = rasterize(SQUARE, FACES, (4, 4))
    assert interpolate(fragments, torch.ones(4, 2, dtype=torch.bfloat16), FACES).float().sum() == 32


def test_compose_over():
    photo, render = torch.full((2, 3, 3), 0.2), torch.full((2, 3, 3), 0.8)
    mask = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    mixed = compose_over(photo, render, mask)
    assert mixed[0, :, 0].tolist() == pytest.approx([0.8, 0.5, 0.2]) and (mixed[1] == 0.2).all()
    assert compose_over(photo, render, mask > 0, opacity=0.5)[0, 0, 0].item() == pytest.approx(0.5)
    spoiled = torch.where((mask > 0)[..., None], render, torch.nan)
    assert torch.equal(compose_over(photo, spoiled, mask), mixed), "what lies outside the mask does not matter"
    with pytest.raises(ArgumentError, match="mask"):
        compose_over(photo, render, mask.T)
    with pytest.raises(ArgumentError, match="opacity"):
        compose_over(photo, render, mask, opacity=2)


def test_antialias_averages_the_covered_part():
    image = torch.zeros(1, 2, 4, 1)
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    image[0, 0, :2, 0], mask[0, 0, :2] = torch.tensor([0.2, 0.6]), True
    small, share = antialias(image, mask, 2)
    assert small.shape == (1, 1, 2, 1) and small[0, 0, 0, 0].item() == pytest.approx(0.4) and small[0, 0, 1, 0] == 0
    assert share[0, 0].tolist() == [0.5, 0.0]
    with pytest.raises(ArgumentError, match="divides"):
        antialias(image, mask, 3)


def test_importing_the_packages_loads_no_heavy_library():
    code = "import sys, facerecon.render, facerecon.geometry; sys.exit(any(m in sys.modules for m in ('torch', 'numba')))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


def test_every_public_name_can_be_had():
    from facerecon import geometry, render

    for package in (geometry, render):
        for name in package.__all__:
            assert callable(getattr(package, name)), name
        with pytest.raises(AttributeError):
            package.nothing  # noqa: B018
