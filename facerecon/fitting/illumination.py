"""Closed-form light and albedo: the shaded colour is linear in each of them when the other is known."""

from __future__ import annotations

import numpy as np
import torch

from facerecon.render.fragments import Fragments
from facerecon.render.harmonics import sh_basis
from facerecon.render.interpolation import interpolate

# Prior of the light, coefficient by coefficient, as standard deviations: grey part per band, and colour (the deviation of a
# channel from the mean of the three). Cameras balance white and expose for the subject, so the mean light on a face is mostly
# near white and near one (LEVEL_STD); what is left over is the skin's own tone. Without this a dark face would come out as a
# pale one in the dark.
LEVEL, LEVEL_STD = 1.0, 0.08
BAND_STD = (0.30, 0.30, 0.12)
COLOUR_STD = (0.06, 0.06, 0.04)
_CONSTANT = 0.5 / np.sqrt(np.pi)
_BANDS = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
# Mean of the nine harmonics over the normals of a frontal face, n_z = 0.75 and n_z^2 = 0.61 on average.
_FACE_MEAN = np.array([_CONSTANT, 0.0, 0.75 * np.sqrt(3 / (4 * np.pi)), 0.0, 0.0, 0.0,
                       (3 * 0.61 - 1) * np.sqrt(5 / (16 * np.pi)), 0.0, 0.0])


def light_prior(*, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Mean (27,) and precision (27, 27) of the light, ordered coefficient-major (coefficient * 3 + channel).

    Standard deviations are of the irradiance that a coefficient adds, in units of white ambient light.
    """
    mean = np.zeros((9, 3))
    mean[0] = level / _CONSTANT
    average = np.full((3, 3), 1 / 3)
    precision = np.zeros((27, 27))
    for row, band in enumerate(_BANDS):
        block = average / BAND_STD[band] ** 2 + (np.eye(3) - average) / COLOUR_STD[band] ** 2
        precision[3 * row:3 * row + 3, 3 * row:3 * row + 3] = block * _CONSTANT**2
    # The mean over a face that looks at the camera: a grey irradiance of `level`, whatever the direction of the light.
    grey = np.repeat(_FACE_MEAN, 3) / 3
    return mean.reshape(-1), precision + np.outer(grey, grey) / LEVEL_STD**2


def light_rows(fragments: Fragments, faces: torch.Tensor, albedo: torch.Tensor, normals: torch.Tensor,
               pixels: torch.Tensor) -> np.ndarray:
    """(N, 3, 9): colour of each pixel in `pixels` (N,) flat index = sum_b rows[:, c, b] light[b, c], vertex shading."""
    product = (albedo[:, :, None] * sh_basis(normals)[:, None, :]).reshape(len(albedo), 27)
    return _at(fragments, product, faces, pixels).reshape(-1, 3, 9)


def albedo_rows(fragments: Fragments, faces: torch.Tensor, albedo_mean: torch.Tensor, albedo_basis: torch.Tensor,
                shading: torch.Tensor, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(constant (N, 3), rows (N, 3, A)): colour = constant + rows @ coefficients, for vertex shading (n, 3) held fixed."""
    count = len(albedo_basis)
    product = torch.cat([(albedo_mean * shading)[..., None], (albedo_basis * shading).permute(1, 2, 0)], dim=2)
    values = _at(fragments, product.reshape(len(albedo_mean), -1), faces, pixels).reshape(-1, 3, count + 1)
    return values[..., 0], values[..., 1:]


def solve_light(rows: np.ndarray, colours: np.ndarray, weight: np.ndarray, *, prior_weight: float = 1.0) -> np.ndarray:
    """Weighted least squares with the light prior: argmin sum_n w_n |rows_n light - colour_n|^2 + prior. Returns (9, 3).

    Args:
        rows: (N, 3, 9), see `light_rows`.
        colours: (N, 3) RGB.
        weight: (N,).
        prior_weight: factor of the prior; 0 gives plain least squares.
    """
    mean, precision = light_prior()
    normal, right = prior_weight * precision, prior_weight * precision @ mean
    for channel in range(3):
        weighted = rows[:, channel] * weight[:, None]
        index = np.arange(9) * 3 + channel
        normal[np.ix_(index, index)] += weighted.T @ rows[:, channel]
        right[index] += weighted.T @ colours[:, channel]
    # Too few normals (a flat or tiny region) leave directions that nothing decides.
    return np.linalg.lstsq(normal, right, rcond=1e-13)[0].reshape(9, 3)


def light_energy(light: np.ndarray) -> float:
    """The prior's energy (l - m)' P (l - m) of light (9, 3)."""
    mean, precision = light_prior()
    offset = light.reshape(-1) - mean
    return float(offset @ precision @ offset)


def solve_albedo(constant: np.ndarray, rows: np.ndarray, colours: np.ndarray, weight: np.ndarray, *,
                 prior_weight: float = 1.0) -> np.ndarray:
    """argmin sum_n w_n |constant_n + rows_n a - colour_n|^2 + prior_weight a'a. Returns (A,)."""
    flat = rows.reshape(-1, rows.shape[2])
    weighted = flat * np.repeat(weight, 3)[:, None]
    normal = weighted.T @ flat + prior_weight * np.eye(rows.shape[2])
    return np.linalg.solve(normal, weighted.T @ (colours - constant).reshape(-1))


def solve_both(by_light: np.ndarray, constant: np.ndarray, by_albedo: np.ndarray, light: np.ndarray, albedo: np.ndarray,
               colours: np.ndarray, weight: np.ndarray, *, prior_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """One Gauss-Newton step on light and albedo together.

    Solved in turn, the two creep along the valley where a darker skin in more light looks the same; together they find at
    once the place in it that the priors like best.

    Args:
        by_light: (N, 3, 9), from `light_rows` at the present albedo.
        constant, by_albedo: (N, 3) and (N, 3, A), from `albedo_rows` at the present light.
        light, albedo: the present (9, 3) and (A,).
        colours: (N, 3).
        weight: (N,).
        prior_weight: of both priors.

    Returns:
        New (light, albedo).
    """
    count = by_albedo.shape[2]
    # Tens of thousands of rows: in single precision, and without the two thirds of the light's columns that are zero.
    root = np.sqrt(weight).astype(np.float32)[:, None]
    skin = np.multiply(by_albedo, root[..., None], dtype=np.float32)
    flat = skin.reshape(-1, count)
    residual = (colours - constant).astype(np.float32) * root - (flat @ albedo.astype(np.float32)).reshape(-1, 3)
    mean, precision = light_prior()
    normal, right = np.zeros((27 + count, 27 + count)), np.zeros(27 + count)
    normal[:27, :27] = prior_weight * precision
    right[:27] = -prior_weight * precision @ (light.reshape(-1) - mean)
    normal[27:, 27:] = flat.T @ flat + prior_weight * np.eye(count)
    right[27:] = flat.T @ residual.reshape(-1) - prior_weight * albedo
    for channel in range(3):
        lit = np.multiply(by_light[:, channel], root, dtype=np.float32)
        index = np.arange(channel, 27, 3)
        normal[np.ix_(index, index)] += lit.T @ lit
        across = lit.T @ skin[:, channel]
        normal[index, 27:] += across
        normal[27:, index] += across.T
        right[index] += lit.T @ residual[:, channel]
    step = np.linalg.solve(normal, right)
    return light + step[:27].reshape(9, 3), albedo + step[27:]


def _at(fragments: Fragments, attributes: torch.Tensor, faces: torch.Tensor, pixels: torch.Tensor) -> np.ndarray:
    image = interpolate(fragments, attributes.contiguous(), faces)
    return image.reshape(-1, attributes.shape[-1])[pixels].numpy()
