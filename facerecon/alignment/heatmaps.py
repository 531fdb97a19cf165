"""Landmarks as heatmaps, one map for each point, and back.

A point is a Gaussian of height 1 around its place (Browatzki and Wallraven, 3FabRec, CVPR 2020, section 3.3 and 4.2: sigma 7 px
of a 256 px input, maps of 128 px). Pixels have their origin at the centre of the top-left one, in the input and in the map, so
that a point p of an S px input lies at (p + 0.5) M / S - 0.5 in an M px map.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from facerecon.checks import check_choice, check_range, check_shape

METHODS = ("subpixel", "argmax", "barycentre")
MAP_SIZE = 128
# Standard deviation in px of an input of REFERENCE_SIZE px (3FabRec 4.2, SCAF 4.2); other sizes scale it.
SIGMA, REFERENCE_SIZE = 7.0, 256
# Half the side of the window that the sub-pixel fit looks at: 5 x 5 map px.
_REACH = 2
# Share of the peak below which the barycentre sees background.
_FLOOR = 0.1


def encode_heatmaps(points: Tensor, *, image_size: int, map_size: int = MAP_SIZE, sigma: float = SIGMA) -> Tensor:
    """Points to Gaussian heatmaps of height 1.

    Args:
        points: (B, L, 2) x, y in px of the square input. One outside the input leaves the tail of its Gaussian in the map. NaN
            marks a point that is not labelled: its map is 0, and `labelled_weights` keeps it out of a loss.
        image_size: S, side of the input.
        map_size: M, side of the maps.
        sigma: standard deviation in px of a 256 px input; in the map it is sigma M / 256, whatever S is.

    Returns:
        (B, L, M, M) of the points' type, differentiable in the points.
    """
    check_shape("points", points, ("batch", "points", 2))
    _check_sizes(image_size, map_size)
    check_range("sigma", float(sigma), 1e-3)
    labelled = _labelled(points)
    # NaN times 0 is NaN, also in gradients, so unlabelled points are moved before anything is computed from them.
    centres = (torch.where(labelled, points, torch.zeros_like(points)) + 0.5) * (map_size / image_size) - 0.5
    grid = torch.arange(map_size, dtype=points.dtype, device=points.device)
    spread = sigma * map_size / REFERENCE_SIZE
    across, down = (torch.exp(-0.5 * ((grid - centres[..., axis, None]) / spread) ** 2) for axis in range(2))
    return (down * labelled)[..., :, None] * across[..., None, :]


def labelled_weights(points: Tensor) -> Tensor:
    """(B, L, 2) points to (B, L) weights of their type: 1, or 0 where a coordinate is not finite."""
    check_shape("points", points, ("batch", "points", 2))
    return _labelled(points)[..., 0].to(points.dtype)


def decode_heatmaps(maps: Tensor, *, image_size: int, method: str = "subpixel") -> tuple[Tensor, Tensor]:
    """Heatmaps to points.

    Args:
        maps: (B, L, M, M), any scale; half precision is decoded in single.
        image_size: S, side of the input that the points are wanted in.
        method: "argmax": the brightest pixel (3FabRec, the thesis), in steps of S / M px. "subpixel": the peak of a parabola
            fitted to the logarithm of the 5 x 5 px around it, exact for Gaussians and never more than one map px from the
            brightest. "barycentre": the centre of mass of what rises above a tenth of the peak; the only differentiable one,
            and right for one peak inside the map only.

    Returns:
        points (B, L, 2) in px of the input, and confidence (B, L) in [0, 1]: the height of the brightest pixel above the map's
        mean, clipped. Targets have peaks of 1; a network that cannot decide spreads a lower one. A flat map has confidence 0
        and some place in the map; a map with a value that is not finite gives NaN and confidence 0.
    """
    check_shape("maps", maps, ("batch", "points", maps.shape[-1] if maps.ndim else None, "side"))
    check_choice("method", method, METHODS)
    size = maps.shape[-1]
    _check_sizes(image_size, size)
    maps = maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
    index = brightest_pixels(maps)
    peak = maps.flatten(2).gather(2, index[..., None])[..., 0]
    brightest = torch.stack([index % size, index // size], dim=-1).to(maps.dtype)
    if method == "argmax":
        places = brightest
    elif method == "subpixel":
        places = _peaks(maps.detach(), brightest, peak.detach())
    else:
        places = _barycentres(maps, peak)
    mean = maps.mean((2, 3))
    sound = torch.isfinite(mean) & torch.isfinite(peak)
    places = torch.where(sound[..., None], places, torch.full_like(places, torch.nan))
    confidence = torch.where(sound, (peak - mean).clamp(0.0, 1.0), torch.zeros_like(peak))
    return (places + 0.5) * (image_size / size) - 0.5, confidence


def brightest_pixels(maps: Tensor) -> Tensor:
    """(B, L, H, W) maps to (B, L) places of their brightest pixels, as row * W + column; the first of equal ones on a CPU."""
    flat = maps.detach().flatten(2)
    if flat.device.type == "cpu" and not torch.compiler.is_compiling():
        # Ten times as fast as torch's own on a CPU, and the same. A graph that is being recorded cannot go through NumPy.
        return torch.from_numpy(flat.numpy().argmax(axis=2))
    return flat.argmax(dim=2)


def _labelled(points: Tensor) -> Tensor:
    return torch.isfinite(points).all(dim=-1, keepdim=True)


def _check_sizes(image_size: int, map_size: int) -> None:
    check_range("image_size", image_size, 1)
    check_range("map_size", map_size, 2 * _REACH + 1)


@functools.lru_cache(maxsize=8)
def _parabola(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(6, 25): least-squares coefficients of 1, x, y, x^2, x y, y^2 from the values of a 5 x 5 window around (0, 0)."""
    steps = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    y, x = (axis.reshape(-1) for axis in torch.meshgrid(steps, steps, indexing="ij"))
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=1)
    return torch.linalg.pinv(terms).to(dtype=dtype, device=device)


def _peaks(maps: Tensor, brightest: Tensor, peak: Tensor) -> Tensor:
    size = maps.shape[-1]
    # A window that would leave the map moves inside; the parabola of a Gaussian is the same from every window.
    centre = brightest.clamp(_REACH, size - 1 - _REACH)
    steps = torch.arange(-_REACH, _REACH + 1, device=maps.device)
    window = (centre.long()[..., 1, None, None] + steps[:, None]) * size + centre.long()[..., 0, None, None] + steps
    values = maps.flatten(2).gather(2, window.flatten(2))
    # Zero and negative values have no logarithm; the smallest that count are a millionth of the peak.
    values = torch.maximum(values, 1e-6 * peak.clamp_min(1e-30)[..., None]).log()
    _, bx, by, axx, axy, ayy = (values @ _parabola(maps.dtype, maps.device).T).unbind(-1)
    determinant = 4 * axx * ayy - axy * axy
    rounded = (axx < -1e-6) & (ayy < -1e-6) & (determinant > 1e-10)
    divisor = torch.where(rounded, determinant, torch.ones_like(determinant))
    step = torch.stack([axy * by - 2 * ayy * bx, axy * bx - 2 * axx * by], dim=-1) / divisor[..., None]
    found = brightest + (centre + step - brightest).clamp(-1.0, 1.0)
    return torch.where((rounded & (peak > 0))[..., None], found, brightest)


def _barycentres(maps: Tensor, peak: Tensor) -> Tensor:
    size = maps.shape[-1]
    weights = (maps - _FLOOR * peak.detach()[..., None, None]).clamp_min(0.0)
    # Without a positive peak there is no mass of its own: the middle of the map.
    weights = torch.where((peak > 0)[..., None, None], weights, torch.ones_like(weights))
    grid = torch.arange(size, dtype=maps.dtype, device=maps.device)
    mass = weights.sum((2, 3))
    return torch.stack([weights.sum(2) @ grid, weights.sum(3) @ grid], dim=-1) / mass[..., None]
