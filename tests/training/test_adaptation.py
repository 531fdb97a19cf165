"""The adapted network learns: stages, errors, and eight samples by heart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from facerecon.alignment import landmark_nme, load_scheme
from facerecon.errors import ArgumentError
from facerecon.gmda import build_autoencoder
from facerecon.training import (
    AdaptationSettings,
    AdaptationTask,
    Augmentation,
    Material,
    PnccHead,
    build_task,
    load_recipe,
    make_crops,
    train,
)


def test_the_encoder_rests_in_the_first_stage_only(tiny, monkeypatch):
    import facerecon.training.run as run

    tasks, seen = [], []

    def build(*arguments, **options):
        tasks.append(tiny.build(*arguments, **options))
        return tasks[0]

    original = tiny.AdaptationTask._prepare

    def watch(self, step, optimizer):
        original(self, step, optimizer)
        seen.append((self.network.encoder[0].weight.detach().clone(), self.network.head.weight.detach().clone(),
                     [group["lr"] for group in optimizer.param_groups]))

    monkeypatch.setattr(run, "build_task", build)
    monkeypatch.setattr(tiny.AdaptationTask, "_prepare", watch)
    recipe = tiny.recipe(first_stage=0.5, first_stage_learning_rate=1e-2, learning_rate=1e-3, encoder_learning_rate=1e-4)
    run.train(recipe, tiny.material(), None, progress=False)
    encoder, head, rates = zip(*seen)
    assert rates[:3] == ([1e-2, 1e-2],) * 3 and rates[3:] == ([1e-3, 1e-4],) * 3
    assert all(torch.equal(encoder[0], weight) for weight in encoder[:4])
    assert not torch.equal(encoder[3], encoder[4]) and not torch.equal(encoder[4], encoder[5])
    assert all(not torch.equal(first, second) for first, second in zip(head, head[1:]))


def test_an_encoder_that_is_not_tuned_stays(fit, tiny):
    torch.manual_seed(0)
    start = tiny.Tiny()
    result = fit(None, fine_tune_encoder=False)
    assert torch.equal(result.network.encoder[0].weight, start.encoder[0].weight)
    assert not torch.equal(result.network.head.weight, start.head.weight)


def test_frozen_statistics_stay_and_the_batch_moves_others(fit):
    assert float(fit(None).network.encoder[1].running_mean.abs().max()) == 0
    assert float(fit(None, encoder_statistics="batch").network.encoder[1].running_mean.abs().max()) > 0


def test_heatmap_errors_are_zero_for_perfect_maps_and_infinite_for_broken_ones(tiny):
    head = tiny.head_of(tiny.recipe())
    _, points = tiny.squares(3)
    batch = {"points": torch.from_numpy(points)}
    maps = head.targets(batch, 128)
    maps[2, 1] = float("nan")
    errors = head.errors(maps, batch)
    assert errors[:2].max() < 1e-3 and torch.isinf(errors[2]) and float(head.loss(maps[:2], {"points": batch["points"][:2]})) == 0


def test_a_shift_of_every_point_is_the_error(tiny):
    head = tiny.head_of(tiny.recipe())
    _, points = tiny.squares(2)
    shifted = head.targets({"points": torch.from_numpy(points) + torch.tensor([3.0, 4.0])}, 128)
    box = np.sqrt(np.prod(points.max(1) - points.min(1), axis=1))
    assert np.allclose(head.errors(shifted, {"points": torch.from_numpy(points)}).numpy(), 5 / box, atol=1e-3)


def test_unlabelled_points_do_not_count(tiny):
    head = tiny.head_of(tiny.recipe())
    _, points = tiny.squares(2)
    batch = {"points": torch.from_numpy(points)}
    maps = torch.rand(2, 5, 128, 128)
    batch["points"][0, 2] = float("nan")
    other = maps.clone()
    other[0, 2] = 7.0
    assert head.counts(batch).tolist() == [4, 5] and torch.equal(head.loss(maps, batch), head.loss(other, batch))
    assert torch.equal(head.errors(maps, batch), head.errors(other, batch))


def test_pncc_loss_and_error():
    head, maps = PnccHead(), torch.full((2, 3, 4, 4), 0.25)
    found = maps.clone()
    found[0] += 0.5
    assert float(head.loss(found, {"maps": maps})) == 0.25
    assert head.errors(found + 2, {"maps": maps}).tolist() == [0.75, 0.75], "the predictor clips to the range of codes"


@pytest.mark.parametrize(("changes", "message"), [({"learning_rate": -1.0}, "learning_rate"), ({"schedule": "steps"}, "schedule"),
                                                  ({"first_stage": 2.0}, "first_stage"), ({"encoder_statistics": "x"}, "statistics")])
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ArgumentError, match=message):
        AdaptationSettings(**changes)


def test_what_a_recipe_may_start_from():
    recipe = load_recipe("landmarks-cpu-128", ["kind=original", "skips=false"])
    autoencoder = build_autoencoder(image_size=128)
    task = build_task(recipe, steps=3, init=autoencoder)
    assert isinstance(task, AdaptationTask) and task.network.config["kind"] == "original" and task.network.config["outputs"] == 68
    assert torch.equal(task.network.encoder.conv1.weight, autoencoder.encoder.conv1.weight)
    assert build_task(recipe, steps=3, init=task.network).network is task.network
    for chosen, start, message in ((recipe, None, "give its weights"), (dataclasses.replace(recipe, pretrained=False), autoencoder, "random"),
                                   (dataclasses.replace(recipe, kind="hybrid"), task.network, "kind=original, not hybrid"),
                                   (dataclasses.replace(recipe, image_size=256), autoencoder, "256 px, got one for 128"),
                                   (load_recipe("autoencoder-smoke"), task.network, "weights of an autoencoder")):
        with pytest.raises(ArgumentError, match=message):
            build_task(chosen, steps=3, init=start)


def test_a_small_autoencoder_grows():
    small = build_autoencoder(image_size=128)
    task = build_task(load_recipe("autoencoder-3fabrec-256"), steps=3, init=small)
    assert task.autoencoder.image_size == 256
    assert torch.equal(task.autoencoder.encoder.layer2[0].conv1.weight, small.encoder.layer2[0].conv1.weight)


def test_eight_samples_are_learnt_by_heart(tiny):
    """From random weights in 30 steps: an NME under 8 % of the box, where the mean place of every point would give 12 %."""
    images, points = tiny.squares(8, half=8)
    crops = make_crops(images, [str(index) for index in range(8)], None, points, scheme="five")
    recipe = load_recipe("landmarks-smoke", [
        "scheme=five", "normaliser=box", "sigma=20", "batch_size=8", "steps=30", "kind=original", "first_stage=0", "learning_rate=3e-3",
        "encoder_learning_rate=3e-3", "encoder_statistics=batch", "fine_tune_decoder=true", "schedule=cosine", "validate_every=0"])
    recipe = dataclasses.replace(recipe, augmentation=Augmentation())
    result = train(recipe, Material(crops, crops), None, progress=False)
    mean = np.broadcast_to(points.mean(0), points.shape)
    assert landmark_nme(mean, points, normaliser="box", scheme=load_scheme("five")).mean() > 0.12
    assert result.metrics["validation_nme"] < 0.08, result.errors
