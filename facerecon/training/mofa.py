"""Self-supervised training of a face encoder through the renderer (MoFA; Dornier's thesis, section 4.2).

Sources: Tewari et al., MoFA, ICCV Workshops 2017; thesis, sections 1.5.3, 4.1.3 and 4.2.2.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from facerecon.mofa import FaceCode, FaceDecoder, FaceEncoder, MofaTargets, MofaTerms, photometric_loss, read_code, total_loss
from facerecon.render import interpolate, rasterize
from facerecon.training.guard import StepGuard, copy_buffers, restore_buffers
from facerecon.training.mofa_scores import landmark_errors, mark_points, vertex_errors, yaw_deg
from facerecon.training.settings import rate_factor

RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


class MofaTask(lightning.LightningModule):
    """Trains an encoder on the dictionaries of `training.mofa_batches`.

    The encoder runs in the trainer's precision, all that follows it in float32. Where a truth is partly unknown (such as the
    light of a picture whose colours were changed), that part has no say.

    Args:
        encoder: what is trained. decoder: of the same layout and size.
        terms: weights of the loss. features: of its perceptual term, (B, 3, S, S) RGB to (B, D), frozen.
        steps: length of the run, for the schedule. micro_batch: samples at a time; a larger batch is done in parts, whose
            batch normalisation knows each part alone. 0: all at once.
        guard: skips steps that are not finite; see `StepGuard`.
        ncc: (V, 3) colours of the model's vertices, for pictures.

    After a validation `errors` holds the NME of the landmarks of every sample, (N,) float64, NaN for those without landmarks.
    """

    def __init__(self, encoder: FaceEncoder, decoder: FaceDecoder, *, steps: int, ncc: Tensor, terms: MofaTerms = MofaTerms(),
                 learning_rate: float = 4e-5, beta1: float = 0.9, schedule: str = "constant", warmup: int = 0,
                 micro_batch: int = 0, guard: StepGuard | None = None, features: nn.Module | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.encoder, self.decoder, self.terms = encoder, decoder, terms
        self.steps, self.learning_rate, self.beta1 = steps, learning_rate, beta1
        self.schedule, self.warmup, self.micro_batch = schedule, warmup, micro_batch
        self.guard = StepGuard() if guard is None else guard
        self.register_buffer("ncc", ncc[decoder.vertex_index].clone(), persistent=False)
        # Outside the module's own, so that checkpoints do not hold weights that never change.
        self.__dict__["features"] = None if features is None else features.eval().requires_grad_(False)
        self.errors = torch.empty(0, dtype=torch.float64)
        self._found: dict[str, list[Tensor]] = {}

    @property
    def image_size(self) -> int:
        """Side of the crops in px."""
        return self.decoder.image_size

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.encoder.parameters(), self.learning_rate, betas=(self.beta1, 0.999), fused=True)

    def encode(self, batch: dict[str, Any]) -> FaceCode:
        """The codes that the encoder reads from a batch, float32."""
        seen = batch.get("shown", batch["images"])
        given = torch.cat([seen, batch["code"]], 1) if self.encoder.uses_pncc else seen
        raw = self.encoder(given.contiguous(memory_format=torch.channels_last)).float()
        return read_code(raw, self.decoder.layout, image_size=self.image_size)

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and its terms without their weights."""
        code = self.encode(batch)
        with torch.autocast(self.device.type, enabled=False):
            targets = self._targets(batch, code)
            return total_loss(code, self.decoder(code), targets, self.decoder, terms=self.terms, features=self.features)

    def training_step(self, batch: dict[str, Any]) -> Tensor:
        optimizer = self.optimizers()
        rate = self.learning_rate * rate_factor(batch["step"], self.steps, schedule=self.schedule, warmup=self.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        count, found = len(batch["images"]), {}

        def work(rows: slice) -> Tensor:
            part = {name: value[rows] if isinstance(value, Tensor) else value for name, value in batch.items()}
            loss, terms = self.loss(part)
            share = len(part["images"]) / count
            self.manual_backward(loss * share)
            for name, value in terms.items():
                found[name] = found.get(name, 0.0) + value * share
            return loss.detach() * share

        def reset() -> None:
            optimizer.zero_grad(set_to_none=True)
            found.clear()

        reset()
        kept = copy_buffers(self.encoder)
        if self.micro_batch:
            self.guard.parts = max(self.guard.parts, -(-count // self.micro_batch))
        several = self.trainer.world_size > 1
        loss = self.guard.in_parts(count, work, reset=reset, retry=not several)
        if self.guard.passes(loss, self.encoder.parameters(), agree=self._agree if several else None):
            optimizer.step()
        else:
            restore_buffers(kept, self.encoder)
        self.log("loss", loss, prog_bar=True)
        self.log_dict({f"loss_{name}": value for name, value in found.items()})
        self.log("rate", rate)
        self.log("skipped", float(self.guard.skipped))
        return loss

    def on_fit_start(self) -> None:
        if self.features is not None:
            self.features.to(self.device)

    def on_validation_epoch_start(self) -> None:
        self._found = {}

    def validation_step(self, batch: dict[str, Any]) -> None:
        code = self.encode(batch)
        with torch.autocast(self.device.type, enabled=False):
            drawn = self.decoder(code)
            photo = batch["images"].permute(0, 2, 3, 1)
            known = batch["known"]
            found = {"nme": landmark_errors(drawn.landmarks, batch["points"], batch["visible"] & self.decoder.landmark_valid),
                     "photometric": torch.stack([photometric_loss(*one) for one in zip(drawn.image[:, None], photo[:, None],
                                                                                        drawn.mask[:, None])]), "known": known}
            if bool(known.any()):
                truth = self._truth(batch, code)
                found["yaw_mae"] = (yaw_deg(code.rotation) - yaw_deg(truth.rotation)).abs()[known]
                posed = code.poses().project(drawn.vertices)
                found["vertex_nme"] = vertex_errors(posed[known], self.decoder.geometry(truth).projected[known])
        for name, value in found.items():
            self._found.setdefault(name, []).append(value.detach().cpu())

    def on_validation_epoch_end(self) -> None:
        # Every process looks at all samples, so there is nothing to gather.
        found = {name: torch.cat(values) for name, values in self._found.items()}
        self.errors, known = found.pop("nme").double(), found.pop("known")
        labelled = ~self.errors.isnan()
        # Photos say how good an encoder is; renders say so only where there is nothing else.
        photos = labelled & ~known
        chosen = photos if bool(photos.any()) else labelled
        if bool(chosen.any()):
            self.log("validation_nme", self.errors[chosen].mean().float(), prog_bar=True)
        if bool((labelled & known).any()):
            self.log("validation_synthetic_nme", self.errors[labelled & known].mean().float())
        self.log_dict({f"validation_{name}": values.mean() for name, values in found.items()})

    @torch.no_grad()
    def pictures(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Photo with landmarks (red: wanted, green: found), render, render over photo, its code, and the code given."""
        training = self.encoder.training
        self.encoder.eval()
        code = self.encode(batch)
        self.encoder.train(training)
        with torch.autocast(self.device.type, enabled=False):
            drawn = self.decoder(code)
            size = (self.image_size, self.image_size)
            fragments = rasterize(drawn.projected, self.decoder.faces, size, backend=self.decoder.backend, cull_back=True,
                                  perspective=self.decoder.layout.perspective)
            codes = interpolate(fragments, self.ncc, self.decoder.faces).permute(0, 3, 1, 2)
        photo, render = batch["images"], drawn.image.clamp(0, 1).permute(0, 3, 1, 2)
        seen = batch["visible"] & batch["points"].isfinite().all(2)
        marked = mark_points(mark_points(photo, batch["points"], seen, RED), drawn.landmarks, torch.ones_like(seen), GREEN)
        shown = {"photo": marked, "render": render, "overlay": torch.where(drawn.mask[:, None], render, photo), "code": codes}
        return shown | ({"given": batch["code"]} if self.encoder.uses_pncc else {})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.load_state_dict(checkpoint["guard"])

    def _targets(self, batch: dict[str, Any], code: FaceCode) -> MofaTargets:
        supervised = bool(self.terms.parameters or self.terms.vertices) and bool(batch["known"].any())
        return MofaTargets(batch["images"].permute(0, 2, 3, 1), batch["points"], batch["visible"],
                           truth=self._truth(batch, code) if supervised else None, known=batch["known"] if supervised else None)

    def _truth(self, batch: dict[str, Any], code: FaceCode) -> FaceCode:
        """The known parameters; where one is unknown, what the encoder says itself, without gradient: a difference of zero."""
        poses = code.poses()
        own = {"identity": code.identity, "expression": code.expression, "albedo": code.albedo, "rotation": poses.rotation,
               "translation": poses.translation, "scale": poses.scale, "illumination": code.illumination}
        given = {name: batch[f"true_{name}"] for name in own}
        return FaceCode(**{name: torch.where(given[name].isfinite(), given[name], value.detach())
                           for name, value in own.items()})

    def _agree(self, good: bool) -> bool:
        return bool(self.trainer.strategy.reduce_boolean_decision(good, all=True))
