"""Steps that are not finite are skipped and counted; batches that do not fit are cut (F35, F36)."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import BackendError, FitError
from facerecon.training import StepGuard, load_state
from facerecon.training.guard import all_finite, is_out_of_memory
from facerecon.training.heads import HeatmapHead
from facerecon.training.run import CHECKPOINT

BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_bad_value_among_many_is_seen(value, layout):
    tensors = [torch.zeros(3), torch.zeros(2, 3, 5, 5).to(memory_format=layout), torch.arange(3), torch.zeros(0)]
    assert all_finite(tensors)
    tensors[1][1, 2, 4, 4] = value
    assert not all_finite(tensors)


def test_huge_finite_values_are_finite():
    assert all_finite([torch.full((100,), 3e38)])


def test_skipped_steps_are_counted_and_many_in_a_row_are_divergence():
    guard, weight = StepGuard(3), torch.nn.Parameter(torch.zeros(2))
    good, bad = torch.tensor(1.0), torch.tensor(float("nan"))
    weight.grad = torch.ones(2)
    assert guard.passes(good, [weight]) and not guard.passes(bad, [weight]) and not guard.passes(bad, [weight])
    assert guard.passes(good, [weight]) and (guard.skipped, guard.in_a_row) == (2, 0)
    weight.grad[1] = float("inf")
    assert not guard.passes(good, [weight]) and not guard.passes(good, [weight])
    with pytest.raises(FitError, match="3 steps in a row") as caught:
        guard.passes(good, [weight])
    assert caught.value.code == "diverged"


def test_counts_survive_a_checkpoint():
    guard, other = StepGuard(5), StepGuard(5)
    guard.skipped, guard.in_a_row, guard.parts = 4, 2, 8
    other.load_state_dict(guard.state_dict())
    assert (other.skipped, other.in_a_row, other.parts) == (4, 2, 8)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(),
                                   RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")])
def test_a_batch_that_does_not_fit_is_cut(error):
    guard, seen, resets = StepGuard(), [], []

    def work(rows):
        if rows.stop - rows.start > 2:
            raise error
        seen.append((rows.start, rows.stop))
        return torch.tensor(1.0)

    assert guard.in_parts(7, work, reset=lambda: resets.append(seen.clear())) == 4
    assert seen == [(0, 2), (2, 4), (4, 5), (5, 7)] and guard.parts == 4 and len(resets) == 2
    seen.clear()
    guard.in_parts(7, work, reset=lambda: pytest.fail("the size that fitted was kept"))


def test_one_sample_that_does_not_fit_is_oom():
    sizes = []

    def work(rows):
        sizes.append(rows.stop - rows.start)
        raise MemoryError

    with pytest.raises(BackendError, match="1 of 6 samples") as caught:
        StepGuard().in_parts(6, work, reset=lambda: None)
    assert caught.value.code == "oom" and sizes == [6, 3, 2, 1]


def test_other_errors_pass_through():
    def work(rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        StepGuard().in_parts(6, work, reset=lambda: None)
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.fixture
def poison(monkeypatch):
    """Multiply the loss of the n-th calls by a value: poison({2: nan}); also gives the weights at each call."""
    original = HeatmapHead.loss

    def start(values, *, of_gradient=False):
        calls = []

        def loss(self, maps, batch):
            calls.append(batch["step"])
            factor = values(batch["step"]) if callable(values) else values.get(batch["step"])
            found = original(self, maps, batch)
            if factor is None:
                return found
            if of_gradient:
                # The loss itself stays finite.
                maps.register_hook(lambda gradient: gradient * factor)
                return found
            return found * factor

        monkeypatch.setattr(HeatmapHead, "loss", loss)
        return calls

    return start


@pytest.mark.parametrize("of_gradient", [False, True])
@pytest.mark.parametrize("value", BAD[:2])
def test_a_bad_step_is_left_out(fit, tiny, poison, value, of_gradient):
    calls = poison({3: value}, of_gradient=of_gradient)
    result = fit(None)
    assert result.finished and result.skipped == 1 and calls == list(range(6))
    assert torch.isfinite(tiny.weights(result.network)).all()


def test_a_skipped_last_step_changes_nothing(fit, tiny, poison, monkeypatch):
    """The same run without its last step ends with the same weights and statistics as one whose last step is bad."""
    poison({5: float("nan")})
    skipped = fit(None, encoder_statistics="batch").network.state_dict()
    monkeypatch.undo()
    from facerecon.training import run

    monkeypatch.setattr(run, "build_task", tiny.build)
    recipe = tiny.recipe(steps=5, encoder_statistics="batch")
    shorter = run.train(recipe, tiny.material(), None, progress=False).network.state_dict()
    assert any("running" in name for name in skipped) and all(torch.equal(skipped[name], value) for name, value in shorter.items())


def test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint(fit, poison, tmp_path):
    poison(lambda step: float("nan") if step >= 4 else None)
    with pytest.raises(FitError) as caught:
        fit(steps=40, skipped_limit=5, checkpoint_every=4, validate_every=0)
    assert caught.value.code == "diverged"
    kept = load_state(tmp_path / "run" / CHECKPOINT)
    assert kept["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] in (4, 8)
    assert all_finite(kept["state_dict"].values()) and not (tmp_path / "run" / "weights.safetensors").exists()


def test_weights_that_are_not_finite_are_never_saved(fit, tmp_path, monkeypatch, tiny):
    original = tiny.AdaptationTask.training_step

    def spoil(self, batch):
        loss = original(self, batch)
        if batch["step"] == 3:
            next(self.network.parameters()).data.flatten()[0] = float("nan")
        return loss

    monkeypatch.setattr(tiny.AdaptationTask, "training_step", spoil)
    with pytest.raises(FitError) as caught:
        fit(validate_every=0)
    assert caught.value.code == "diverged"
    assert all_finite(load_state(tmp_path / "run" / CHECKPOINT)["state_dict"].values())


def test_a_million_times_the_learning_rate_never_saves_nonsense(fit, tmp_path):
    try:
        fit(learning_rate=400.0, encoder_learning_rate=20.0, steps=30, skipped_limit=3)
    except FitError as error:
        assert error.code == "diverged"
    for path in (tmp_path / "run").glob("*.safetensors"):
        if path.name == CHECKPOINT:
            assert all_finite(load_state(path)["state_dict"].values())


def test_an_image_without_labels_teaches_nothing(fit, tiny):
    data = tiny.material()
    data.training.points[2] = float("nan")
    with pytest.raises(Exception, match="1 of 6 without any"):
        fit(None, data=data)
    data.training.points[2, 0] = 5.0
    result = fit(None, data=data)
    assert result.skipped == 0 and torch.isfinite(tiny.weights(result.network)).all()


def test_a_batch_without_labels_gives_no_gradient(tiny):
    images, _ = tiny.squares(2)
    batch = {"images": torch.zeros(2, 3, 128, 128), "points": torch.full((2, 5, 2), float("nan"))}
    head = tiny.head_of(tiny.recipe())
    network = tiny.Tiny()
    head.loss(network(batch["images"]), batch).backward()
    assert all(float(parameter.grad.abs().max()) == 0 for parameter in network.parameters())


def test_memory_that_runs_out_halves_the_batch_and_gives_the_same_weights(fit, tiny, monkeypatch):
    whole = fit(None)
    original, sizes = tiny.Tiny.forward, []

    def forward(self, images):
        if self.training:
            sizes.append(len(images))
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, images)

    monkeypatch.setattr(tiny.Tiny, "forward", forward)
    cut = fit(None)
    assert sizes[:3] == [4, 2, 1] and set(sizes[2:]) == {1} and len(sizes) == 2 + 6 * 4
    assert (tiny.weights(cut.network) - tiny.weights(whole.network)).abs().max() < 1e-5


def test_memory_that_never_suffices_is_oom(fit, tiny, monkeypatch):
    def forward(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiny.Tiny, "forward", forward)
    with pytest.raises(BackendError) as caught:
        fit(None)
    assert caught.value.code == "oom"


def test_threads_and_parts_change_only_last_digits(fit, tiny):
    first, again = fit(None), fit(None)
    assert torch.equal(tiny.weights(first.network), tiny.weights(again.network)), "one seed, one result, to the bit"
    parts = fit(None, micro_batch=1)
    torch.set_num_threads(2)
    threads = fit(None)
    for other in (parts, threads):
        assert (tiny.weights(other.network) - tiny.weights(first.network)).abs().max() < 1e-5
    seeded = fit(None, {"seed": 1})
    assert (tiny.weights(seeded.network) - tiny.weights(first.network)).abs().max() > 1e-3
