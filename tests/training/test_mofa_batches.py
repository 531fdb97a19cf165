"""Mixed batches: shares, one function of seed and step, what is known of each row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.training import load_recipe
from facerecon.training.augment import Augmentation
from facerecon.training.mofa_batches import in_context, rows_of
from facerecon.training.mofa_material import MofaMaterial, MofaSet


@pytest.fixture(scope="module")
def material(heads):
    """Five photos without truth, three heads with it."""
    photos = heads.samples(5, seed=1, truth=False, codes=True, name="photo")
    drawn = heads.samples(3, seed=2, codes=True)
    return MofaMaterial(heads.model, MofaSet((photos, drawn), (0.75, 0.25)), MofaSet((photos, drawn)))


def recipe(**changes):
    words = ["batch_size=8", "pncc=true", "augmentation.flip=0.5", "augmentation.rotate_deg=10"]
    return dataclasses.replace(load_recipe("mofa-smoke", words), **changes)


def tensors(batch):
    return {name: value for name, value in batch.items() if name != "step"}


@pytest.mark.parametrize(("shares", "size", "rows"), [((1.0,), 4, (4,)), ((0.5, 0.5), 16, (8, 8)), ((0.75, 0.25), 8, (6, 2)),
                                                      ((0.9, 0.1), 16, (14, 2)), ((1 / 3, 1 / 3, 1 / 3), 10, (4, 3, 3))])
def test_rows_follow_the_shares(shares, size, rows):
    assert rows_of(shares, size) == rows


def test_a_share_without_a_row_is_refused():
    with pytest.raises(ArgumentError, match="at least one sample of each source"):
        rows_of((0.98, 0.02), 8)


def test_each_batch_has_the_shares_and_each_source_its_epochs(material):
    batches = material.batches(recipe(), steps=10, seed=0)
    seen = [np.zeros(5, int), np.zeros(3, int)]
    for step in range(10):
        assert torch.bincount(batches.batch(step)["source"]).tolist() == [6, 2]
        for counts, part in zip(seen, batches.parts):
            np.add.at(counts, part.indices(step), 1)
    assert seen[0].tolist() == [12] * 5 and seen[1].sum() == 20 and np.ptp(seen[1]) <= 1
    orders = {tuple(batches.batch(step)["source"].tolist()) for step in range(5)}
    assert len(orders) > 1


def test_a_batch_is_a_function_of_seed_and_step(material):
    # As in another process: nothing is remembered.
    one, other = (dataclasses.replace(material, _mirrors={}).batches(recipe(), steps=4, seed=3) for _ in range(2))
    in_turn = list(one)
    other.load_state_dict({"step": 2})
    assert [batch["step"] for batch in other] == [2, 3]
    for batch in in_turn:
        again = other.batch(batch["step"])
        assert set(again) == set(batch)
        for name, value in tensors(batch).items():
            assert torch.equal(value.nan_to_num(7.0) if value.is_floating_point() else value,
                               again[name].nan_to_num(7.0) if value.is_floating_point() else again[name]), name
    elsewhere = material.batches(recipe(), steps=4, seed=4)
    assert not torch.equal(in_turn[0]["images"], elsewhere.batch(0)["images"])


def test_processes_share_the_batch_of_one(material):
    whole, parts = material.batches(recipe(), steps=2, seed=0), []
    for rank in range(2):
        part = material.batches(recipe(), steps=2, seed=0)
        part.share(rank, 2)
        parts.append(part.batch(1))
    assert torch.equal(torch.cat([part["images"] for part in parts]), whole.batch(1)["images"])
    with pytest.raises(ArgumentError, match="multiple of the 3 processes"):
        whole.share(0, 3)


def test_only_drawn_heads_have_a_truth(material):
    batch = material.batches(recipe(), steps=1, seed=0).batch(0)
    assert torch.equal(batch["known"], batch["source"] == 1)
    for name in ("identity", "rotation", "scale", "illumination"):
        value = batch[f"true_{name}"].flatten(1) if batch[f"true_{name}"].ndim > 1 else batch[f"true_{name}"][:, None]
        assert torch.equal(value.isfinite().all(1), batch["known"])


def test_changed_colours_have_no_true_light(material):
    bright = dataclasses.replace(recipe().augmentation, brightness=0.1)
    batch = material.batches(recipe(augmentation=bright), steps=1, seed=0).batch(0)
    assert batch["known"].any() and batch["true_illumination"].isnan().all()
    assert batch["true_albedo"][batch["known"]].isfinite().all()


def test_an_occluder_hides_what_is_seen_and_not_what_is_compared(material):
    batch = material.batches(recipe(corruption=Augmentation(occlude=1.0)), steps=1, seed=0).batch(0)
    plain = material.batches(recipe(), steps=1, seed=0).batch(0)
    assert torch.equal(batch["images"], plain["images"]) and "shown" not in plain
    assert ((batch["shown"] != batch["images"]).flatten(1).any(1)).all()


def test_the_jaw_may_be_left_out(material):
    batch = material.batches(recipe(jaw=False), steps=1, seed=0).batch(0)
    assert not batch["visible"][:, :17].any() and batch["visible"][:, 17:].all()


def test_validation_shows_the_square_and_points_lie_in_it(material):
    batches = list(material.validation_batches(recipe()))
    assert [len(batch["images"]) for batch in batches] == [5, 3]
    (first, second), part = batches, material.validation.parts[0]
    assert torch.allclose(first["images"], torch.from_numpy(part.images[:, 8:136, 8:136]).permute(0, 3, 1, 2) / 255, atol=1e-5)
    assert torch.allclose(first["points"], torch.from_numpy(part.points) - 8, atol=1e-3)
    # The box of the points is the square's middle, 1.6 times smaller.
    box = first["points"].amax(1) - first["points"].amin(1)
    assert torch.allclose(box.amax(1), torch.full((5,), 128 / 1.6), atol=0.01)
    assert second["known"].all() and not first["known"].any()


def test_the_context_is_beyond_the_view():
    assert in_context(Augmentation(scale=(0.9, 1.2))).scale == pytest.approx((0.9 * 1.125, 1.2 * 1.125))


def test_other_shares_and_other_samples_are_other_data(material):
    one, other = material.training, MofaSet(material.training.parts, (0.5, 0.5))
    assert one.sha256 != other.sha256 and one.sha256 == MofaSet(one.parts, one.shares).sha256
    assert MofaSet((one.parts[0].take(np.arange(4)),)).sha256 != MofaSet((one.parts[0],)).sha256
    doubled = MofaSet((one.parts[0], one.parts[0]))
    assert len(set(doubled.names)) == 10


def test_codes_that_have_no_mirror_image_are_not_mirrored(material, monkeypatch):
    from facerecon.training import mofa_material

    blind = dataclasses.replace(mofa_material.Mirror.of(material.model, (4, 4, 4)), code_x=None)
    material = dataclasses.replace(material, _mirrors={})
    monkeypatch.setattr(mofa_material.Mirror, "of", lambda *_: blind)
    with pytest.raises(ArgumentError, match="augmentation.flip: wanted 0 for PNCC"):
        material.batches(recipe(), steps=1, seed=0)
    material.batches(recipe(pncc=False), steps=1, seed=0)
    material.batches(recipe(augmentation=Augmentation()), steps=1, seed=0)
