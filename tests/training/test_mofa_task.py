"""Self-supervised runs: the loss falls, stopping changes nothing, bad steps are left out, files hold what they should."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
import torch

from facerecon.errors import ArgumentError, FitError
from facerecon.mofa import load_encoder
from facerecon.training import load_recipe
from facerecon.training.batches import Batches
from facerecon.training.mofa import MofaTask
from facerecon.training.mofa_build import build_mofa
from facerecon.training.mofa_material import MofaMaterial, MofaSet
from facerecon.training.mofa_scores import landmark_errors, mark_points
from facerecon.training.run import BEST, CHECKPOINT, RESULT, WEIGHTS, train

SHORT = ("steps=4", "batch_size=2", "validate_every=2", "pictures_every=0", "checkpoint_every=2")


@pytest.fixture(scope="module")
def material(heads):
    photos, drawn = heads.samples(4, seed=1, truth=False, name="photo"), heads.samples(3, seed=2)
    checked = (heads.samples(2, seed=3, truth=False, name="photo"), heads.samples(2, seed=4))
    return MofaMaterial(heads.model, MofaSet((photos, drawn), (0.5, 0.5)), MofaSet(checked))


class SmallTrunk(torch.nn.Module):
    """Two layers with the names that the encoder needs of a ResNet: runs whose point is not the network."""

    def __init__(self, weights=None):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 9, 8, 4, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8 * 16 * 16, 1000)

    def forward(self, images):
        return self.fc(torch.relu(self.bn1(self.conv1(images))).flatten(1))


@pytest.fixture
def small(monkeypatch):
    import torchvision

    monkeypatch.setattr(torchvision.models, "resnet18", SmallTrunk)


@pytest.fixture
def fit(material, tmp_path):
    """fit(folder name, words of the recipe, settings of `train`)."""
    def start(name, words=SHORT, **settings):
        return train(load_recipe("mofa-smoke", words), material, tmp_path / name, progress=False, **settings)

    return start


def weights(encoder):
    return torch.cat([value.detach().double().flatten() for value in encoder.state_dict().values()])


def test_the_smoke_recipe_lowers_the_loss(material, tmp_path):
    """Four faces, all of them in every batch."""
    losses = []
    few = tuple(part.take(range(2)) for part in material.training.parts)
    four = dataclasses.replace(material, training=MofaSet(few, (0.5, 0.5)))
    original = MofaTask.training_step
    try:
        MofaTask.training_step = lambda self, batch: losses.append(found := original(self, batch)) or found
        result = train(load_recipe("mofa-smoke"), four, tmp_path / "run", progress=False)
    finally:
        MofaTask.training_step = original
    assert len(losses) == 12 and sum(losses[-3:]) < 0.6 * sum(losses[:3])
    assert result.finished and result.skipped == 0
    metrics = result.metrics
    assert {"validation_nme", "validation_synthetic_nme", "validation_photometric", "validation_yaw_mae",
            "validation_vertex_nme"} <= set(metrics)
    record = json.loads((tmp_path / "run" / RESULT).read_text())
    assert list(record["errors"]) == list(material.validation.names)
    photos = [error for name, error in record["errors"].items() if name.startswith("photo")]
    assert sum(photos) / 2 == pytest.approx(metrics["validation_nme"], rel=1e-4)
    assert (tmp_path / "run" / BEST).is_file()
    file = load_encoder(tmp_path / "run" / WEIGHTS)
    file.facts.check(material.model)
    assert torch.equal(weights(file.encoder), weights(result.network)) and file.layout == result.network.layout
    facts = file.facts.metrics
    assert facts["step"] == 12 and facts["data"]["samples"] == 4 and facts["recipe"]["terms"]["landmarks"] == 1.0
    events = b"".join(path.read_bytes() for path in (tmp_path / "run" / "tensorboard").glob("events*"))
    wanted = (b"pictures", b"validation_yaw_mae", b"loss_photometric", b"loss_landmarks", b"loss_prior")
    assert all(word in events for word in wanted)
    assert b"loss_parameters" not in events


def test_stopped_and_resumed_is_as_if_never_stopped(small, fit, monkeypatch):
    whole = fit("whole")
    original, done = MofaTask.training_step, []

    def training_step(self, batch):
        loss = original(self, batch)
        if batch["step"] == 1 and not done:
            done.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(MofaTask, "training_step", training_step)
    stopped = fit("run")
    assert not stopped.finished and stopped.steps == 2
    resumed = fit("run", resume=True)
    assert resumed.finished and torch.equal(weights(resumed.network), weights(whole.network))
    assert resumed.errors == whole.errors
    with pytest.raises(ArgumentError, match="terms"):
        fit("run", (*SHORT, "terms.prior=1"), resume=True)


def test_a_bad_step_is_left_out_and_many_end_the_run(small, fit, monkeypatch, tmp_path):
    original, bad = Batches.batch, {1}

    def batch(self, step):
        made = original(self, step)
        if step in bad:
            made["images"] = torch.full_like(made["images"], torch.nan)
        return made

    monkeypatch.setattr(Batches, "batch", batch)
    result = fit("run")
    assert result.finished and result.skipped == 1
    # That step's pictures are not in the running statistics either.
    assert bool(torch.isfinite(weights(result.network)).all())
    bad |= {2, 3}
    with pytest.raises(FitError, match="diverged"):
        fit("other", (*SHORT, "skipped_limit=2"))
    assert not (tmp_path / "other" / WEIGHTS).exists()


def test_a_batch_in_parts_has_the_gradient_of_the_whole(small, material):
    recipe = load_recipe("mofa-smoke", SHORT)
    task = build_mofa(recipe, steps=2)
    task.encoder.eval()
    batch = material.batches(dataclasses.replace(recipe, batch_size=4), steps=2, seed=0).batch(0)
    total, terms = task.loss(batch)
    rows = {name: value for name, value in batch.items() if name != "step"}
    halves = [task.loss({name: value[part] for name, value in rows.items()})[0] for part in (slice(2), slice(2, 4))]
    assert float(sum(halves).detach() / 2) == pytest.approx(float(total.detach()), rel=1e-5)
    assert set(terms) == {"photometric", "landmarks", "prior"}


def test_supervision_acts_on_known_heads_alone(small, material):
    recipe = load_recipe("mofa-smoke", (*SHORT, "terms.parameters=1", "terms.vertices=1", "terms.photometric=0",
                                        "terms.landmarks=0", "terms.prior=0"))
    task = build_mofa(recipe, steps=2)
    batch = material.batches(recipe, steps=1, seed=0).batch(0)
    batch.pop("step")
    rows = {known: {name: value[batch["known"] == known] for name, value in batch.items()} for known in (True, False)}
    total, terms = task.loss(rows[True])
    assert set(terms) == {"parameters", "vertices"} and float(total.detach()) > 0
    total.backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in task.encoder.parameters())
    assert task.loss(rows[False])[1] == {}
    # A part that nobody knows asks for nothing.
    blind = {**rows[True], "true_albedo": torch.full_like(rows[True]["true_albedo"], torch.nan)}
    code = task.encode(blind)
    truth = task._truth(blind, code)
    assert torch.equal(truth.albedo, code.albedo) and not truth.albedo.requires_grad
    assert torch.equal(truth.identity, blind["true_identity"])


def test_six_channels_see_the_code(small, heads):
    drawn = heads.samples(2, seed=2, codes=True)
    recipe = load_recipe("mofa-smoke", (*SHORT, "pncc=true"))
    data = MofaMaterial(heads.model, MofaSet((drawn,), (1.0,)), MofaSet((drawn,)))
    result = train(recipe, data, None, progress=False)
    assert result.network.uses_pncc and bool(result.network.trunk.conv1.weight[:, 3:].detach().any())
    task = build_mofa(recipe, steps=1, init=result.network)
    rows = task.pictures(next(iter(data.validation_batches(recipe))))
    assert list(rows) == ["photo", "render", "overlay", "code", "given"]
    assert all(row.shape == (2, 3, 128, 128) and 0 <= float(row.min()) and float(row.max()) <= 1 for row in rows.values())


def test_weights_to_start_from_must_fit(small, tmp_path, material):
    recipe = load_recipe("mofa-smoke", SHORT)
    first = train(dataclasses.replace(recipe, steps=1), material, tmp_path / "first", progress=False)
    task = build_mofa(recipe, steps=1, init=tmp_path / "first" / WEIGHTS)
    assert torch.equal(weights(task.encoder), weights(first.network)) and task.encoder.training
    for word, message in (("pncc=true", "channels=3, not 6"), ("counts=20,52,10", "layout=")):
        with pytest.raises(ArgumentError, match=message):
            build_mofa(load_recipe("mofa-smoke", (*SHORT, word)), steps=1, init=tmp_path / "first" / WEIGHTS)
    with pytest.raises(ArgumentError, match="wanted the weights of a face encoder"):
        build_mofa(recipe, steps=1, init=torch.nn.Linear(1, 1))
    with pytest.raises(ArgumentError, match="both"):
        build_mofa(dataclasses.replace(recipe, imagenet="x.safetensors"), steps=1, init=first.network)
    assert (tmp_path / "first" / CHECKPOINT).is_file()


def test_perceptual_features_do_not_change_the_start_and_are_not_saved(small, tmp_path, material):
    import safetensors.torch

    torch.manual_seed(0)
    plain = build_mofa(load_recipe("mofa-smoke", SHORT), steps=1)
    state = {name: value for name, value in plain.encoder.trunk.state_dict().items() if not name.startswith("fc.")}
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "resnet18.safetensors")
    words = (*SHORT, "terms.perceptual=0.5", f"features={tmp_path / 'resnet18.safetensors'}")
    torch.manual_seed(0)
    task = build_mofa(load_recipe("mofa-smoke", words), steps=1)
    assert torch.equal(weights(task.encoder), weights(plain.encoder)) and set(task.state_dict()) == set(plain.state_dict())
    batch = material.batches(load_recipe("mofa-smoke", SHORT), steps=1, seed=0).batch(0)
    total, terms = task.loss(batch)
    assert 0 < float(terms["perceptual"]) < 2
    total.backward()
    assert all(parameter.grad is None for parameter in task.features.parameters())


def test_landmark_errors_by_hand():
    """A box of 30 x 30 px; one of two counted points is 6 px off: 3 / 30."""
    wanted = torch.tensor([[[0.0, 0.0], [30.0, 30.0], [10.0, 10.0], [torch.nan, torch.nan]]] * 4)
    wanted[3] = torch.nan
    found = wanted.nan_to_num(99.0).clone()
    found[0, 1, 0] += 6
    found[1, 2, 0] += 1000
    found[2, 0] = torch.nan
    counted = torch.tensor([[True, True, False, True]] * 4)
    errors = landmark_errors(found, wanted, counted)
    assert errors[0] == pytest.approx(0.1) and errors[1] == 0 and errors[2] == torch.inf and errors[3].isnan()


def test_marks_outside_and_unknown_are_not_drawn():
    points = torch.tensor([[[1.2, 2.0], [9.0, 0.0], [torch.nan, 1.0], [0.0, 0.0]]])
    marked = mark_points(torch.zeros(1, 3, 4, 4), points, torch.tensor([[True, True, True, False]]), (1.0, 0.5, 0.0))
    assert marked[0, :, 2, 1].tolist() == [1.0, 0.5, 0.0] and float(marked.sum()) == 1.5
