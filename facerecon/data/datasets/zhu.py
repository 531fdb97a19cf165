"""The projection of 300W-LP and AFLW2000-3D (Zhu et al., "Face Alignment Across Large Poses", CVPR 2016), and its inverse.

Pose_Para = (pitch, yaw, roll, tx, ty, tz, f); Q = f R S + t with the axes x right, y up, z toward the viewer; in MATLAB pixels
u = Q_x and v = h + 1 - Q_y, where h is the height of the image; the depth is Q_z and grows toward the viewer.
R = Rx(pitch) Ry(yaw) Rz(roll) with Rx = [1 0 0; 0 c s; 0 -s c], Ry = [c 0 -s; 0 1 0; s 0 c], Rz = [c s 0; -s c 0; 0 0 1].
"""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_choice, check_shape
from facerecon.data.datasets.sample import PIXEL_ORIGINS

MICROMETRES = 1000.0
_FLIP = np.array([1.0, -1.0, -1.0])


def zhu_rotation(angles: np.ndarray) -> np.ndarray:
    """Pitch, yaw, roll (3,) in radians -> R (3, 3) of the axes above, for column vectors."""
    check_shape("angles", angles, (3,))
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles, dtype=np.float64), np.cos(angles, dtype=np.float64)
    pitch = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    roll = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    return pitch @ yaw @ roll


def project_zhu(vertices: np.ndarray, pose_para: np.ndarray, image_height: float, *, pixel_origin: str = "zero") -> np.ndarray:
    """Project Basel vertices as the ground truth does.

    Args:
        vertices: (..., 3) in millimetres, mu_shape + mu_exp and the coefficients applied.
        pose_para: (7,) as stored.
        image_height: h, 450 in both releases.
        pixel_origin: "zero": centre of the top-left pixel is (0, 0); "matlab1": it is (1, 1), as pt3d_68 is stored.

    Returns:
        (..., 3) float64: x, y in px, and the depth in px that grows toward the viewer. A negative f is followed as it stands.
    """
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    check_shape("pose_para", pose_para, (7,))
    check_shape("vertices", vertices, ("...", 3))
    pose = np.asarray(pose_para, dtype=np.float64)
    placed = np.asarray(vertices, dtype=np.float64) @ (pose[6] * MICROMETRES * zhu_rotation(pose[:3])).T + pose[3:6]
    one = 1.0 if pixel_origin == "matlab1" else 0.0
    placed[..., 0] += one - 1
    placed[..., 1] = image_height + one - placed[..., 1]
    return placed


def camera_from_zhu(pose_para: np.ndarray, image_height: float, *,
                    pixel_origin: str = "zero") -> tuple[np.ndarray, np.ndarray, float]:
    """Pose_Para as a scaled orthographic camera p = s R v + (tx, ty, 0), x right, y down, z forward, v in millimetres.

    Returns:
        (rotation (3, 3), translation (2,) px, scale px/mm). The scale has the sign of f; one image of AFLW2000-3D has f < 0.
        The camera's depth is tz minus the depth of `project_zhu`.
    """
    origin = project_zhu(np.zeros(3), pose_para, image_height, pixel_origin=pixel_origin)
    pose = np.asarray(pose_para, dtype=np.float64)
    return _FLIP[:, None] * zhu_rotation(pose[:3]), origin[:2], float(pose[6] * MICROMETRES)


def zhu_from_camera(rotation: np.ndarray, translation: np.ndarray, scale: float, image_height: float, *,
                    pixel_origin: str = "zero") -> np.ndarray:
    """The inverse of `camera_from_zhu`: Pose_Para (7,) with tz = 0 and |yaw| <= 90 degrees."""
    check_choice("pixel_origin", pixel_origin, PIXEL_ORIGINS)
    check_shape("rotation", rotation, (3, 3))
    r = _FLIP[:, None] * np.asarray(rotation, dtype=np.float64)
    cosine = np.hypot(r[0, 0], r[0, 1])
    yaw = np.arctan2(-r[0, 2], cosine)
    if cosine < 1e-9:
        # Pitch and roll turn about one axis here; the roll is set to zero.
        pitch, roll = np.arctan2(-r[1, 0] * np.sign(r[0, 2]), r[1, 1]), 0.0
    else:
        pitch, roll = np.arctan2(r[1, 2], r[2, 2]), np.arctan2(r[0, 1], r[0, 0])
    one = 1.0 if pixel_origin == "matlab1" else 0.0
    return np.array([pitch, yaw, roll, translation[0] + 1 - one, image_height + one - translation[1], 0.0, scale / MICROMETRES])
