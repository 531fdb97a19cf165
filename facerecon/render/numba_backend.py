"""Back end `numba`: the z-buffer on CPU threads, with analytic gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.geometry.compiled import lazy_zeros, run_jobs, thread_count
from facerecon.render import numba_loops as loops
from facerecon.render.fragments import COORDINATE_LIMIT, NEAREST_DEPTH, Fragments, bad_face_range

# Below this many pixels a further thread costs more than it saves.
_PIXELS_PER_BAND = 16_384


def rasterize(vertices: Tensor, faces: Tensor, image_size: tuple[int, int], *, perspective: bool,
              cull_back: bool) -> Fragments:
    """See `facerecon.render.rasterize`; arguments are checked there."""
    return Fragments(*_Rasterize.apply(vertices, faces, image_size, perspective, cull_back))


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices, faces, image_size, perspective, cull_back):
        vertices, faces = vertices.detach().contiguous(), faces.contiguous()
        face_index, barycentric, depth = _draw(vertices, faces, image_size, perspective, cull_back)
        ctx.perspective = perspective
        ctx.save_for_backward(vertices, faces, face_index, barycentric)
        ctx.mark_non_differentiable(face_index)
        ctx.set_materialize_grads(False)
        return face_index, barycentric, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, _, grad_barycentric, grad_depth):
        vertices, faces, face_index, barycentric = ctx.saved_tensors
        if grad_barycentric is None and grad_depth is None:
            return None, None, None, None, None
        if grad_barycentric is None:
            grad_barycentric = torch.zeros_like(barycentric)
        if grad_depth is None:
            grad_depth = vertices.new_zeros(1).expand(face_index.shape)
        gradient = torch.zeros_like(vertices)
        shared = faces.numpy()
        parts = [part.detach().contiguous().numpy() for part in (vertices, face_index, barycentric, grad_barycentric)]
        given, out = grad_depth.detach().numpy(), gradient.numpy()
        run_jobs([
            (loops.vertex_gradient, (parts[0][b], shared, parts[1][b], parts[2][b], parts[3][b], given[b], ctx.perspective,
                                     out[b]))
            for b in range(len(out))
        ])
        return gradient, None, None, None, None


def _draw(vertices: Tensor, faces: Tensor, image_size: tuple[int, int], perspective: bool,
          cull_back: bool) -> tuple[Tensor, Tensor, Tensor]:
    batch, (height, width) = len(vertices), image_size
    face_index = torch.full((batch, height, width), -1, dtype=torch.int64)
    barycentric = lazy_zeros((batch, height, width, 3), vertices.dtype)
    depth = lazy_zeros((batch, height, width), vertices.dtype)
    source, shared = vertices.numpy(), faces.numpy()
    outputs = face_index.numpy(), barycentric.numpy(), depth.numpy()
    # A single image is cut into bands of rows; the cheap tests of all faces are then repeated in each band.
    bands = max(1, min(thread_count() // max(batch, 1), height * width // _PIXELS_PER_BAND, height))
    edges = [height * k // bands for k in range(bands + 1)]
    limits = (COORDINATE_LIMIT, NEAREST_DEPTH)
    jobs = [
        (loops.draw_rows, (source[b], shared, edges[k], edges[k + 1], perspective, cull_back, limits,
                           outputs[0][b], outputs[1][b], outputs[2][b]))
        for b in range(batch) for k in range(bands)
    ]
    if not all(run_jobs(jobs)):
        raise bad_face_range(vertices.shape[1])
    return face_index, barycentric, depth
