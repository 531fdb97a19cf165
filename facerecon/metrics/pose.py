"""Head pose errors, in AFLW2000-3D's Euler convention and as geodesic angles.

The rotation here is the dataset's: R = Rx(pitch) Ry(yaw) Rz(roll), columns vectors, y up and z toward the viewer, with
Rx = [1 0 0; 0 c s; 0 -s c], Ry = [c 0 -s; 0 1 0; s 0 c], Rz = [c s 0; -s c 0; 0 0 1]. A camera rotation (x right, y down,
z forward) becomes it by diag(1, -1, -1) @ R.
"""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_choice, check_range, check_shape

CAMERA_FLIP = np.array([1.0, -1.0, -1.0])
EXTRACTIONS = ("zhu_exact", "legacy_R20")
# Below this cosine of the yaw, pitch and roll turn about one axis and only their sum is defined.
_GIMBAL = 1e-9


def rotation_from_euler_deg(euler: np.ndarray) -> np.ndarray:
    """Pitch, yaw, roll in degrees (..., 3) -> the dataset's rotation (..., 3, 3)."""
    check_shape("euler", np.asarray(euler), ("...", 3))
    angles = np.radians(np.asarray(euler, dtype=np.float64))
    sx, sy, sz = np.moveaxis(np.sin(angles), -1, 0)
    cx, cy, cz = np.moveaxis(np.cos(angles), -1, 0)
    rows = [cy * cz, cy * sz, -sy,
            sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy,
            cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy]
    return np.stack(rows, axis=-1).reshape(*angles.shape[:-1], 3, 3)


def euler_deg_from_rotation(rotation: np.ndarray, *, extraction: str = "zhu_exact") -> np.ndarray:
    """The dataset's rotation (..., 3, 3) -> pitch, yaw, roll in degrees (..., 3).

    Args:
        extraction: "zhu_exact" is the exact inverse for |yaw| < 90 (yaw from -R[0,2]; at a right angle the roll is 0).
            "legacy_R20" reads the yaw as asin(R[2,0]), the pitch from R[2,1] and the roll from R[1,0], as 3DDFA, 3DDFA_V2 and
            PRNet do: angles of another order, kept only to compare with figures made that way.
    """
    check_choice("extraction", extraction, EXTRACTIONS)
    r = np.asarray(rotation, dtype=np.float64)
    check_shape("rotation", r, ("...", 3, 3))
    if extraction == "legacy_R20":
        angles = [np.arctan2(r[..., 2, 1], r[..., 2, 2]), np.arcsin(np.clip(r[..., 2, 0], -1, 1)),
                  np.arctan2(r[..., 1, 0], r[..., 0, 0])]
        return np.degrees(np.stack(angles, axis=-1))
    cosine = np.hypot(r[..., 0, 0], r[..., 0, 1])
    locked = cosine < _GIMBAL
    # atan2 keeps all digits near a right angle, where asin loses half of them.
    yaw = np.arctan2(-r[..., 0, 2], cosine)
    pitch = np.where(locked, np.arctan2(-r[..., 1, 0] * np.sign(r[..., 0, 2]), r[..., 1, 1]),
                     np.arctan2(r[..., 1, 2], r[..., 2, 2]))
    roll = np.where(locked, 0.0, np.arctan2(r[..., 0, 1], r[..., 0, 0]))
    return np.degrees(np.stack([pitch, yaw, roll], axis=-1))


def angle_error_deg(prediction: np.ndarray, truth: np.ndarray, *, wrapped: bool = False) -> np.ndarray:
    """|prediction - truth| in degrees, element by element; wrapped takes the short way round the circle."""
    difference = np.abs(np.asarray(prediction, dtype=np.float64) - np.asarray(truth, dtype=np.float64))
    if wrapped:
        difference = np.mod(difference, 360.0)
        difference = np.minimum(difference, 360.0 - difference)
    return difference


def geodesic_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle of the rotation between two rotations: (..., 3, 3), (..., 3, 3) -> (...) in [0, 180].

    From the sine (antisymmetric part) and the cosine (trace), so that tiny angles and half turns keep their digits.
    """
    check_shape("first", np.asarray(first), ("...", 3, 3))
    check_shape("second", np.asarray(second), ("...", 3, 3))
    between = np.swapaxes(np.asarray(first, dtype=np.float64), -1, -2) @ np.asarray(second, dtype=np.float64)
    axis = np.stack([between[..., 2, 1] - between[..., 1, 2], between[..., 0, 2] - between[..., 2, 0],
                     between[..., 1, 0] - between[..., 0, 1]], axis=-1)
    trace = np.trace(between, axis1=-2, axis2=-1)
    return np.degrees(np.arctan2(np.linalg.norm(axis, axis=-1), trace - 1))


def within_angles(euler: np.ndarray, *, limit: float = 99.0) -> np.ndarray:
    """Whether all three angles lie within +-limit degrees: (..., 3) -> bool (...).

    The rule by which pose papers (Hopenet, FSA-Net) keep 1,969 of AFLW2000-3D's 2,000 images.
    """
    check_range("limit", float(limit), 0.0)
    return (np.abs(np.asarray(euler, dtype=np.float64)) <= limit).all(axis=-1)
