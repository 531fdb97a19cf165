"""Training of the adversarial face autoencoder.

Source: Browatzki and Wallraven, 3FabRec, section 3.2, equation 4, and section 4.2.1. With L_rec in 8-bit units and weights 1, 60, 1
and 1, reconstruction and structure weigh alike and about ten times as much as the adversarial terms.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from facerecon.checks import check_choice, check_range
from facerecon.gmda import losses
from facerecon.gmda.autoencoder import Autoencoder, normalise
from facerecon.gmda.discriminators import ImageDiscriminator, LatentDiscriminator
from facerecon.training.guard import StepGuard, copy_buffers, restore_buffers
from facerecon.training.settings import SCHEDULES, rate_factor


class AutoencoderTask(lightning.LightningModule):
    """One optimiser for encoder and decoder, one for both discriminators, stepped in turn on the same batch.

    Batches are images (B, 3, S, S) in [0, 1], or dictionaries of `images`, which the decoder is to draw, and `shown`, which the
    encoder sees.

    Args:
        autoencoder, latent_discriminator, image_discriminator: the networks; the image discriminator may be None.
        learning_rate: of encoder and decoder; `discriminator_rate`: of the discriminators, the same when None.
        beta1: of Adam for all of them (0 in the seed).
        reconstruction_weight: of the L1 error in 8-bit units; structural_weight, latent_weight, adversarial_weight: of the others.
        structural_stride: step between the windows of the structural loss; 1 is the seed's.
        structural_scales: reductions of the images at which it is taken, averaged; (1,) is the seed's. At 128 px a window of 7 px
            sees skin and hair; reduced by 4 it sees an eye or a mouth, which is what a short run should learn first.
        schedule: "constant" (the seed's), or "cosine" down to a hundredth over `steps`.
        steps: length of the run, for the schedule.
        warmup: first steps, over which the rate rises linearly.
        adversarial_from: share of the run after which the image discriminator joins; 0 is the seed's.
        latent_from: the same of the code's discriminator. Early on it is the stronger teacher: the encoder then learns to give
            Gaussian noise before the decoder has learnt to use the code.
        guard: skips steps that are not finite.
    """

    def __init__(self, autoencoder: Autoencoder, latent_discriminator: LatentDiscriminator,
                 image_discriminator: ImageDiscriminator | None, *, learning_rate: float = 2e-5,
                 discriminator_rate: float | None = None, beta1: float = 0.0, reconstruction_weight: float = 1.0,
                 structural_weight: float = 60.0, latent_weight: float = 1.0, adversarial_weight: float = 1.0,
                 structural_stride: int = 1, structural_scales: tuple[int, ...] = (1,), schedule: str = "constant", steps: int = 1,
                 warmup: int = 0, adversarial_from: float = 0.0, latent_from: float = 0.0,
                 guard: StepGuard | None = None) -> None:
        super().__init__()
        check_choice("schedule", schedule, SCHEDULES)
        check_range("adversarial_from", float(adversarial_from), 0.0, 1.0)
        check_range("latent_from", float(latent_from), 0.0, 1.0)
        self.automatic_optimization = False
        self.autoencoder, self.latent_discriminator = autoencoder, latent_discriminator
        self.image_discriminator = image_discriminator
        self.rates = (learning_rate, learning_rate if discriminator_rate is None else discriminator_rate)
        self.betas = (beta1, 0.999)
        self.weights = (255 * reconstruction_weight, structural_weight, latent_weight, adversarial_weight)
        self.structural_stride, self.schedule, self.steps, self.warmup = structural_stride, schedule, steps, warmup
        self.structural_scales = tuple(structural_scales)
        self.adversarial_from, self.latent_from = adversarial_from, latent_from
        self.guard = StepGuard() if guard is None else guard
        # Steps so far. The trainer's own count is of optimiser steps, one or two of them per batch here.
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        judges = list(self.latent_discriminator.parameters())
        judges += [] if self.image_discriminator is None else list(self.image_discriminator.parameters())
        return [torch.optim.Adam(self.autoencoder.parameters(), self.rates[0], self.betas, fused=True),
                torch.optim.Adam(judges, self.rates[1], self.betas, fused=True)]

    def training_step(self, batch: Tensor | dict[str, Any], index: int = 0) -> Tensor:
        images, shown = (batch, batch) if isinstance(batch, Tensor) else (batch["images"], batch["shown"])
        generator, judge = self.optimizers()
        self._set_rates((generator, judge))
        target = normalise(images).contiguous(memory_format=torch.channels_last)
        on_code, on_images = self._joined()
        self.toggle_optimizer(generator)
        judges = [judge for judge in (self.latent_discriminator, self.image_discriminator) if judge is not None]
        kept, kept_by_judges = copy_buffers(self.autoencoder), copy_buffers(*judges)
        latent = self.autoencoder.encoder(target if shown is images else
                                          normalise(shown).contiguous(memory_format=torch.channels_last)).latent
        drawn = self.autoencoder.decoder(latent).images
        total, terms = self._autoencoder_loss(target, latent, drawn, on_code, on_images)
        self.manual_backward(total)
        if self._passes(total, self.autoencoder):
            generator.step()
        else:
            restore_buffers(kept, self.autoencoder)
        generator.zero_grad(set_to_none=True)
        self.untoggle_optimizer(generator)
        if on_code or on_images:
            self.toggle_optimizer(judge)
            judged = self._judge_loss(target, latent.detach(), drawn.detach(), on_code, on_images)
            self.manual_backward(judged)
            if self._passes(judged, *judges):
                judge.step()
            else:
                restore_buffers(kept_by_judges, *judges)
            judge.zero_grad(set_to_none=True)
            self.untoggle_optimizer(judge)
            terms["discriminators"] = judged.detach()
        self.done += 1
        self.log_dict({**terms, "rate": generator.param_groups[0]["lr"]})
        return total.detach()

    def validation_step(self, images: Tensor, index: int = 0) -> None:
        target = normalise(images)
        drawn = self.autoencoder(target).images.float()
        self.log("validation_l1", losses.reconstruction_loss(drawn, target), batch_size=len(images), sync_dist=True)
        self.log("validation_structure", losses.structural_loss(drawn, target), batch_size=len(images), sync_dist=True)

    def _autoencoder_loss(self, target: Tensor, latent: Tensor, drawn: Tensor, on_code: bool,
                          on_images: bool) -> tuple[Tensor, dict[str, Tensor]]:
        prior = self.latent_discriminator(latent) if on_code else None
        judged = self.image_discriminator(drawn) if on_images else None
        # Variances and logarithms want full precision whatever the networks ran in.
        with torch.autocast(target.device.type, enabled=False):
            drawn = drawn.float()
            terms = {"l1": losses.reconstruction_loss(drawn, target), "structure": self._structure(drawn, target)}
            total = self.weights[0] * terms["l1"] + self.weights[1] * terms["structure"]
            if prior is not None:
                terms["latent"] = losses.real_loss(prior.float())
                total = total + self.weights[2] * terms["latent"]
            if judged is not None:
                terms["adversarial"] = losses.real_loss(judged.float())
                total = total + self.weights[3] * terms["adversarial"]
        return total, {name: term.detach() for name, term in terms.items()}

    def _structure(self, drawn: Tensor, target: Tensor) -> Tensor:
        found = []
        for scale in self.structural_scales:
            small, wanted = (drawn, target) if scale == 1 else (functional.avg_pool2d(x, scale) for x in (drawn, target))
            found.append(losses.structural_loss(small, wanted, stride=self.structural_stride if scale == 1 else 1))
        return torch.stack(found).mean()

    def _judge_loss(self, target: Tensor, latent: Tensor, drawn: Tensor, on_code: bool, on_images: bool) -> Tensor:
        loss = torch.zeros((), device=target.device)
        if on_code:
            loss = loss + losses.discriminator_loss(self.latent_discriminator(torch.randn_like(latent)).float(),
                                                    self.latent_discriminator(latent).float())
        if on_images:
            loss = loss + losses.discriminator_loss(self.image_discriminator(target).float(),
                                                    self.image_discriminator(drawn).float())
        return loss

    def _joined(self) -> tuple[bool, bool]:
        """Whether the discriminators of the code and of the images take part in this step."""
        share = int(self.done) / self.steps
        return (self.weights[2] > 0 and share >= self.latent_from,
                self.image_discriminator is not None and self.weights[3] > 0 and share >= self.adversarial_from)

    def _passes(self, loss: Tensor, *networks: nn.Module) -> bool:
        agree = self._agree if self.trainer.world_size > 1 else None
        parameters = [parameter for network in networks for parameter in network.parameters()]
        return self.guard.passes(loss, parameters, agree=agree)

    def _agree(self, good: bool) -> bool:
        return bool(self.trainer.strategy.reduce_boolean_decision(good, all=True))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.load_state_dict(checkpoint.get("guard", self.guard.state_dict()))

    def _set_rates(self, optimisers: tuple) -> None:
        factor = rate_factor(int(self.done), self.steps, schedule=self.schedule, warmup=self.warmup)
        for optimiser, rate in zip(optimisers, self.rates):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
