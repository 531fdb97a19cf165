"""Acquisition functions against plain loops, and the rules of choosing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facerecon.alignment import encode_heatmaps, k_center_greedy, nnm, random_order, select, spatial_entropy
from facerecon.errors import ArgumentError


def random_maps(batch=2, points=3, side=16, seed=0):
    return torch.randn(batch, points, side, side + 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop_nnm(maps, window):
    totals = []
    for sample in maps.numpy():
        total = 0.0
        for map_ in sample:
            row, column = np.unravel_index(map_.argmax(), map_.shape)
            for y in range(row - window // 2, row + window // 2 + 1):
                for x in range(column - window // 2, column + window // 2 + 1):
                    if 0 <= y < map_.shape[0] and 0 <= x < map_.shape[1]:
                        total += map_[y, x]
        totals.append(-total)
    return torch.tensor(totals, dtype=torch.float64)


def loop_entropy(maps):
    totals = []
    for sample in maps.numpy():
        entropies = []
        for map_ in sample:
            shares = np.maximum(map_, 0).ravel() / np.maximum(map_, 0).sum()
            entropies.append(-sum(share * math.log(share) for share in shares if share > 0))
        totals.append(np.mean(entropies))
    return torch.tensor(totals, dtype=torch.float64)


@pytest.mark.parametrize("window", [1, 3, 7, 15])
def test_nnm_agrees_with_a_loop(window):
    maps = random_maps()
    # Peaks in corners and on edges, where windows leave the map.
    maps[0, 0, 0, 0] = maps[0, 1, 15, 17] = maps[1, 2, 8, 0] = 9.0
    torch.testing.assert_close(nnm(maps, window=window), loop_nnm(maps, window))


def test_nnm_by_hand():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 4, 4], maps[0, 0, 4, 5], maps[0, 0, 0, 0] = 2.0, 1.0, 1.5
    maps[0, 1, 0, 7], maps[0, 1, 1, 7] = 0.5, 0.25
    assert nnm(maps, window=3).tolist() == [-3.75] and nnm(maps, window=1).tolist() == [-2.5]


def test_entropy_agrees_with_a_loop():
    maps = random_maps()
    torch.testing.assert_close(spatial_entropy(maps), loop_entropy(maps))


def test_entropy_of_known_distributions():
    maps = torch.zeros(3, 1, 8, 8)
    maps[0, 0, 2, 2] = 5.0
    maps[1, 0, :2, :2] = 0.1
    assert spatial_entropy(maps).tolist() == pytest.approx([0.0, math.log(4), math.log(64)], abs=1e-6)


@pytest.mark.parametrize("score", [nnm, spatial_entropy])
def test_unsure_maps_score_higher(score):
    sharp = encode_heatmaps(torch.full((1, 4, 2), 100.0), image_size=256)
    two_peaks = (sharp + encode_heatmaps(torch.full((1, 4, 2), 180.0), image_size=256)) / 2
    assert score(two_peaks) > score(sharp)


def test_scores_do_not_depend_on_the_batch():
    maps = random_maps(5)
    for score in (nnm, spatial_entropy):
        torch.testing.assert_close(score(maps), torch.cat([score(map_[None]) for map_ in maps]))
        assert score(maps.bfloat16()).dtype == torch.float32


def test_k_center_greedy_by_hand():
    # On a line: from 0, the farthest is 10; then 5, midway; then 2 and 8, two from what is taken, the lower index first.
    features = np.array([[0.0], [2.0], [5.0], [8.0], [10.0], [1.0]])
    assert k_center_greedy(features, np.array([0]), 4).tolist() == [4, 2, 1, 3]
    assert k_center_greedy(features, np.array([0, 4]), 1).tolist() == [2]
    assert k_center_greedy(features, np.array([0]), 0).tolist() == []


def test_k_center_greedy_agrees_with_a_loop():
    features = np.random.default_rng(0).normal(size=(40, 5))
    taken = [3, 17]
    found = k_center_greedy(features, np.array(taken), 10)
    for index in found:
        nearest = [min(np.linalg.norm(row - features[other]) for other in taken) for row in features]
        assert index == int(np.argmax(nearest))
        taken.append(int(index))
    assert len(set(taken)) == 12


def test_k_center_greedy_takes_copies_last_and_never_twice():
    features = np.array([[0.0], [0.0], [0.0], [3.0]])
    assert k_center_greedy(features, np.array([0]), 3).tolist() == [3, 1, 2]


def test_random_order_is_the_seed_s():
    order = random_order(50, seed=3)
    assert sorted(order.tolist()) == list(range(50)) and order.tolist() != list(range(50))
    assert random_order(50, seed=3).tolist() == order.tolist() != random_order(50, seed=4).tolist()


def test_select_leaves_the_highest_tenth_out():
    scores = np.array([5.0, 1.0, 9.0, 7.0, 3.0, 8.0, 2.0, 6.0, 4.0, 0.0])
    assert select(scores, 3).tolist() == [5, 3, 7]
    assert select(scores, 3, discard=0.0).tolist() == [2, 5, 3]
    assert select(scores, 9).tolist() == [5, 3, 7, 0, 8, 4, 6, 1, 9]
    # Nine samples: no whole one is a tenth. A hundred at 29 %: 29, not the 28 of binary rounding.
    assert select(scores[:9], 1).tolist() == [2]
    assert select(np.arange(100.0), 1, discard=0.29).tolist() == [70]
    assert select(np.zeros(1000), 3, discard=0.25).tolist() == [250, 251, 252]


@pytest.mark.parametrize("call", [
    lambda: nnm(torch.zeros(1, 2, 8, 8), window=4),
    lambda: nnm(torch.zeros(2, 8, 8)),
    lambda: spatial_entropy(torch.zeros(8, 8)),
    lambda: k_center_greedy(np.zeros((3, 2)), np.array([], dtype=int), 1),
    lambda: k_center_greedy(np.zeros((3, 2)), np.array([0]), 3),
    lambda: k_center_greedy(np.zeros((3, 2)), np.array([3]), 1),
    lambda: k_center_greedy(np.full((3, 2), np.nan), np.array([0]), 1),
    lambda: select(np.arange(10.0), 10),
    lambda: select(np.array([1.0, np.nan]), 1),
    lambda: select(np.arange(10.0), 1, discard=1.5),
])
def test_wrong_arguments_are_refused(call):
    with pytest.raises(ArgumentError):
        call()
