"""The rasteriser: one function, three back ends with one contract."""

from __future__ import annotations

import importlib

from torch import Tensor

from facerecon.checks import check_choice
from facerecon.errors import BackendError
from facerecon.render.fragments import Fragments, check_image_size, check_mesh

_BACKENDS = {
    "reference": "facerecon.render.reference",
    "numba": "facerecon.render.numba_backend",
    "pytorch3d": "facerecon.render.pytorch3d_backend",
}


def rasterize(vertices: Tensor, faces: Tensor, image_size: tuple[int, int], *, backend: str = "auto",
              perspective: bool = False, cull_back: bool = False) -> Fragments:
    """Find the nearest face at every pixel centre (z-buffer).

    Args:
        vertices: (B, V, 3), or (V, 3) for a batch of one; float32 or float64; x, y in pixels with pixel centres at whole
            numbers (x right, y down), z the depth away from the camera.
        faces: (F, 3) int64 or int32, shared by the batch.
        image_size: (H, W).
        backend: `reference` (plain torch, slow, defines right), `numba` (CPU), `pytorch3d` (CPU or CUDA), or `auto`: numba
            for CPU tensors, pytorch3d for CUDA tensors.
        perspective: z is the depth before a pinhole; barycentrics are then perspective-correct, and faces with a vertex at
            or behind the camera are dropped.
        cull_back: draw only faces that are counter-clockwise on the screen. By default both sides are drawn.

    Returns:
        `Fragments` with a batch axis always, on the device and in the dtype of `vertices`.

    A pixel on an edge belongs to the face for which that edge is a left or a top one, so faces that share an edge own each
    pixel once and leave no hole. Of two faces at equal depth the lower index wins. Faces without area or with a vertex that
    is not finite, beyond 1e9, or behind a pinhole are dropped (`count_dropped` counts them). No face needs to lie inside
    the image. Barycentrics and depth are differentiable once in the vertices with visibility held fixed, so nothing pulls
    at silhouettes. `numba` uses as many threads as torch does (`torch.set_num_threads`).

    Raises:
        ArgumentError: wrong shapes, dtypes, image size, or face indices outside the vertices.
        BackendError: `backend_missing` when the library behind the back end is not installed; the reason is the cause.
    """
    vertices, faces = check_mesh(vertices, faces)
    image_size = check_image_size(image_size)
    check_choice("backend", backend, ("auto", *_BACKENDS))
    if backend == "auto":
        backend = "numba" if vertices.device.type == "cpu" else "pytorch3d"
    if backend == "numba" and vertices.device.type != "cpu":
        raise BackendError(f"backend 'numba' wants CPU tensors, got {vertices.device}; use 'pytorch3d'", code="device_missing")
    try:
        module = importlib.import_module(_BACKENDS[backend])
    except ImportError as error:
        raise BackendError(f"backend {backend!r} cannot be loaded ({error}); install facerecon[{backend}] or choose another "
                           f"of {', '.join(_BACKENDS)}", code="backend_missing") from error
    return module.rasterize(vertices, faces, image_size, perspective=perspective, cull_back=cull_back)
