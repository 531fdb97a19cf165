"""Gradients: numerical checks in float64, agreement of the back ends, finiteness, and fits that must converge."""

from __future__ import annotations

import pytest
import torch

from facerecon.geometry import PerspectiveCamera, ScaledOrthographicPose, rotvec_to_matrix
from facerecon.render import interpolate, rasterize, render_colour, render_depth, render_normals
from facerecon.render.interpolation import _blend_plain

F64 = torch.float64
BACKENDS = ["reference", "numba", "pytorch3d"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def screen_of(vertices: torch.Tensor, perspective: bool) -> torch.Tensor:
    if perspective:
        depth = 4 + vertices[:, 2:]
        return torch.cat([vertices[:, :2] * 18 / depth + torch.tensor([6.13, 5.29], dtype=F64), depth], 1)
    return vertices * 4.3 + torch.tensor([6.13, 5.29, 0], dtype=F64)


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck_of_barycentrics_and_depth(small_sphere, backend, perspective):
    vertices, faces = small_sphere
    screen = screen_of(vertices, perspective).requires_grad_()

    def function(points):
        found = rasterize(points, faces, (11, 13), backend=backend, perspective=perspective)
        return found.barycentric, found.depth

    assert rasterize(screen, faces, (11, 13), backend=backend, perspective=perspective).mask.sum() > 30
    assert torch.autograd.gradcheck(function, screen)


@pytest.mark.parametrize("shared", [False, True])
def test_gradcheck_of_interpolation(small_sphere, shared):
    vertices, faces = small_sphere
    screens = torch.stack([screen_of(vertices, False), screen_of(vertices.flip(1), False)])
    fragments = rasterize(screens, faces, (11, 13))
    attributes = torch.rand(*(() if shared else (2,)), len(vertices), 2, generator=generator(), dtype=F64).requires_grad_()
    barycentric = fragments.barycentric.clone().requires_grad_()

    def function(weights, values):
        return interpolate(type(fragments)(fragments.face_index, weights, fragments.depth), values, faces)

    assert torch.autograd.gradcheck(function, (barycentric, attributes))


def test_fast_interpolation_equals_the_plain_one(closed_mesh):
    vertices, faces = closed_mesh
    fragments = rasterize((vertices * 30 + torch.tensor([40.3, 35.2, 0])).repeat(2, 1, 1), faces, (70, 80))
    attributes = torch.rand(2, len(vertices), 4, generator=generator(), dtype=F64)
    weight = torch.rand(2, 70, 80, 4, generator=generator(1), dtype=F64)
    found = []
    for function in (lambda w, a: interpolate(type(fragments)(fragments.face_index, w, fragments.depth), a, faces),
                     lambda w, a: _blend_plain(fragments.face_index, w, a, faces)):
        leaves = fragments.barycentric.clone().requires_grad_(), attributes.clone().requires_grad_()
        image = function(*leaves)
        (image * weight).sum().backward()
        found.append((image.detach(), *(leaf.grad for leaf in leaves)))
    for fast, plain in zip(*found):
        assert (fast - plain).abs().max() < 1e-12


@pytest.mark.parametrize("perspective", [False, True])
def test_image_loss_gradients_agree_between_back_ends(closed_mesh, perspective):
    vertices, faces = closed_mesh
    scale, shift = torch.tensor([43.0, 43, 43]), torch.tensor([60.23, 44.71, 150])
    colours = torch.rand(len(vertices), 3, generator=generator(), dtype=F64)
    target = torch.rand(90, 120, 3, generator=generator(1), dtype=F64)
    gradients = {}
    for backend in BACKENDS:
        leaf = (vertices.float() * scale + shift).requires_grad_()
        fragments = rasterize(leaf, faces, (90, 120), backend=backend, perspective=perspective)
        image = interpolate(fragments, colours.float(), faces)
        ((image - target.float()).square().sum() + 0.01 * fragments.depth.sum()).backward()
        gradients[backend] = leaf.grad
    for backend in ("reference", "pytorch3d"):
        difference = (gradients[backend] - gradients["numba"]).norm() / gradients[backend].norm()
        assert difference < 1e-4, backend


@pytest.mark.parametrize("perspective", [False, True])
def test_gradients_agree_with_those_that_pytorch3d_computes_itself(small_sphere, perspective):
    from pytorch3d.renderer.mesh import rasterize_meshes
    from pytorch3d.structures import Meshes

    vertices, faces = small_sphere
    weight = torch.rand(1, 60, 80, 3, generator=generator(), dtype=torch.float32)
    start = (screen_of(vertices, perspective) * torch.tensor([6.0, 6, 1])).float()
    ours = start.clone().requires_grad_()
    found = rasterize(ours, faces, (60, 80), backend="numba", perspective=perspective)
    (found.barycentric * weight).sum().backward()
    theirs = start.clone().requires_grad_()
    x, y, z = theirs.unbind(-1)
    ndc = torch.stack([(79 - 2 * x) / 60, (59 - 2 * y) / 60, z if perspective else z - z.detach().min() + 1], -1)
    index, _, barycentric, _ = rasterize_meshes(Meshes(verts=[ndc], faces=[faces]), image_size=(60, 80), blur_radius=0.0,
                                                faces_per_pixel=1, bin_size=0, perspective_correct=perspective)
    assert torch.equal(index[..., 0], found.face_index)
    (barycentric[..., 0, :] * weight * found.mask[..., None]).sum().backward()
    assert (ours.grad - theirs.grad).norm() < 1e-3 * theirs.grad.norm()


@pytest.mark.parametrize("shading", ["vertex", "pixel"])
@pytest.mark.parametrize("kind", ["orthographic", "perspective"])
def test_gradcheck_of_the_whole_render(small_sphere, shading, kind):
    vertices, faces = small_sphere
    albedo = torch.rand(len(vertices), 3, generator=generator(), dtype=F64)
    light = torch.rand(9, 3, generator=generator(1), dtype=F64)
    turn = torch.tensor([3.0, 0.2, -0.3], dtype=F64)
    if kind == "orthographic":
        rest = (torch.tensor([5.13, 4.29], dtype=F64), torch.tensor(3.3, dtype=F64))

        def camera(rotation, translation, scale):
            return ScaledOrthographicPose(rotation, translation, scale)
    else:
        rest = (torch.tensor([0.1, -0.1, 4.0], dtype=F64), torch.tensor(13.0, dtype=F64))

        def camera(rotation, translation, focal):
            return PerspectiveCamera(focal, torch.tensor([5.13, 4.29], dtype=F64), rotation, translation)

    def picture(points, reflectance, gamma, rotvec, *parts):
        view = camera(rotvec_to_matrix(rotvec), *parts)
        return render_colour(points, faces, reflectance, gamma, view, (9, 11), shading=shading).image

    leaves = [leaf.clone().requires_grad_() for leaf in (vertices, albedo, light, turn, *rest)]
    assert (picture(*leaves) != 0).any(-1).sum() > 20
    assert torch.autograd.gradcheck(picture, leaves)


def test_gradients_of_maps(small_sphere):
    vertices, faces = small_sphere
    screen = screen_of(vertices, False).requires_grad_()
    normals = torch.randn(len(vertices), 3, generator=generator(), dtype=F64).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: render_depth(s, faces, (11, 13), invalid=0.0), screen)
    assert torch.autograd.gradcheck(lambda s, n: render_normals(s, faces, n, (11, 13)), (screen, normals))
    render_depth(screen, faces, (11, 13)).nansum().backward()
    assert screen.grad.isfinite().all()


def test_float32_gradients_are_near_float64(closed_mesh):
    vertices, faces = closed_mesh
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = (vertices * 43 + torch.tensor([60.23, 44.71, 0])).float().to(dtype).requires_grad_()
        light = torch.rand(9, 3, generator=generator(1)).to(dtype)
        albedo = torch.rand(len(vertices), 3, generator=generator()).to(dtype)
        pose = ScaledOrthographicPose(torch.eye(3, dtype=dtype), torch.zeros(2, dtype=dtype), torch.ones((), dtype=dtype))
        render_colour(leaf, faces, albedo, light, pose, (90, 120)).image.square().sum().backward()
        found.append(leaf.grad.double())
    assert (found[0] - found[1]).norm() < 1e-3 * found[1].norm()


def test_a_fit_of_light_pose_and_albedo_converges(closed_mesh):
    """The gradients lead somewhere: from a wrong pose, light and colour back to the picture."""
    vertices, faces = closed_mesh
    true_light = torch.zeros(9, 3)
    true_light[0], true_light[2], true_light[3] = 2.0, 0.8, torch.tensor([0.6, 0.2, -0.3])
    colours = 0.5 + 0.4 * torch.sin(3 * vertices.float())
    vertices = vertices.float()

    def picture(turn, translation, light):
        pose = ScaledOrthographicPose(rotvec_to_matrix(turn), translation, torch.tensor(26.0))
        return render_colour(vertices, faces, colours, light, pose, (64, 64))

    target = picture(torch.tensor([3.1, 0.0, 0.1]), torch.tensor([31.4, 31.8]), true_light)
    leaves = [torch.tensor([3.02, 0.06, 0.04]), torch.tensor([32.6, 30.9]), torch.full((9, 3), 0.1)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    optimiser = torch.optim.Adam([{"params": [leaves[0]], "lr": 0.01}, {"params": [leaves[1]], "lr": 0.1},
                                  {"params": [leaves[2]], "lr": 0.1}])
    for step in range(150):
        found = picture(*leaves)
        common = (found.mask & target.mask)[..., None]
        loss = ((found.image - target.image) * common).square().mean()
        if step == 0:
            start = loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-3 * start
    assert (leaves[1] - torch.tensor([31.4, 31.8])).norm() < 0.1


def test_reused_fragments_give_the_same_picture(closed_mesh):
    vertices, faces = closed_mesh
    pose = ScaledOrthographicPose.frontal(scale=30.0, translation=(40.2, 31.7), dtype=F64)
    albedo = torch.rand(len(vertices), 3, generator=generator(), dtype=F64)
    light = torch.rand(9, 3, generator=generator(1), dtype=F64)
    first = render_colour(vertices, faces, albedo, light, pose, (64, 80))
    again = render_colour(vertices, faces, albedo, light, pose, (64, 80), fragments=first.fragments)
    assert torch.equal(first.image, again.image)
