"""Training of the autoencoder: who learns in which step, what the terms weigh, how the rate runs."""

from __future__ import annotations

import math

import pytest
import torch

lightning = pytest.importorskip("lightning")

from facerecon.errors import ArgumentError  # noqa: E402
from facerecon.gmda import build_autoencoder, losses  # noqa: E402
from facerecon.gmda.autoencoder import Autoencoder, Decoder, Encoder, normalise  # noqa: E402
from facerecon.gmda.discriminators import ImageDiscriminator, LatentDiscriminator  # noqa: E402
from facerecon.training import load_recipe  # noqa: E402
from facerecon.training.autoencoder import AutoencoderTask  # noqa: E402
from facerecon.training.settings import rate_factor  # noqa: E402
from facerecon.training.tasks import build_task  # noqa: E402


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def task(**settings) -> AutoencoderTask:
    torch.manual_seed(0)
    return AutoencoderTask(Autoencoder(Encoder(image_size=128), Decoder(image_size=128)), LatentDiscriminator(hidden=16),
                           ImageDiscriminator(image_size=128, width=4), **{"learning_rate": 1e-3, "steps": 4, **settings})


def run(module: AutoencoderTask, images: torch.Tensor, steps: int) -> None:
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(module, torch.utils.data.DataLoader([images] * steps, batch_size=None))


def test_every_network_learns_and_nothing_is_left_in_the_gradients(images):
    module = task()
    before = {name: value.clone() for name, value in module.named_parameters()}
    run(module, images, 2)
    for part in ("autoencoder.encoder", "autoencoder.decoder", "latent_discriminator", "image_discriminator"):
        moved = [name for name, value in module.named_parameters() if name.startswith(part) and not torch.equal(value, before[name])]
        assert moved, f"{part} did not learn"
    assert all(value.grad is None for value in module.parameters())


def test_the_decoder_is_to_draw_the_images_that_the_encoder_was_not_shown(images):
    module = task(learning_rate=0.0)
    shown = images.flip(3)
    run(module, {"images": images, "shown": shown}, 1)
    drawn = task(learning_rate=0.0).train().autoencoder(normalise(shown)).images
    wanted = losses.reconstruction_loss(drawn, normalise(images))
    assert float(module.trainer.callback_metrics["l1"]) == pytest.approx(float(wanted), rel=1e-5)


def test_a_network_from_a_file_learns_with_the_statistics_of_its_batches():
    start = build_autoencoder(image_size=128).eval()
    recipe = load_recipe("autoencoder-cpu-128", ["discriminator_width=4"])
    assert all(part.training for part in build_task(recipe, steps=1, init=start).modules())


def test_the_image_discriminator_waits_for_its_share(images):
    module = task(steps=4, adversarial_from=0.5)
    before = {name: value.clone() for name, value in module.image_discriminator.named_parameters()}
    run(module, images, 2)
    assert all(torch.equal(value, before[name]) for name, value in module.image_discriminator.named_parameters())
    assert "adversarial" not in module.trainer.callback_metrics and "latent" in module.trainer.callback_metrics
    module = task(steps=4, adversarial_from=0.5, latent_from=1.0)
    run(module, images, 3)
    assert "adversarial" in module.trainer.callback_metrics and "latent" not in module.trainer.callback_metrics


def test_the_total_is_equation_four(images):
    module = task(reconstruction_weight=2.0, structural_weight=30.0, latent_weight=3.0, adversarial_weight=5.0)
    target, drawn = normalise(images), normalise(images.flip(0))
    latent = torch.randn(2, 99, generator=torch.Generator().manual_seed(1))
    total, terms = module._autoencoder_loss(target, latent, drawn, True, True)
    expected = (2 * 255 * (target - drawn).abs().mean() + 30 * losses.structural_loss(drawn, target)
                + 3 * torch.log1p(torch.exp(-module.latent_discriminator(latent))).mean()
                + 5 * torch.log1p(torch.exp(-module.image_discriminator(drawn))).mean())
    torch.testing.assert_close(total, expected)
    assert set(terms) == {"l1", "structure", "latent", "adversarial"}


def test_structure_is_averaged_over_the_scales(images):
    module = task(structural_scales=(1, 4))
    target, drawn = normalise(images), normalise(images.flip(0))
    small = [torch.nn.functional.avg_pool2d(x, 4) for x in (drawn, target)]
    expected = (losses.structural_loss(drawn, target) + losses.structural_loss(*small)) / 2
    torch.testing.assert_close(module._structure(drawn, target), expected)


def test_the_rate_rises_and_falls_as_it_says():
    assert [rate_factor(k, 100, schedule="constant", warmup=3) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_factor(0, 100, schedule="cosine") == pytest.approx(1.0)
    assert rate_factor(50, 100, schedule="cosine") == pytest.approx(0.01 + 0.99 / 2)
    assert rate_factor(100, 100, schedule="cosine") == pytest.approx(0.01)
    assert rate_factor(25, 100, schedule="cosine") == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_unknown_schedules_are_refused():
    with pytest.raises(ArgumentError):
        task(schedule="linear")


def test_a_step_that_is_not_finite_is_skipped(images):
    module = task()
    broken = images.clone()
    broken[0, 0, 0, 0] = float("nan")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run(module, broken, 2)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert module.guard.skipped == 4 and changed == {"done"}
