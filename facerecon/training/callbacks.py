"""What happens beside the steps of a training run: seeds and pictures."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from facerecon.gmda.autoencoder import denormalise, normalise
from facerecon.training.autoencoder import AutoencoderTask
from facerecon.training.batches import derived_seed

MOST_PICTURES = 8


class StepSeed(lightning.Callback):
    """Seeds torch before every step by (seed, step, process), so that random numbers need no memory of earlier steps."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(derived_seed(self.seed, "step", batch_idx, trainer.global_rank))


class Pictures(lightning.Callback):
    """Logs a grid of images with what the network makes of them: input and reconstruction, or input, wanted and found maps.

    Args:
        batch: the pictures are always of these samples, so that progress can be seen; every: steps.
    """

    def __init__(self, batch: dict[str, Any] | Tensor, *, every: int) -> None:
        self.batch = {name: value[:MOST_PICTURES] for name, value in batch.items() if isinstance(value, Tensor)} if isinstance(
            batch, dict) else batch[:MOST_PICTURES]
        self.every = every

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any,
                           batch_idx: int) -> None:
        if trainer.is_global_zero and trainer.logger is not None and (batch_idx + 1) % self.every == 0:
            with trainer.precision_plugin.val_step_context():
                rows = self._rows(module)
            trainer.logger.experiment.add_image("pictures", grid(rows), batch_idx + 1)

    def _rows(self, module: lightning.LightningModule) -> list[Tensor]:
        if isinstance(module, AutoencoderTask):
            images = self.batch.to(module.device)
            training = module.autoencoder.training
            module.autoencoder.eval()
            with torch.no_grad():
                drawn = module.autoencoder(normalise(images)).images.float()
            module.autoencoder.train(training)
            return [images, denormalise(drawn)]
        return list(module.pictures({name: value.to(module.device) for name, value in self.batch.items()}).values())


def grid(rows: list[Tensor]) -> Tensor:
    """(3, H, W): one row of pictures (B, 3, h, h) in [0, 1] under the other, all at the largest of their sizes."""
    from torchvision.utils import make_grid

    side = max(row.shape[-1] for row in rows)
    scaled = [torch.nn.functional.interpolate(row.float().cpu(), size=(side, side)) for row in rows]
    return make_grid(torch.cat(scaled), nrow=len(rows[0]), padding=2)
