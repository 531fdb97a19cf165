"""The back ends agree with each other and with brute force, and closed surfaces have no holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.geometry import PerspectiveCamera, rotvec_to_matrix
from facerecon.render import rasterize

SIZE = (90, 120)


def on_screen(vertices: torch.Tensor, perspective: bool) -> torch.Tensor:
    if not perspective:
        return (vertices * 43 + torch.tensor([60.23, 44.71, 0.0])).float()
    camera = PerspectiveCamera(torch.tensor(130.0), torch.tensor([60.23, 44.71]), torch.eye(3), torch.tensor([0.0, 0, 3.2]))
    return camera.project(vertices.float())


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("cull_back", [False, True])
def test_three_back_ends_agree(closed_mesh, perspective, cull_back):
    vertices, faces = closed_mesh
    screen = on_screen(vertices, perspective)
    found = {name: rasterize(screen, faces, SIZE, backend=name, perspective=perspective, cull_back=cull_back)
             for name in ("reference", "numba", "pytorch3d")}
    truth = found.pop("reference")
    assert 0.2 < truth.mask.float().mean() < 0.9
    for name, other in found.items():
        same = other.face_index == truth.face_index
        assert same.float().mean() >= 0.9999, name
        assert (other.barycentric - truth.barycentric)[same].abs().max() < 1e-5, name
        assert (other.depth - truth.depth)[same].abs().max() < 1e-5 * truth.depth.abs().max(), name
    assert torch.equal(found["numba"].face_index, truth.face_index)


def brute_force(screen: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Face by face, pixel by pixel, as a textbook has it: barycentrics by solving a linear system."""
    index = np.full(size, -1)
    nearest = np.full(size, np.inf)
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    for name, face in enumerate(faces):
        a, b, c = screen[face]
        system = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]], dtype=np.float64)
        if abs(np.linalg.det(system)) < 1e-12:
            continue
        weights = np.linalg.solve(system, pixels)
        depth = (weights * np.array([a[2], b[2], c[2]])[:, None]).sum(0)
        closer = ((weights > 0).all(0) & (depth < nearest.ravel())).reshape(size)
        index[closer] = name
        nearest[closer] = depth.reshape(size)[closer]
    return index


def test_face_indices_equal_brute_force(closed_mesh):
    vertices, faces = closed_mesh
    screen = on_screen(vertices, False)
    expected = brute_force(screen.double().numpy(), faces.numpy(), SIZE)
    for backend in ("reference", "numba"):
        found = rasterize(screen, faces, SIZE, backend=backend).face_index[0].numpy()
        assert (found == expected).mean() >= 0.9999


def grid(cells: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A plane of cells x cells quads of about 0.8 px, each vertex displaced, cut along changing diagonals."""
    y, x = torch.meshgrid(torch.arange(cells + 1.0), torch.arange(cells + 1.0), indexing="ij")
    points = torch.stack([x, y, torch.zeros_like(x)], -1)
    points = points + 0.3 * torch.rand(points.shape, generator=generator)
    index = torch.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    turn = (torch.rand(len(a), generator=generator) < 0.5)[:, None]
    first = torch.where(turn, torch.stack([a, c, b], -1), torch.stack([a, d, b], -1))
    second = torch.where(turn, torch.stack([b, c, d], -1), torch.stack([a, c, d], -1))
    return 0.8 * points.reshape(-1, 3) - 3, torch.cat([first, second])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_holes_over_a_thousand_shifts_and_one_owner_each(dtype):
    generator = torch.Generator().manual_seed(0)
    points, faces = grid(50, generator)
    shifts = torch.rand(1000, 1, 3, generator=generator, dtype=torch.float64)
    # Every eighth shift is a multiple of 1/8, so that many edges run exactly through pixel centres.
    shifts[::8] = (shifts[::8] * 8).round() / 8
    points[::3] = (points[::3] * 8).round() / 8
    screens = (points + shifts).to(dtype)
    half = torch.rand(len(faces), generator=generator) < 0.5
    for part in screens.split(100):
        assert rasterize(part, faces, (32, 32), backend="numba").mask.all()
        # Each pixel is covered by the one half of the faces or by the other, never by both: no pixel has two owners.
        one = rasterize(part, faces[half], (32, 32), backend="numba").mask
        other = rasterize(part, faces[~half], (32, 32), backend="numba").mask
        assert (one ^ other).all()


def test_no_holes_inside_a_closed_surface(closed_mesh):
    vertices, faces = closed_mesh
    generator = torch.Generator().manual_seed(1)
    turns = rotvec_to_matrix(torch.randn(40, 3, generator=generator, dtype=torch.float64))
    shifts = torch.tensor([64.0, 64, 0]) + torch.rand(40, 1, 3, generator=generator)
    screens = ((vertices * 55) @ turns.mT + shifts).float()
    both = rasterize(screens, faces, (128, 128), backend="numba")
    front = rasterize(screens, faces, (128, 128), backend="numba", cull_back=True)
    back = rasterize(screens, faces.flip(1), (128, 128), backend="numba", cull_back=True)
    # Through a closed surface every ray that enters also leaves: fronts and backs cover the same pixels.
    assert torch.equal(front.mask, back.mask) and torch.equal(front.mask, both.mask)
    assert torch.equal(front.face_index, both.face_index), "the nearest face of a closed surface faces the camera"


def test_the_open_head_if_it_is_there():
    """Agreement on the real thing; the synthetic meshes above stand for it where no model has been built."""
    import facerecon
    from facerecon.errors import ModelError
    from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw

    try:
        model = facerecon.load_model("open")
    except ModelError as error:
        assert error.code == "model_missing"
        return
    pose = ScaledOrthographicPose(euler_deg_to_matrix_aflw(4.0, 12.0, 3.0), torch.tensor([47.1, 47.3]), torch.tensor(0.34))
    screen = pose.project(model.mean)
    fast = rasterize(screen, model.faces, (96, 96), backend="numba")
    slow = rasterize(screen, model.faces, (96, 96), backend="reference")
    assert (fast.face_index == slow.face_index).float().mean() >= 0.9999
    assert 0.2 < fast.mask.float().mean() < 0.9
