"""Gauss-Newton on pose, identity and expression from landmarks, on plain arrays.

Energy, in units of the landmark noise:

    E = sum_i w_i k^2 log(1 + |p_i - q_i|^2 / (k s sigma)^2) + a'a * lambda_id + lambda_1 sum(e) + lambda_2 e'e,   0 <= e <= 1

p_i is the projected landmark, q_i the given one, s the initial scale in px/mm. The Cauchy kernel forgives single bad points; the
linear term makes the expression sparse, so that a neutral face gets exact zeros.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

from facerecon.fitting.initial_pose import OrthographicView, pose_jacobian


@dataclasses.dataclass(frozen=True)
class PointBasis:
    """N points that move linearly with the coefficients, float64.

    Attributes:
        mean: (N, 3) mm.
        identity: (N, 3, K).
        expression: (N, 3, E).
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray

    def points(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """(N, 3) mm."""
        return self.mean + self.identity @ identity + self.expression @ expression


@dataclasses.dataclass(frozen=True)
class Priors:
    """Weights of the energy's terms; see the module's energy.

    Attributes:
        identity: lambda_id.
        expression_sparse, expression_ridge: lambda_1 and lambda_2, each a number or (E,).
        sigma_mm: standard deviation of a landmark.
        kernel: k, in sigmas, where the robust kernel bends.
    """

    identity: float = 1.0
    expression_sparse: float | np.ndarray = 1.0
    expression_ridge: float | np.ndarray = 1.0
    sigma_mm: float = 2.0
    kernel: float = 2.5


@dataclasses.dataclass(frozen=True)
class LandmarkSolution:
    """Where the iteration stopped.

    Attributes:
        view: pose.
        identity: (K,).
        expression: (E,) in [0, 1].
        energies: the energy at the start and after each accepted step; never rises.
    """

    view: OrthographicView
    identity: np.ndarray
    expression: np.ndarray
    energies: tuple[float, ...]


class LandmarkEnergy:
    """The landmark energy of one face with fixed weights, its value and its normal equations.

    Coefficients are identity then expression, (K + E,).

    Args:
        basis: the landmarks as functions of the coefficients.
        points: (N, 2) px.
        weights: (N,) >= 0.
        priors: weights of the terms.
        unit_px: px/mm that turns residuals into millimetres; held fixed, or a shrinking face would fit better.
        expression_range: box of the expressions; None for none.
    """

    def __init__(self, basis: PointBasis, points: np.ndarray, weights: np.ndarray, *, priors: Priors, unit_px: float,
                 expression_range: tuple[float, float] | None = (0.0, 1.0)) -> None:
        self.split, own = basis.identity.shape[2], basis.expression.shape[2]
        self.count = self.split + own
        self.basis, self.points, self.weights, self.priors = basis, points, weights, priors
        self.ridge = np.concatenate([np.full(self.split, priors.identity), np.broadcast_to(priors.expression_ridge, own)])
        self.slope = np.concatenate([np.zeros(self.split), np.broadcast_to(priors.expression_sparse, own)])
        self.inverse = 1.0 / (unit_px * priors.sigma_mm)
        least, most = (-np.inf, np.inf) if expression_range is None else expression_range
        self.low = np.concatenate([np.full(self.split, -np.inf), np.full(own, least)])
        self.high = np.concatenate([np.full(self.split, np.inf), np.full(own, most)])
        directions = np.concatenate([basis.identity, basis.expression], axis=2)
        self._directions = directions.transpose(1, 0, 2).reshape(3, -1)

    def shape(self, coefficients: np.ndarray) -> np.ndarray:
        """(N, 3) mm."""
        return self.basis.points(coefficients[:self.split], coefficients[self.split:])

    def value(self, view: OrthographicView, coefficients: np.ndarray) -> float:
        """The energy."""
        squared = ((view.project(self.shape(coefficients)) - self.points) ** 2).sum(axis=1) * self.inverse**2
        kernel = self.priors.kernel**2
        return float(self.weights @ np.log1p(squared / kernel) * kernel + self.ridge @ coefficients**2
                     + self.slope @ coefficients)

    def normal_equations(self, view: OrthographicView, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, g) over (K + E + 6) unknowns, the pose step last; half the Gauss-Newton Hessian and half the gradient."""
        residual, by_pose = pose_jacobian(view, self.shape(coefficients), self.points)
        residual = residual * self.inverse
        robust = np.sqrt(self.weights / (1.0 + (residual**2).sum(axis=1) / self.priors.kernel**2))
        by_shape = view.scale * view.rotation[:2] @ self._directions
        jacobian = np.empty((len(self.points), 2, self.count + 6))
        jacobian[:, :, :self.count] = by_shape.reshape(2, len(self.points), self.count).transpose(1, 0, 2)
        jacobian[:, :, self.count:] = by_pose
        jacobian *= (robust * self.inverse)[:, None, None]
        jacobian = jacobian.reshape(-1, self.count + 6)
        normal = jacobian.T @ jacobian
        gradient = jacobian.T @ (robust[:, None] * residual).reshape(-1)
        index = np.arange(self.count)
        normal[index, index] += self.ridge
        gradient[:self.count] += self.ridge * coefficients + 0.5 * self.slope
        return normal, gradient

    def walls(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) (K + E + 6,): how far each unknown may still move."""
        free = np.full(6, np.inf)
        return np.concatenate([self.low - coefficients, -free]), np.concatenate([self.high - coefficients, free])

    def moved(self, coefficients: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Coefficients after a step, inside the box to the last bit."""
        return np.clip(coefficients + step[:self.count], self.low, self.high)


def solve_landmarks(energy: LandmarkEnergy, start: LandmarkSolution, *, iterations: int,
                    tolerance: float = 1e-4) -> LandmarkSolution:
    """Minimise the landmark energy from `start` by Gauss-Newton with Levenberg's damping and a box.

    Args:
        energy: what to minimise.
        start: pose and coefficients to begin from.
        iterations: most accepted steps.
        tolerance: relative fall of the energy at which to stop.
    """
    view, coefficients = start.view, np.concatenate([start.identity, start.expression])
    energies = [energy.value(view, coefficients)]
    damping = 1e-4
    for _ in range(iterations):
        normal, gradient = energy.normal_equations(view, coefficients)
        low, high = energy.walls(coefficients)
        accepted = False
        while damping < 1e8:
            damped = normal + np.diag(damping * np.diag(normal) + 1e-12)
            step = box_constrained_step(damped, gradient, low, high)
            candidate, candidate_view = energy.moved(coefficients, step), view.moved(step[energy.count:])
            after = energy.value(candidate_view, candidate)
            if after <= energies[-1]:
                accepted = True
                break
            damping *= 20
        if not accepted:
            break
        view, coefficients = candidate_view, candidate
        energies.append(after)
        damping = max(damping / 10, 1e-6)
        if energies[-2] - after < tolerance * abs(after):
            break
    return LandmarkSolution(view, coefficients[:energy.split], coefficients[energy.split:], tuple(energies))


def box_constrained_step(normal: np.ndarray, gradient: np.ndarray, low: np.ndarray, high: np.ndarray, *,
                         rounds: int = 20) -> np.ndarray:
    """argmin of d'Hd/2 + g'd with low <= d <= high, for a positive definite H.

    Block principal pivoting: solve for the free unknowns, hold those that leave the box at its wall, free held ones whose
    gradient points inward, until nothing changes (Judice and Pires 1994).

    Args:
        normal: (D, D) H.
        gradient: (D,) g.
        low, high: (D,), low <= 0 <= high, infinite where free.

    Returns:
        (D,) inside the box; the exact minimum when the pivoting settles within `rounds`, which it nearly always does.
    """
    held = np.zeros(len(gradient), dtype=np.int8)
    # At a wall with an outward gradient: held from the start, which saves most rounds near the solution.
    held[(low >= 0) & (gradient > 0)] = -1
    held[(high <= 0) & (gradient < 0)] = 1
    step = np.zeros(len(gradient))
    for _ in range(rounds):
        free = held == 0
        step = np.select([held < 0, held > 0], [low, high], 0.0)
        fixed = ~free
        right = -gradient[free]
        if fixed.any():
            right = right - normal[np.ix_(free, fixed)] @ step[fixed]
        step[free] = scipy.linalg.solve(normal[np.ix_(free, free)], right, assume_a="pos", check_finite=False)
        slope = normal @ step + gradient
        below, above = free & (step < low), free & (step > high)
        release = ((held < 0) & (slope < -1e-12)) | ((held > 0) & (slope > 1e-12))
        if not (below.any() or above.any() or release.any()):
            return step
        held[release] = 0
        held[below] = -1
        held[above] = 1
    return np.clip(step, low, high)
