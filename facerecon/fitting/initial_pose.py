"""Pose from 2D-3D correspondences under scaled orthography, and the checks that landmarks must pass first."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.errors import LandmarkError

# Above these, no face has made the points: flatness of the point cloud, and its misfit to any view of a head.
COLLINEAR_RATIO = 0.02
MISFIT_LIMIT = 0.25
# Cosine between the viewing direction and the face's, below which the points are those of a face seen from behind,
# which is what a mirrored face looks like under orthography (about 115 degrees).
BEHIND_COSINE = -0.42


@dataclasses.dataclass(frozen=True)
class OrthographicView:
    """A scaled orthographic view in float64 NumPy: p = scale * rotation @ v + (translation, 0).

    Attributes:
        rotation: (3, 3), OpenCV camera axes (x right, y down, z forward).
        translation: (2,) px.
        scale: px/mm, positive.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) mm -> (N, 2) px."""
        return self.scale * points @ self.rotation[:2].T + self.translation

    def moved(self, step: np.ndarray) -> OrthographicView:
        """The view after a small step (6,): rotation vector (applied on the left), translation in px, log scale."""
        return OrthographicView(rotation_from_vector(step[:3]) @ self.rotation, self.translation + step[3:5],
                                self.scale * float(np.exp(np.clip(step[5], -0.5, 0.5))))


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector (3,) (Rodrigues), exact at zero."""
    angle = float(np.sqrt(vector @ vector))
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine = np.sinc(angle / np.pi)
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + sine * cross + 0.5 * half * half * cross @ cross


def check_landmarks(points: np.ndarray, *, count: int, image_size: tuple[int, int] | None) -> np.ndarray:
    """Landmarks as (count, 2) float64, or a refusal that says what is wrong with them.

    Args:
        points: (count, 2 or more) px; further columns are dropped.
        count: how many the scheme has.
        image_size: (H, W); None skips the check against the image.

    Raises:
        LandmarkError: `landmarks_count`, `landmarks_nonfinite`, `landmarks_degenerate` (all in one place or on a line),
            `landmarks_outside` (fewer than a quarter of them inside the image, or one more than an image's side away).
    """
    try:
        values = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LandmarkError(f"points: wanted an array ({count}, 2) of numbers, got {type(points).__name__}",
                            code="landmarks_invalid") from error
    if values.ndim != 2 or values.shape[0] != count or values.shape[1] < 2:
        raise LandmarkError(f"points: wanted shape ({count}, 2), got {values.shape}; name the right scheme",
                            code="landmarks_count")
    values = values[:, :2]
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise LandmarkError(f"points: wanted finite numbers, got {int((~finite).sum())} bad points of {count}",
                            code="landmarks_nonfinite")
    if np.abs(values).max() > 1e7:
        raise LandmarkError(f"points: wanted pixels, got coordinates up to {np.abs(values).max():.3g}",
                            code="landmarks_outside")
    if image_size is not None:
        height, width = image_size
        away = np.maximum(-0.5 - values, values - np.array([width - 0.5, height - 0.5])).max(axis=1)
        inside = float((away <= 0).mean())
        if inside < 0.25 or away.max() > max(height, width):
            raise LandmarkError(
                f"points: wanted landmarks in the {width} x {height} image, got {inside:.0%} of them inside and one "
                f"{max(away.max(), 0):.0f} px outside; are they of another image or size?", code="landmarks_outside")
    spread = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    if spread[0] < 1e-3 * np.sqrt(count) or spread[1] < COLLINEAR_RATIO * spread[0]:
        raise LandmarkError("points: wanted landmarks spread over a face, got points in one place or on one line",
                            code="landmarks_degenerate")
    return values


def estimate_view(shape: np.ndarray, points: np.ndarray, weights: np.ndarray | None = None, *,
                  iterations: int = 12) -> OrthographicView:
    """The scaled orthographic view that projects `shape` nearest to `points`, in weighted least squares.

    The best affine camera is found in closed form and put on the rotations; a view from the front and both depth reversals
    (an orthographic picture of a flat thing has two readings) are tried as well; Gauss-Newton refines each.

    Args:
        shape: (N, 3) mm, N >= 4.
        points: (N, 2) px.
        weights: (N,) >= 0, all equal when None.

    Raises:
        LandmarkError: `landmarks_degenerate` when too few points carry weight; `landmarks_invalid` when the points are
            those of a mirrored face (left and right, or x and y, exchanged) or of no face.
    """
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    if (weights > 0).sum() < 4:
        raise LandmarkError(f"points: wanted at least 4 with weight, got {int((weights > 0).sum())}",
                            code="landmarks_degenerate")
    weights = weights / weights.sum()
    size = float(np.sqrt(weights @ ((points - weights @ points) ** 2).sum(axis=1)))
    if not size > 0:
        raise LandmarkError("points: wanted landmarks spread over a face, got points in one place",
                            code="landmarks_degenerate")
    best, lowest = None, np.inf
    for start in _starts(shape, points, weights):
        view, misfit = _refine(start, shape, points, weights, iterations)
        # A reading from behind must be clearly better to win: flat landmarks hardly tell the two apart.
        handicap = 1.0 if view.rotation[2, 2] < 0.3 else 4.0
        if misfit * handicap < lowest:
            best, lowest = view, misfit * handicap
    if best is None:
        raise LandmarkError("points: no view of a head fits them", code="landmarks_invalid")
    misfit = float(np.sqrt(weights @ ((best.project(shape) - points) ** 2).sum(axis=1))) / size
    if best.rotation[2, 2] > -BEHIND_COSINE:
        raise LandmarkError("points: they are those of a mirrored face; are x and y, or left and right, exchanged?",
                            code="landmarks_invalid")
    if misfit > MISFIT_LIMIT * 2:
        raise LandmarkError(f"points: wanted landmarks of a face, got points {misfit:.0%} of their spread away from the "
                            "nearest view of a head", code="landmarks_invalid")
    return best


def _starts(shape: np.ndarray, points: np.ndarray, weights: np.ndarray) -> list[OrthographicView]:
    centre, middle = weights @ shape, weights @ points
    source, target = shape - centre, points - middle
    root = np.sqrt(weights)[:, None]
    affine = np.linalg.lstsq(root * source, root * target, rcond=1e-6)[0].T
    # In-plane similarity to the frontal view, the start that five noisy points can always give.
    flat = source[:, :2] * (1.0, -1.0)
    along = (weights[:, None] * flat * target).sum()
    across = (weights * (flat[:, 0] * target[:, 1] - flat[:, 1] * target[:, 0])).sum()
    angle = np.arctan2(across, along)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    frontal = roll @ np.diag([1.0, -1.0, -1.0])
    scale = np.sqrt((weights[:, None] * target**2).sum() / max((weights[:, None] * flat**2).sum(), 1e-12))

    rotations = [(frontal, scale)]
    # Turned heads too: 60 degrees to each side of the frontal start.
    for turn in (-1.0, 1.0):
        rotations.append((frontal @ rotation_from_vector(np.array([0.0, turn, 0.0])), scale))
    left, stretch, right = np.linalg.svd(affine, full_matrices=False)
    if stretch[1] > 1e-3 * stretch[0]:
        rows = left @ right
        full = np.vstack([rows, np.cross(rows[0], rows[1])])
        rotations.append((full, float(stretch.mean())))
        reversal = np.diag([1.0, 1.0, -1.0])
        rotations.append((reversal @ full @ reversal, float(stretch.mean())))
    return [OrthographicView(rotation, middle - scale * rotation[:2] @ centre, scale) for rotation, scale in rotations]


def _refine(view: OrthographicView, shape: np.ndarray, points: np.ndarray, weights: np.ndarray,
            iterations: int) -> tuple[OrthographicView, float]:
    misfit = _misfit(view, shape, points, weights)
    damping = 1e-6
    for _ in range(iterations):
        residual, jacobian = pose_jacobian(view, shape, points)
        normal = np.einsum("n,nci,ncj->ij", weights, jacobian, jacobian, optimize=True)
        gradient = np.einsum("n,nci,nc->i", weights, jacobian, residual)
        # Translation is in pixels and the rest is free of units; damping in proportion to the diagonal treats them alike.
        step = -np.linalg.solve(normal + np.diag(damping * np.diag(normal) + 1e-12), gradient)
        candidate = view.moved(step)
        after = _misfit(candidate, shape, points, weights)
        if after < misfit:
            small = misfit - after < 1e-10 * misfit
            view, misfit, damping = candidate, after, max(damping / 10, 1e-9)
            if small:
                break
        else:
            damping = max(damping * 30, 1e-4)
            if damping > 1e6:
                break
    return view, misfit


def _misfit(view: OrthographicView, shape: np.ndarray, points: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ ((view.project(shape) - points) ** 2).sum(axis=1))


def pose_jacobian(view: OrthographicView, shape: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residual (N, 2) px of the projection and its derivative (N, 2, 6) by rotation vector, translation and log scale."""
    turned = view.scale * shape @ view.rotation.T
    residual = turned[:, :2] + view.translation - points
    jacobian = np.zeros((len(shape), 2, 6))
    jacobian[:, 0, 1], jacobian[:, 0, 2] = turned[:, 2], -turned[:, 1]
    jacobian[:, 1, 0], jacobian[:, 1, 2] = -turned[:, 2], turned[:, 0]
    jacobian[:, 0, 3] = jacobian[:, 1, 4] = 1.0
    jacobian[:, :, 5] = turned[:, :2]
    return residual, jacobian
