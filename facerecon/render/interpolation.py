"""Interpolation of vertex attributes at the visible points."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError
from facerecon.geometry.compiled import lazy_zeros, run_jobs
from facerecon.render.fragments import Fragments, bad_face_range, check_face_range


def interpolate(fragments: Fragments, attributes: Tensor, faces: Tensor) -> Tensor:
    """Blend the attributes of each visible face's corners by the barycentrics.

    Args:
        fragments: from `rasterize`, batch B.
        attributes: (B, V, C), or (V, C) shared by the batch; a float dtype (colours, normals, NCC, ...).
        faces: (F, 3), indices into the attributes: the faces given to `rasterize`, or as many with an index of their own
            (`uv_faces` for texture coordinates).

    Returns:
        (B, H, W, C) in the dtype of `attributes`; 0 in the background. Differentiable once in the attributes and, through
        the barycentrics, in the vertices.

    Raises:
        ArgumentError: `shape_invalid`, `dtype_invalid`, or `argument_invalid` for indices outside the attributes.
    """
    check_shape("faces", faces, (None, 3))
    batch = fragments.face_index.shape[0]
    if attributes.ndim == 2:
        check_shape("attributes", attributes, (None, None))
    else:
        check_shape("attributes", attributes, (batch, None, None))
    if not attributes.is_floating_point():
        raise ArgumentError(f"attributes: wanted a float dtype, got {attributes.dtype}", code="dtype_invalid")
    faces = faces.to(attributes.device)
    barycentric = fragments.barycentric.to(attributes.dtype)
    if attributes.device.type == "cpu" and attributes.dtype in (torch.float32, torch.float64):
        return _Blend.apply(fragments.face_index, barycentric, attributes, faces)
    return _blend_plain(fragments.face_index, barycentric, attributes, faces)


def _blend_plain(face_index: Tensor, barycentric: Tensor, attributes: Tensor, faces: Tensor) -> Tensor:
    """The same in plain torch: for CUDA, and the twin that the fast path is tested against."""
    batch, height, width = face_index.shape
    if attributes.ndim == 2:
        attributes = attributes.expand(batch, *attributes.shape)
    image, row, column = torch.nonzero(face_index >= 0, as_tuple=True)
    if len(image) and int(face_index.max()) >= len(faces):
        raise bad_face_range(attributes.shape[-2])
    corners = faces.long()[face_index[image, row, column]]
    check_face_range(corners, attributes.shape[-2])
    values = (barycentric[image, row, column][..., None] * attributes[image[:, None], corners]).sum(1)
    blank = attributes.new_zeros(batch, height, width, attributes.shape[-1])
    return blank.index_put((image, row, column), values)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, face_index, barycentric, attributes, faces):
        from facerecon.render import numba_loops as loops

        faces, attributes = faces.contiguous(), attributes.detach().contiguous()
        barycentric, face_index = barycentric.detach().contiguous(), face_index.contiguous()
        ctx.save_for_backward(face_index, barycentric, attributes, faces)
        batch, height, width = face_index.shape
        out = lazy_zeros((batch, height * width, attributes.shape[-1]), attributes.dtype)
        index, weights, values, result, shared = _views(face_index, barycentric, attributes, out, faces)
        jobs = [(loops.blend, (index[b], weights[b], shared, values[b], result[b])) for b in range(batch)]
        if not all(run_jobs(jobs)):
            raise bad_face_range(attributes.shape[-2])
        return out.view(batch, height, width, attributes.shape[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        from facerecon.render import numba_loops as loops

        face_index, barycentric, attributes, faces = ctx.saved_tensors
        batch = len(face_index)
        wanted = ctx.needs_input_grad[2]
        grad_barycentric = lazy_zeros(barycentric.shape, barycentric.dtype)
        # One buffer for each image even when attributes are shared: the images are worked on by different threads.
        shape = (batch, *attributes.shape[-2:]) if wanted else (batch, 0, attributes.shape[-1])
        grad_attributes = torch.zeros(shape, dtype=attributes.dtype)
        index, weights, values, given, shared = _views(face_index, barycentric, attributes, gradient.contiguous(), faces)
        for_weights = grad_barycentric.view(batch, index.shape[1], 3).numpy()
        for_values = grad_attributes.numpy()
        run_jobs([
            (loops.blend_gradient, (index[b], weights[b], shared, values[b], given[b], for_weights[b], for_values[b], wanted))
            for b in range(batch)
        ])
        if wanted and attributes.ndim == 2:
            grad_attributes = grad_attributes.sum(0)
        return None, grad_barycentric, grad_attributes if wanted else None, None


def _views(face_index: Tensor, barycentric: Tensor, attributes: Tensor, image: Tensor, faces: Tensor) -> tuple:
    batch = len(face_index)
    pixels = face_index[0].numel() if batch else 0
    values = attributes.numpy()
    return (
        face_index.view(batch, pixels).numpy(),
        barycentric.view(batch, pixels, 3).numpy(),
        [values] * batch if attributes.ndim == 2 else values,
        image.view(batch, pixels, attributes.shape[-1]).numpy(),
        faces.numpy(),
    )
