"""Training of an adapted network: heatmaps or PNCC from few samples.

Sources: Browatzki and Wallraven, 3FabRec, section 4.2.2 (transfer layers alone first, then with the encoder); SCAF, section 4.2
(both at once); Dornier's thesis, sections 3.3.2 and 4.2.2.1 (GMDA-R: both at once, 4e-4 and 2e-5).
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from facerecon.gmda.autoencoder import normalise
from facerecon.training.guard import StepGuard, copy_buffers, restore_buffers
from facerecon.training.heads import Head
from facerecon.training.settings import AdaptationSettings, rate_factor


class AdaptationTask(lightning.LightningModule):
    """Trains a network of `gmda.build_adapted` or `gmda.build_plain` on the dictionaries of `training.batches`.

    Args:
        network: (B, 3, S, S) normalised images -> (B, outputs, M, M).
        head: what it is trained for.
        settings: how it learns.
        steps: length of the run, for stages and schedule.
        micro_batch: samples at a time; a larger batch is done in parts. 0: all.
        guard: skips steps that are not finite; see `StepGuard`.

    After a validation `errors` holds the error of every sample of it, (N,) float64 in the order of the data.
    """

    def __init__(self, network: nn.Module, head: Head, settings: AdaptationSettings, *, steps: int, micro_batch: int = 0,
                 guard: StepGuard | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.head, self.settings = network, head, settings
        self.steps, self.micro_batch = steps, micro_batch
        self.guard = StepGuard() if guard is None else guard
        self.first_steps = round(settings.first_stage * steps) if settings.fine_tune_encoder else 0
        self.errors = torch.empty(0, dtype=torch.float64)
        self._found: list[Tensor] = []
        self._rates: list[float] = []
        self._encoder_learns: bool | None = None
        self._set_stage(encoder=settings.fine_tune_encoder)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self._set_stage(encoder=self.settings.fine_tune_encoder)
        groups = self.network.parameter_groups(self.settings.learning_rate, self.settings.encoder_learning_rate)
        optimizer = torch.optim.Adam(groups, betas=(self.settings.beta1, 0.999), fused=True)
        self._rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer

    def training_step(self, batch: dict[str, Any]) -> Tensor:
        step = batch["step"]
        optimizer = self.optimizers()
        self._prepare(step, optimizer)
        images = normalise(batch["images"]).contiguous(memory_format=torch.channels_last)
        counts = self.head.counts(batch)
        total = counts.sum().clamp_min(1)

        def work(rows: slice) -> Tensor:
            part = {name: value[rows] if isinstance(value, Tensor) else value for name, value in batch.items()}
            loss = self.head.loss(self.network(images[rows]).float(), part) * (counts[rows].sum() / total)
            self.manual_backward(loss)
            return loss.detach()

        optimizer.zero_grad(set_to_none=True)
        kept = copy_buffers(self.network)
        self._start_in_parts(len(images))
        loss = self.guard.in_parts(len(images), work, reset=lambda: optimizer.zero_grad(set_to_none=True), retry=self._world() == 1)
        if self.guard.passes(loss, self.network.parameters(), agree=self._agree if self._world() > 1 else None):
            optimizer.step()
        else:
            restore_buffers(kept, self.network)
        self.log("loss", loss, prog_bar=True)
        self.log("rate", optimizer.param_groups[0]["lr"])
        self.log("skipped", float(self.guard.skipped))
        return loss

    def on_validation_epoch_start(self) -> None:
        self._found = []

    def validation_step(self, batch: dict[str, Any]) -> None:
        images = normalise(batch["images"]).contiguous(memory_format=torch.channels_last)
        self._found.append(self.head.errors(self.network(images).float(), batch))

    def on_validation_epoch_end(self) -> None:
        # Every process looks at all samples, so there is nothing to gather.
        self.errors = torch.cat(self._found)
        self.log(f"validation_{self.head.metric}", self.errors.mean().float(), prog_bar=True)

    @torch.no_grad()
    def pictures(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Images, wanted and found maps as pictures in [0, 1], for a log; the network's mode is kept."""
        training = self.network.training
        self.network.eval()
        maps = self.network(normalise(batch["images"]).contiguous(memory_format=torch.channels_last)).float()
        self.network.train(training)
        return {"image": batch["images"], "wanted": self.head.pictures(self.head.targets(batch, maps.shape[-1])),
                "found": self.head.pictures(maps)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.load_state_dict(checkpoint["guard"])

    def _prepare(self, step: int, optimizer: Any) -> None:
        """Stage and learning rates are functions of the step, so a resumed run needs no memory of them."""
        first = step < self.first_steps
        self._set_stage(encoder=self.settings.fine_tune_encoder and not first)
        factor = rate_factor(step, self.steps, schedule=self.settings.schedule, warmup=self.settings.warmup)
        early = self.settings.first_stage_learning_rate if first else None
        for group, rate in zip(optimizer.param_groups, self._rates):
            group["lr"] = (rate if early is None else early) * factor

    def _set_stage(self, *, encoder: bool) -> None:
        if self._encoder_learns != encoder:
            self.network.set_trainable(encoder=encoder, decoder=self.settings.fine_tune_decoder,
                                       encoder_statistics=self.settings.encoder_statistics)
            self._encoder_learns = encoder

    def _start_in_parts(self, size: int) -> None:
        if self.micro_batch:
            self.guard.parts = max(self.guard.parts, -(-size // self.micro_batch))

    def _world(self) -> int:
        return self.trainer.world_size

    def _agree(self, good: bool) -> bool:
        return bool(self.trainer.strategy.reduce_boolean_decision(good, all=True))
