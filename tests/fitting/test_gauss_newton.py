"""The solver: exact box-constrained steps, a true gradient, energy that never rises."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from facerecon.fitting.gauss_newton import LandmarkEnergy, LandmarkSolution, Priors, box_constrained_step, solve_landmarks
from facerecon.fitting.initial_pose import estimate_view
from facerecon.fitting.rows import landmark_rows


def problem(open_model, rng, scheme="ibug68"):
    basis = landmark_rows(open_model, scheme).basis
    identity = rng.normal(0, 0.8, basis.identity.shape[2])
    expression = np.clip(rng.uniform(-1.0, 0.8, basis.expression.shape[2]), 0, 1)
    view = estimate_view(basis.mean, basis.mean[:, :2] * [1.2, -1.2] + 150)
    points = view.project(basis.points(identity, expression)) + rng.normal(0, 1.0, (len(basis.mean), 2))
    priors = Priors(expression_sparse=2.0, expression_ridge=1.0, sigma_mm=3.0)
    energy = LandmarkEnergy(basis, points, rng.uniform(0.2, 1, len(points)), priors=priors, unit_px=1.2)
    start = LandmarkSolution(view, np.zeros_like(identity), np.zeros_like(expression), ())
    return energy, start


@pytest.mark.parametrize("seed", range(5))
def test_box_constrained_step_is_the_minimum(seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(30, 12))
    gradient = rng.normal(size=12) * 5
    low, high = -rng.uniform(0, 0.3, 12), rng.uniform(0, 0.3, 12)
    low[:3], high[:3] = -np.inf, np.inf
    low[4] = high[5] = 0.0
    step = box_constrained_step(factor.T @ factor, gradient, low, high)
    target = -np.linalg.lstsq(factor.T, gradient, rcond=None)[0]
    reference = scipy.optimize.lsq_linear(factor, target, bounds=(np.minimum(low, -1e-12), np.maximum(high, 1e-12)), tol=1e-14)
    np.testing.assert_allclose(step, reference.x, atol=1e-6)


def test_gradient_is_the_derivative_of_the_value(open_model, rng):
    energy, start = problem(open_model, rng)
    coefficients = np.concatenate([rng.normal(0, 0.5, energy.split), rng.uniform(0.1, 0.5, energy.count - energy.split)])
    _, gradient = energy.normal_equations(start.view, coefficients)
    for axis in [0, 5, energy.split - 1, energy.split, energy.count - 1, *range(energy.count, energy.count + 6)]:
        step = np.zeros(energy.count + 6)
        step[axis] = 1e-5

        def value(sign, step=step):
            return energy.value(start.view.moved(sign * step[energy.count:]), coefficients + sign * step[:energy.count])

        assert 2 * gradient[axis] == pytest.approx((value(1) - value(-1)) / 2e-5, rel=1e-4, abs=1e-4)


def test_value_by_hand():
    from facerecon.fitting.gauss_newton import PointBasis
    from facerecon.fitting.initial_pose import OrthographicView

    basis = PointBasis(np.zeros((2, 3)), np.zeros((2, 3, 1)), np.zeros((2, 3, 1)))
    view = OrthographicView(np.diag([1.0, -1.0, -1.0]), np.zeros(2), 1.0)
    priors = Priors(identity=3.0, expression_sparse=2.0, expression_ridge=4.0, sigma_mm=2.5, kernel=2.0)
    energy = LandmarkEnergy(basis, np.array([[6.0, 8.0], [0.0, 0.0]]), np.array([0.5, 1.0]), priors=priors, unit_px=2.0)
    # 10 px at 2 px/mm and sigma 2.5 mm are 2 sigmas: 4 log(1 + 4/4), half of it; priors 3 * 2^2 + 2 * 0.5 + 4 * 0.25.
    assert energy.value(view, np.array([2.0, 0.5])) == pytest.approx(2 * np.log(2.0) + 12 + 1 + 1)
    # At zero residual and zero coefficients nothing pulls but the sparse prior.
    still = LandmarkEnergy(basis, np.zeros((2, 2)), np.ones(2), priors=priors, unit_px=2.0)
    normal, gradient = still.normal_equations(view, np.zeros(2))
    assert np.isfinite(normal).all() and still.value(view, np.zeros(2)) == 0.0
    np.testing.assert_allclose(gradient, [0, 1, 0, 0, 0, 0, 0, 0], atol=1e-12)


def test_energy_never_rises_and_expressions_stay_in_their_box(open_model, rng):
    energy, start = problem(open_model, rng, "mediapipe478")
    solution = solve_landmarks(energy, start, iterations=15)
    assert len(solution.energies) > 3
    assert (np.diff(solution.energies) <= 0).all()
    assert solution.expression.min() >= 0 and solution.expression.max() <= 1
    assert (solution.expression == 0).sum() > 5
    np.testing.assert_allclose(solution.view.rotation @ solution.view.rotation.T, np.eye(3), atol=1e-9)


def test_solution_is_stationary(open_model, rng):
    energy, start = problem(open_model, rng)
    solution = solve_landmarks(energy, start, iterations=200, tolerance=0.0)
    coefficients = np.concatenate([solution.identity, solution.expression])
    _, gradient = energy.normal_equations(solution.view, coefficients)
    low, high = energy.walls(coefficients)
    inward = np.where((low >= 0) & (gradient > 0) | (high <= 0) & (gradient < 0), 0.0, gradient)
    # The pose step is in radians and pixels, so its slopes are larger.
    assert np.abs(inward[:energy.count]).max() < 1e-3
    assert np.abs(inward[energy.count:]).max() < 1e-1


def test_one_wild_point_hardly_moves_the_fit(open_model, rng):
    energy, start = problem(open_model, rng)
    clean = solve_landmarks(energy, start, iterations=50, tolerance=1e-9)
    energy.points = energy.points.copy()
    energy.points[40] += [60.0, -40.0]
    wild = solve_landmarks(energy, start, iterations=50, tolerance=1e-9)
    others = np.arange(68) != 40
    moved = [solution.view.project(energy.shape(np.concatenate([solution.identity, solution.expression])))[others]
             for solution in (clean, wild)]
    assert np.linalg.norm(moved[1] - moved[0], axis=1).mean() < 0.5
