"""The rasteriser's contract, back end by back end, on cases that can be done by hand."""

from __future__ import annotations

import sys

import pytest
import torch

from facerecon.errors import ArgumentError, BackendError
from facerecon.render import count_dropped, rasterize

BACKENDS = ["reference", "numba", "pytorch3d"]
ONE = torch.tensor([[0, 1, 2]])


def triangle(*points: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(points, dtype=torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
class TestEveryBackend:
    def test_one_triangle_by_hand(self, backend):
        # Right angle at (0.4, 0.4), legs of 4 px: the pixel centres inside satisfy x, y > 0.4 and x + y < 4.8.
        corners = triangle((0.5, 0.5, 10), (4.5, 0.5, 14), (0.5, 4.5, 18)) - torch.tensor([0.1, 0.1, 0])
        found = rasterize(corners, ONE, (6, 7), backend=backend)
        inside = torch.tensor([[1 <= x and 1 <= y and x + y < 4.8 for x in range(7)] for y in range(6)])
        assert torch.equal(found.mask[0], inside)
        assert found.face_index.dtype == torch.int64 and found.face_index.shape == (1, 6, 7)
        weights = torch.tensor([0.45, 0.15, 0.4])  # at pixel (1, 2): (1 - .4) / 4 and (2 - .4) / 4
        assert torch.allclose(found.barycentric[0, 2, 1], weights, atol=1e-6)
        assert found.depth[0, 2, 1].item() == pytest.approx(0.45 * 10 + 0.15 * 14 + 0.4 * 18, rel=1e-6)
        assert (found.face_index[~found.mask] == -1).all()
        assert not found.barycentric[~found.mask].any() and not found.depth[~found.mask].any()

    def test_perspective_by_hand(self, backend):
        # Half-way on the screen between depths 1 and 3 lies the point with weights 3/4, 1/4, at depth 1.5.
        corners = triangle((0.1, -0.9, 1), (4.1, -0.9, 3), (2.1, 8.0, 2))
        flat = rasterize(corners, ONE, (8, 8), backend=backend)
        deep = rasterize(corners, ONE, (8, 8), backend=backend, perspective=True)
        w = flat.barycentric[0, 2, 2].double()
        z = corners[:, 2].double()
        assert deep.depth[0, 2, 2].item() == pytest.approx(1 / float((w / z).sum()), rel=1e-5)
        assert torch.allclose(deep.barycentric[0, 2, 2].double(), (w / z) / (w / z).sum(), atol=1e-6)
        # A wall between the true depth (1.6) and the one that is linear on the screen (2.0) is hidden at that pixel.
        assert 1.5 < deep.depth[0, 2, 2] < 1.7 and 1.9 < flat.depth[0, 2, 2] < 2.1
        wall = triangle((-9.3, -9.1, 1.8), (-9.2, 99.3, 1.8), (99.1, -9.4, 1.8))
        scene = torch.cat([wall, corners]), torch.tensor([[0, 1, 2], [3, 4, 5]]), (8, 8)
        assert rasterize(*scene, backend=backend, perspective=True).face_index[0, 2, 2] == 1
        assert rasterize(*scene, backend=backend).face_index[0, 2, 2] == 0

    def test_nearest_face_wins(self, backend):
        far, near = (((-1.3, -1.2, z), (20.1, -1.1, z), (-1.4, 20.3, z)) for z in (9.0, 2.0))
        corners = triangle(*far, *near)
        faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
        assert (rasterize(corners, faces, (5, 5), backend=backend).face_index == 1).all()
        assert (rasterize(corners, faces.flip(0), (5, 5), backend=backend).face_index == 0).all()
        below_zero = corners - torch.tensor([0.0, 0, 50])
        assert (rasterize(below_zero, faces, (5, 5), backend=backend).face_index == 1).all()

    def test_both_windings_unless_culled(self, backend):
        # Down then right: counter-clockwise on a screen with y down.
        corners = triangle((-1.3, -1.2, 1), (-1.4, 20.3, 1), (20.1, -1.1, 1))
        for faces, culled in ((ONE, 0), (ONE.flip(1), -1)):
            assert (rasterize(corners, faces, (4, 4), backend=backend).face_index == 0).all()
            assert (rasterize(corners, faces, (4, 4), backend=backend, cull_back=True).face_index == culled).all()

    def test_batch_shares_faces_but_not_pictures(self, backend):
        corners = triangle((-1.3, -1.2, 1), (-1.4, 20.3, 1), (20.1, -1.1, 1))
        batch = torch.stack([corners, corners + 100, corners + torch.tensor([2.0, 0, 0])])
        found = rasterize(batch, ONE, (4, 6), backend=backend)
        assert found.face_index.shape == (3, 4, 6)
        assert found.mask[0].all() and not found.mask[1].any()
        assert found.mask[2].sum() < found.mask[0].sum()
        for b in range(3):
            assert torch.equal(rasterize(batch[b], ONE, (4, 6), backend=backend).face_index[0], found.face_index[b])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_dtype_is_kept(self, backend, dtype):
        found = rasterize(triangle((0, 0, 1), (5, 0, 1), (0, 5, 1)).to(dtype), ONE.int(), (4, 4), backend=backend)
        assert found.barycentric.dtype == dtype and found.depth.dtype == dtype

    def test_empty_inputs_have_defined_results(self, backend):
        none = torch.zeros(0, 3, dtype=torch.long)
        cases = (torch.zeros(5, 3), none, 1), (torch.zeros(2, 0, 3), none, 2), (torch.zeros(0, 5, 3), ONE, 0)
        for vertices, faces, batch in cases:
            found = rasterize(vertices, faces, (3, 4), backend=backend)
            assert found.face_index.shape == (batch, 3, 4) and not found.mask.any()
            assert found.barycentric.shape == (batch, 3, 4, 3) and not found.barycentric.any() and not found.depth.any()

    def test_one_pixel(self, backend):
        corners = triangle((-1.3, -1.2, 1), (-1.4, 9.3, 1), (9.1, -1.1, 1))
        assert rasterize(corners, ONE, (1, 1), backend=backend).face_index.tolist() == [[[0]]]

    def test_bad_triangles_are_dropped_and_counted(self, backend):
        nan, inf = float("nan"), float("inf")
        good = ((-1.3, -1.2, 5), (-1.4, 20.3, 5), (20.1, -1.1, 5))
        nonfinite = [(first, (9, 0, 1), (0, 9, 1)) for first in ((nan, 0, 1), (0, 0, nan), (0, inf, 1))]
        flat = [((2, 2, 1), (2, 2, 1), (2, 2, 1)), ((0, 0, 1), (4, 4, 1), (8, 8, 1)), ((2, 2, 1), (2, 2, 2), (7, 3, 1))]
        bad = [*nonfinite, ((1e30, 0, 1), (-1e30, 9, 1), (0, 9e30, 1)), *flat]
        corners = torch.cat([triangle(*good), *(triangle(*points) for points in bad)]).requires_grad_()
        faces = torch.arange(len(corners)).reshape(-1, 3).flip(0)
        found = rasterize(corners, faces, (5, 5), backend=backend)
        assert (found.face_index == len(bad)).all() and found.barycentric.isfinite().all()
        (found.barycentric * torch.rand(5, 5, 3)).sum().backward()
        assert corners.grad.isfinite().all()
        assert [int(n) for n in count_dropped(corners, faces)] == [3, 1, 0, 3]

    def test_faces_behind_a_pinhole_are_dropped(self, backend):
        wall = triangle((-9, -9, 1), (-9, 99, 1), (99, -9, 1))
        crossing = wall + torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 0, -3]])
        faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
        scene = torch.cat([crossing, wall + torch.tensor([0.0, 0, 4])])
        found = rasterize(scene, faces, (3, 3), backend=backend, perspective=True)
        assert (found.face_index == 1).all() and torch.allclose(found.depth, torch.tensor(5.0))
        assert count_dropped(torch.cat([crossing, wall]), faces, perspective=True).behind_camera.tolist() == [1]

    def test_indices_outside_the_vertices_are_refused(self, backend):
        for faces in (torch.tensor([[0, 1, 3]]), torch.tensor([[0, 1, 2], [0, -1, 2]]), torch.tensor([[0, 1, 2**40]])):
            with pytest.raises(ArgumentError, match="indices of the 3 vertices"):
                rasterize(torch.zeros(3, 3), faces, (4, 4), backend=backend)


def test_large_and_long_images():
    corners = triangle((-10, -10, 1), (-10, 9000, 1), (9000, -10, 1))
    for size in ((4096, 4096), (3, 20_000)):
        found = rasterize(corners, ONE, size)
        assert found.face_index.shape == (1, *size) and found.mask[0, 0, :4000].all()


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_pixels_on_edges_have_one_owner(backend):
    # A fan of four around a pixel centre, with edges through pixel centres in eight directions.
    corners = torch.tensor([[4.0, 4, 1], [0, 0, 1], [8, 0, 1], [8, 8, 1], [0, 8, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    owners = torch.zeros(9, 9, dtype=torch.long)
    for face in faces:
        for winding in (face, face.flip(0)):
            owners += rasterize(corners, winding[None], (9, 9), backend=backend).mask[0]
    expected = torch.zeros(9, 9, dtype=torch.long)
    expected[:8, :8] = 2  # both windings own the same pixels; the right and the bottom side belong to nobody here
    assert torch.equal(owners, expected)


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_equal_depth_goes_to_the_lower_face_index(backend):
    level = triangle((-1.3, -1.2, 1), (-1.4, 20.3, 1), (20.1, -1.1, 1))
    assert (rasterize(level, torch.tensor([[0, 1, 2], [0, 1, 2], [1, 2, 0]]), (5, 5), backend=backend).face_index == 0).all()
    sloped = level + torch.tensor([[0.0, 0, 0], [0, 0, 3], [0, 0, 7]])
    assert (rasterize(sloped, torch.tensor([[0, 1, 2], [0, 1, 2]]), (5, 5), backend=backend).face_index == 0).all()


def test_rows_split_over_threads_give_the_same_picture(closed_mesh, two_threads):
    vertices, faces = closed_mesh
    screen = (vertices * 95 + torch.tensor([100.2, 96.7, 0])).float()
    several = rasterize(screen, faces, (200, 210), backend="numba")
    torch.set_num_threads(1)
    single = rasterize(screen, faces, (200, 210), backend="numba")
    assert torch.equal(several.face_index, single.face_index)
    assert torch.equal(several.barycentric, single.barycentric) and torch.equal(several.depth, single.depth)


def test_part_of_the_image_is_the_image_of_the_part(closed_mesh):
    vertices, faces = closed_mesh
    screen = (vertices * 300 + torch.tensor([40.2, 30.7, 0])).float()
    whole = rasterize(screen + torch.tensor([256.0, 128, 0]), faces, (400, 600))
    part = rasterize(screen, faces, (80, 90))
    assert torch.equal(whole.face_index[:, 128:208, 256:346], part.face_index)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (5,), 5, (5.5, 5), (5, 40_000), None, (float("nan"), 5)])
def test_image_sizes_are_checked(size):
    with pytest.raises(ArgumentError, match="image_size"):
        rasterize(torch.zeros(3, 3), ONE, size)


def test_arguments_are_checked():
    for vertices, faces, code in ((torch.zeros(3, 2), ONE, "shape_invalid"), (torch.zeros(1, 1, 3, 3), ONE, "shape_invalid"),
                                  (torch.zeros(3, 3), torch.zeros(1, 4, dtype=torch.long), "shape_invalid"),
                                  (torch.zeros(3, 3, dtype=torch.float16), ONE, "dtype_invalid"),
                                  (torch.zeros(3, 3), ONE.float(), "dtype_invalid")):
        with pytest.raises(ArgumentError) as caught:
            rasterize(vertices, faces, (4, 4))
        assert caught.value.code == code
    with pytest.raises(ArgumentError, match="opengl"):
        rasterize(torch.zeros(3, 3), ONE, (4, 4), backend="opengl")


def test_a_missing_back_end_is_named_with_its_reason(monkeypatch):
    monkeypatch.delitem(sys.modules, "facerecon.render.pytorch3d_backend", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh", None)
    with pytest.raises(BackendError, match="pytorch3d") as caught:
        rasterize(torch.zeros(3, 3), ONE, (4, 4), backend="pytorch3d")
    assert caught.value.code == "backend_missing" and isinstance(caught.value.__cause__, ImportError)
    assert not rasterize(torch.zeros(3, 3), ONE, (4, 4)).mask.any(), "the CPU default does without it"
