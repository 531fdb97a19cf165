"""Random light as spherical harmonics: what lamps and a sky make of a matt surface."""

from __future__ import annotations

import numpy as np

# Integrals of the clamped cosine against the three bands (Ramamoorthi and Hanrahan, SIGGRAPH 2001).
BANDS = np.repeat([np.pi, 2 * np.pi / 3, np.pi / 4], [1, 3, 5])
# Normals of a face that looks into the camera: by them the exposure is set.
FACING = np.array([[0, 0, 1], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.5, 0.866], [0, -0.5, 0.866]])


def soft_light(generator: np.random.Generator) -> np.ndarray:
    """Spherical harmonics (9, 3): mostly from the front and above, a little coloured."""
    light = np.zeros((9, 3))
    light[0] = generator.uniform(2.3, 3.1)
    light[1], light[2], light[3] = generator.uniform(0.0, 0.5), generator.uniform(0.3, 0.7), generator.uniform(-0.5, 0.5)
    light[4:] = generator.normal(size=(5, 1)) * 0.08
    return light * (1 + 0.06 * generator.normal(size=3))


def lamp(direction: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Coefficients (9, 3) of a distant lamp: a surface turned to it gets its `colour` (3,), up to what three bands can say.

    `direction` (3,) points to the lamp, in the frame x right, y up, z toward the viewer.
    """
    return (BANDS * harmonics(direction / np.linalg.norm(direction)))[:, None] * colour


def harmonics(normal: np.ndarray) -> np.ndarray:
    """The nine basis functions (..., 9) at unit normals (..., 3): `facerecon.render.harmonics.sh_basis` for arrays."""
    import torch

    from facerecon.render.harmonics import sh_basis

    return sh_basis(torch.from_numpy(np.asarray(normal, np.float64))).numpy()


def studio_light(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sky or room, a key lamp, often a second one: (coefficients (9, 3), unit direction (3,) of the key lamp).

    The mean over the directions of a frontal face is an exposure around 0.88, as a camera's automatic would choose.
    """
    warmth = generator.normal(size=3) * [0.5, 1.0, 0.8]
    light = np.zeros((9, 3))
    light[0] = generator.uniform(0.5, 1.3) / 0.2820948 * _tint(warmth[0])
    # Brighter from above: the sky, or a ceiling; the floor gives some of it back.
    light[1] = light[0] * generator.uniform(0.0, 0.25)
    azimuth, elevation = np.radians(generator.normal() * 45), np.radians(generator.uniform(-10, 65))
    key = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    light += lamp(key, generator.uniform(0.3, 1.2) * _tint(warmth[1]))
    if generator.uniform() < 0.5:
        # From the other side, perhaps from behind.
        other = np.array([-np.sign(azimuth or 1.0) * generator.uniform(0.4, 1), *generator.uniform([-0.2, -0.7], 0.6)])
        light += lamp(other, generator.uniform(0.1, 0.5) * _tint(warmth[2]))
    level = float((harmonics(FACING) @ light).mean())
    return light * (np.clip(0.88 + 0.1 * generator.normal(), 0.6, 1.1) / level), key


def _tint(warmth: float) -> np.ndarray:
    return 1 + 0.06 * warmth * np.array([1.0, 0.1, -1.1])
