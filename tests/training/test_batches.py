"""Batches are a function of seed and step; targets move with their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.training import Augmentation, Batches, EvaluationBatches
from facerecon.training.batches import epochs_for, map_targets, point_targets, steps_for

WILD = Augmentation(flip=0.5, translate=0.05, scale=(0.9, 1.1), rotate_deg=20, occlude=0.5, blur=0.5, brightness=0.1, contrast=0.1)
FLIP = (1, 0, 2, 4, 3)


def batches(images, points=None, **changes):
    options = {"size": 32, "augmentation": WILD, "batch_size": 4, "steps": 5, "seed": 3, **changes}
    return Batches(images, target=None if points is None else point_targets(points, FLIP), **options)


@pytest.fixture
def data(tiny):
    return tiny.squares(6, size=32, half=1)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in ("images", "points")) and first["step"] == second["step"]


def test_every_sample_is_seen_equally_often_and_in_another_order(data):
    made = batches(*data, steps=9)
    seen = np.concatenate([made.indices(step) for step in range(9)])
    assert len(seen) == 36 and (np.bincount(seen) == 6).all()
    epochs = seen.reshape(6, 6)
    assert (np.sort(epochs, 1) == np.arange(6)).all() and len({tuple(epoch) for epoch in epochs}) > 1


def test_a_seed_gives_one_sequence_and_another_seed_another(data):
    first, again, other = (list(batches(*data, seed=seed)) for seed in (3, 3, 4))
    assert len(first) == 5 and [batch["step"] for batch in first] == [0, 1, 2, 3, 4]
    assert all(same(*pair) for pair in zip(first, again)) and not any(same(*pair) for pair in zip(first, other))


def test_resuming_goes_on_where_the_state_was_taken(data):
    whole = list(batches(*data))
    stopped = batches(*data)
    begun = iter(stopped)
    next(begun), next(begun)
    resumed = batches(*data)
    resumed.load_state_dict(stopped.state_dict())
    rest = list(resumed)
    assert len(rest) == 3 and all(same(*pair) for pair in zip(rest, whole[2:]))


def test_processes_see_together_what_one_sees(data):
    whole = batches(*data).batch(2)
    parts = [batches(*data, rank=rank, world=2).batch(2) for rank in range(2)]
    for name in ("images", "points"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    with pytest.raises(ArgumentError, match="multiple of the 3"):
        batches(*data, world=3)


def test_corruption_shows_what_it_changes_and_leaves_the_images(data):
    images, _ = data
    plain, corrupted = batches(images), batches(images, corruption=Augmentation(occlude=1.0, brightness=0.2))
    batch = corrupted.batch(1)
    assert torch.equal(batch["images"], plain.batch(1)) and batch["step"] == 1
    assert (batch["shown"] != batch["images"]).flatten(1).any(1).all() and 0 <= batch["shown"].min() and batch["shown"].max() <= 1
    parts = [batches(images, corruption=corrupted.corruption, rank=rank, world=2).batch(1)["shown"] for rank in range(2)]
    assert torch.equal(torch.cat(parts), batch["shown"])


def test_points_stay_on_their_squares(tiny):
    images, points = tiny.squares(8, size=64, half=2)
    points[:, 4] = np.nan
    images[:] = 90
    colours = tiny.COLOURS.copy()
    # The mirror exchanges names, so that partners must look alike for the test to see where a point went.
    colours[0] = colours[1]
    for image, places in zip(images, points):
        for (x, y), colour in zip(places[:4].astype(int), colours):
            image[y - 2:y + 3, x - 2:x + 3] = colour
    made = Batches(images, size=64, augmentation=Augmentation(flip=0.5, rotate_deg=20), batch_size=8, steps=1,
                   target=point_targets(points, (1, 0, 2, 3, 4)))
    batch = made.batch(0)
    assert torch.isnan(batch["points"][:, 4]).all() and torch.isfinite(batch["points"][:, :4]).all()
    hits = 0
    for image, places in zip(batch["images"], batch["points"]):
        for place, colour in zip(places[:4].round().long().tolist(), colours):
            if all(0 <= value < 64 for value in place):
                hits += (image[:, place[1], place[0]] - torch.tensor(colour / 255)).abs().max() < 0.3
    assert hits >= 30, "of 32 points, some may be hidden under another square or have left the view"


def test_maps_move_with_their_images(tiny):
    images, _ = tiny.squares(3, size=64, half=6)
    made = Batches(images, size=64, augmentation=Augmentation(rotate_deg=20, translate=0.05), batch_size=3, steps=1,
                   target=map_targets(images, crop_size=64))
    batch = made.batch(0)
    assert (batch["maps"] - batch["images"]).abs().max() < 1e-4


def test_evaluation_gives_all_samples_once_unchanged(data):
    images, points = data
    made = list(EvaluationBatches(images, size=32, batch_size=4, target=point_targets(points, FLIP)))
    assert [len(batch["images"]) for batch in made] == [4, 2]
    assert torch.allclose(torch.cat([batch["points"] for batch in made]), torch.from_numpy(points), atol=1e-4)
    drawn = torch.cat([batch["images"] for batch in made]).permute(0, 2, 3, 1) * 255
    assert (drawn - torch.from_numpy(images)).abs().max() < 0.01


def test_without_a_target_there_are_images_alone(data):
    assert batches(data[0]).batch(0).shape == (4, 3, 32, 32) and next(iter(EvaluationBatches(data[0], size=32))).shape == (6, 3, 32, 32)


def test_wrong_data_are_refused(data):
    for images in (data[0][:0], data[0].astype(np.float32), data[0][0]):
        with pytest.raises(ArgumentError, match="images: wanted"):
            batches(images)
    with pytest.raises(ArgumentError, match="5 points of the scheme, got 4"):
        batches(data[0], data[1][:, :4])


def test_epochs_follow_equation_3_2():
    assert epochs_for(100, 400) == 600 and epochs_for(7, 7) == 300 and steps_for(600, 100, 8) == 7500
