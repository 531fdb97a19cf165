"""Tiny folders in the layouts of the releases."""

from __future__ import annotations

import numpy as np
import pytest


def save_mat(path, **values) -> None:
    import scipy.io

    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, values, do_compression=True)


def touch(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def basel_parameters(generator: np.random.Generator, **changes) -> dict:
    values = {"Shape_Para": generator.normal(size=(199, 1)) * 1e5, "Exp_Para": np.zeros((29, 1), np.uint8),
              "Tex_Para": generator.normal(size=(199, 1)), "Illum_Para": np.ones((1, 10)),
              "Pose_Para": np.array([[0.1, -0.5, 0.05, 120, 200, -60, 1.2e-3]], np.float32),
              "Color_Para": np.ones((1, 7), np.float32), "roi": np.array([[-5, 10, 200, 300]], np.int16)}
    values.update(changes)
    return values


@pytest.fixture
def aflw2000_folder(tmp_path):
    """Three good images in AFLW2000-3D's layout; image00003 has an angle of 120 degrees."""
    generator = np.random.default_rng(1)
    for number in (1, 2, 3):
        points = np.concatenate([generator.uniform(100, 300, (2, 21))], axis=1)
        points[:, 4] = (-1, 452)
        pose = np.array([[2.1 if number == 3 else 0.1, -0.5, 0.05, 120, 200, -60, 1.2e-3]], np.float32)
        save_mat(tmp_path / f"image{number:05d}.mat", pt2d=points, pt3d_68=generator.uniform(50, 400, (3, 68)).astype(np.float32),
                 **basel_parameters(generator, Pose_Para=pose))
        touch(tmp_path / f"image{number:05d}.jpg")
    return tmp_path


@pytest.fixture
def tools():
    """Writers for tests that build their own folders."""

    class Tools:
        mat = staticmethod(save_mat)
        empty = staticmethod(touch)
        parameters = staticmethod(basel_parameters)

    return Tools
