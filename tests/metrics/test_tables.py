"""Curves, aggregation and intervals: values by hand and statistical laws."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.errors import ArgumentError
from facerecon.metrics import (area_under_ced, balanced_subset_mean, bin_means, bootstrap_intervals, ced_curve, failure_rate,
                               mean_of_bins, paired_difference, resampling_counts, summarise, yaw_bins)


def test_ced_auc_and_failure_rate_by_hand():
    errors = np.array([0.02, 0.04, 0.04, 0.2])
    np.testing.assert_array_equal(ced_curve(errors, [0.0, 0.02, 0.03, 0.04, 1.0]), [0, 0.25, 0.25, 0.75, 1])
    # Under the steps up to 0.1: (0.08 + 0.06 + 0.06 + 0) / 4 / 0.1.
    assert area_under_ced(errors, 0.1) == pytest.approx(0.5)
    assert failure_rate(errors, 0.1) == 0.25 and failure_rate(errors, 0.04) == 0.25 and failure_rate(errors, 0.03) == 0.75


def test_auc_is_the_integral_of_the_curve():
    errors = np.random.default_rng(0).gamma(2, 0.02, size=500)
    grid = np.linspace(0, 0.1, 200001)
    assert area_under_ced(errors, 0.1) == pytest.approx(ced_curve(errors, grid).mean(), abs=1e-4)


def test_a_miss_counts_as_a_failure():
    errors = np.array([0.0, np.inf])
    assert failure_rate(errors, 0.1) == 0.5 and area_under_ced(errors, 0.1) == 0.5
    for bad in ([], [np.nan]):
        with pytest.raises(ArgumentError, match="wanted at least one"):
            failure_rate(bad, 0.1)
    with pytest.raises(ArgumentError, match="above 0"):
        area_under_ced(errors, 0.0)


def test_bins_are_closed_above_and_keep_absurd_angles():
    assert yaw_bins([0, 30, -30, 30.001, -60, 60.001, 351]).tolist() == [0, 0, 0, 1, 1, 2, 2]
    with pytest.raises(ArgumentError, match="finite"):
        yaw_bins([np.nan])


ERRORS = np.array([1.0, 3.0, 5.0, 7.0, 11.0, 100.0])
BINS = np.array([0, 0, 0, 1, 1, 2])


def test_means_by_hand():
    np.testing.assert_allclose(bin_means(ERRORS, BINS), [3, 9, 100])
    assert mean_of_bins(ERRORS, BINS) == pytest.approx(112 / 3)
    summary = summarise(ERRORS, BINS, seeds=(0, 1))
    assert summary.mean_all == pytest.approx(127 / 6) and summary.counts == (3, 2, 1) and summary.n == 6
    assert summary.std_of_bins == pytest.approx(np.std([3, 9, 100])) and summary.median == 6
    assert summary.balanced_size == 1 and summary.balanced_seeds == (0, 1)


def test_nan_leaves_an_image_out_and_an_empty_bin_is_nan():
    errors = ERRORS.copy()
    errors[[2, 5]] = np.nan
    means = bin_means(errors, BINS)
    assert means[0] == 2 and means[1] == 9 and np.isnan(means[2]) and np.isnan(mean_of_bins(errors, BINS))
    summary = summarise(errors, BINS)
    assert summary.n == 4 and summary.mean_all == 22 / 4 and np.isnan(summary.balanced) and summary.balanced_size == 0


def test_balanced_subset_draws_equally_and_by_seed():
    errors = np.concatenate([np.zeros(50), np.ones(20), np.full(5, 2.0)])
    bins = np.concatenate([np.zeros(50, int), np.ones(20, int), np.full(5, 2)])
    means, size = balanced_subset_mean(errors, bins, seeds=range(4))
    assert size == 5 and (means == 1).all()
    noisy = errors + np.random.default_rng(0).normal(size=75)
    again = balanced_subset_mean(noisy, bins, seeds=(3, 4))[0]
    assert (again == balanced_subset_mean(noisy, bins, seeds=(3, 4))[0]).all() and again[0] != again[1]
    with pytest.raises(ArgumentError, match="at most 5"):
        balanced_subset_mean(errors, bins, seeds=(0,), size=6)


def sample(seed, n=(60, 30, 20)):
    generator = np.random.default_rng(seed)
    bins = np.repeat(np.arange(3), n)
    return generator.gamma(4, 1 + bins), bins


def test_bootstrap_repeats_and_holds_its_figure():
    errors, bins = sample(0)
    counts = resampling_counts(bins, seed=7)
    assert (counts == resampling_counts(bins, seed=7)).all() and (counts != resampling_counts(bins, seed=8)).any()
    for which in range(3):
        assert (counts[:, bins == which].sum(axis=1) == (bins == which).sum()).all()
    intervals = bootstrap_intervals(errors, bins, counts)
    assert intervals == bootstrap_intervals(errors, bins, counts)
    assert intervals["mean_all"].figure == pytest.approx(errors.mean())
    assert intervals["mean_of_bins"].figure == pytest.approx(mean_of_bins(errors, bins))
    for interval in intervals.values():
        assert interval.low < interval.figure < interval.high


def test_bootstrap_matches_a_loop_over_resamples():
    errors, bins = sample(1)
    errors[3] = np.nan
    counts = resampling_counts(bins, resamples=200)
    means = [np.nanmean(np.repeat(errors, row)) for row in counts]
    interval = bootstrap_intervals(errors, bins, counts)["mean_all"]
    np.testing.assert_allclose([interval.low, interval.high], np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_bootstrap_covers_the_true_mean():
    # Gamma(4, scale): the mean is 4 (1 + bin). Nominal 95 %; 120 trials give 95 +- 4 (two sigma), small samples a bit less.
    hits = 0
    for seed in range(120):
        errors, bins = sample(seed)
        interval = bootstrap_intervals(errors, bins, resampling_counts(bins, resamples=300, seed=seed))["mean_of_bins"]
        hits += interval.low <= 8.0 <= interval.high
    assert 0.87 <= hits / 120 <= 1.0


def test_paired_difference_has_the_sign_of_the_better_and_is_narrower():
    errors, bins = sample(2)
    better = errors - 0.1 + 0.01 * np.random.default_rng(3).normal(size=len(errors))
    counts = resampling_counts(bins)
    difference = paired_difference(better, errors, bins, counts)["mean_of_bins"]
    assert difference.high < 0 and difference.figure == pytest.approx(-0.1, abs=0.01)
    single = bootstrap_intervals(errors, bins, counts)["mean_of_bins"]
    assert difference.high - difference.low < 0.1 * (single.high - single.low)
    reverse = paired_difference(errors, better, bins, counts)["mean_of_bins"]
    assert reverse.low == pytest.approx(-difference.high) and reverse.figure == pytest.approx(-difference.figure)


def test_an_empty_bin_has_no_interval():
    errors, bins = np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1])
    intervals = bootstrap_intervals(errors, bins, resampling_counts(bins, resamples=50))
    assert np.isnan(intervals["60-90"].low) and np.isnan(intervals["mean_of_bins"].figure)
    assert intervals["mean_all"].figure == 2
