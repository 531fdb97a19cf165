"""A training run from start to end: the trainer, its files, and going on after a stop.

Files of a run's folder:

    run.json                     recipe, seed, data hashes, version
    last.checkpoint.safetensors  the state to resume from
    best.safetensors             weights with the lowest validation error so far
    weights.safetensors          weights at the end
    result.json                  figures, and the validation error of each sample
    tensorboard/                 scalars and pictures
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from facerecon import __version__
from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError, BackendError, PathError
from facerecon.files import sweep_temporaries, write_atomic
from facerecon.training.adaptation import AdaptationTask
from facerecon.training.callbacks import Pictures, StepSeed
from facerecon.training.checkpoints import Checkpoints, SafetensorsCheckpointIO, Stopped, signals_restored
from facerecon.training.guard import is_out_of_memory
from facerecon.training.material import Material
from facerecon.training.mofa_material import MofaMaterial
from facerecon.training.recipe import Recipe
from facerecon.training.state import load_state
from facerecon.training.tasks import build_task, network_of, save_weights, task_facts

CHECKPOINT, BEST, WEIGHTS = "last.checkpoint.safetensors", "best.safetensors", "weights.safetensors"
RUN, RESULT = "run.json", "result.json"
DEVICES = ("auto", "cpu", "cuda")
_MONITORS = {"autoencoder": "validation_l1", "landmarks": "validation_nme", "pncc": "validation_pncc_l1",
             "mofa": "validation_nme"}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        finished: False when it was asked to stop before its last step; the same call with `resume` goes on.
        folder: of the run's files, or None.
        steps: that were done; skipped: of them left out as not finite.
        metrics: of the last step and validation, by name.
        errors: validation error of each sample by name; empty for autoencoders and without validation data.
        network: the trained network, in evaluation mode.
    """

    finished: bool
    folder: Path | None
    steps: int
    skipped: int
    metrics: dict[str, float]
    errors: dict[str, float]
    network: nn.Module


def train(recipe: Recipe, material: Material | MofaMaterial, output: str | os.PathLike[str] | None, *,
          init: str | os.PathLike[str] | nn.Module | None = None, resume: bool = False, overwrite: bool = False,
          device: str = "auto", devices: int = 1, seed: int = 0, deterministic: bool = False,
          progress: bool | None = None) -> TrainResult:
    """Train by a recipe.

    Args:
        material: data in memory; see `load_material`.
        output: folder of the run's files; None writes none and leaves signals alone, for many short runs.
        init: weights to start from; see `build_task`.
        resume: go on from the folder's checkpoint, if it has one; the result is that of a run that was never stopped.
        overwrite: start anew in a folder that holds a run.
        device: "auto", "cpu" or "cuda"; devices: processes that share each batch, one device each (on a CPU: gloo).
        seed: of weights, order, augmentation and noise.
        deterministic: refuse operations that are not repeatable on an accelerator; runs on a CPU are without it.
        progress: show a bar; by default on a terminal only.

    Raises:
        FitError: `diverged`. BackendError: `oom`, `device_missing`. ArgumentError, ModelError, PathError.
    """
    check_choice("device", device, DEVICES)
    check_range("devices", devices, 1)
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("device: wanted cuda, got a machine or a torch without it; use cpu or auto", code="device_missing")
    if output is None and (resume or devices > 1):
        raise ArgumentError("output: wanted a folder, to resume from or for several processes")
    folder = None if output is None else Path(output)
    steps = recipe.total_steps(len(material.training), material.full or len(material.training))
    facts = {"recipe": recipe.to_dict(), "seed": seed, "steps": steps, "data": material.training.sha256}
    first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    checkpoint = None if folder is None else _prepare(folder, facts, resume=resume, overwrite=overwrite, first=first)
    torch.manual_seed(seed)
    task = build_task(recipe, steps=steps, init=init)
    batches, validation = material.batches(recipe, steps=steps, seed=seed), material.validation_batches(recipe)
    callbacks: list[lightning.Callback] = [StepSeed(seed), _Shares(batches)]
    keeper = None
    if folder is not None:
        writer = _Writer(recipe, material, folder, task, facts)
        monitor = _MONITORS[recipe.task]
        keeper = Checkpoints(folder / CHECKPOINT, steps=steps, every=recipe.checkpoint_every, minutes=recipe.checkpoint_minutes,
                             facts=facts, monitor=monitor, best=lambda step, value: writer.save(BEST, step, {monitor: value}))
        callbacks.append(keeper)
        if recipe.pictures_every:
            shown = next(iter(validation)) if validation is not None else batches.batch(0)
            callbacks.append(Pictures(shown, every=recipe.pictures_every))
    with _quiet():
        trainer = _trainer(recipe, folder, callbacks, task, device=device, devices=devices, validate=validation is not None,
                           deterministic=deterministic, progress=sys.stderr.isatty() if progress is None else progress)
        finished = _fit(trainer, task, batches, validation if recipe.validate_every else None, checkpoint)
        if finished and validation is not None:
            trainer.validate(task, validation, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    done = steps if finished else trainer.fit_loop.total_batch_idx + 1
    errors = _named(material, task) if finished else {}
    if finished and keeper is not None and trainer.is_global_zero:
        writer.save(WEIGHTS, steps, metrics)
        write_atomic(folder / RESULT, json.dumps({**facts, "metrics": metrics, "errors": errors, "lowest": keeper.lowest,
                                                  "lowest_step": keeper.lowest_step}, indent=1) + "\n")
    skipped = task.guard.skipped if hasattr(task, "guard") else 0
    return TrainResult(finished, folder, done, skipped, metrics, errors, network_of(task).cpu().eval())


def _prepare(folder: Path, facts: dict[str, Any], *, resume: bool, overwrite: bool, first: bool) -> Path | None:
    """Sweep what killed runs left, and find the checkpoint to go on from."""
    checkpoint = folder / CHECKPOINT
    if not first:
        return checkpoint if resume and checkpoint.exists() else None
    if folder.is_dir():
        sweep_temporaries(folder)
    if checkpoint.exists() and resume:
        _compare(checkpoint, facts)
        return checkpoint
    if (folder / RUN).exists() and not (resume or overwrite):
        raise PathError(f"{folder} holds a run; go on with --resume, start anew with --overwrite, or choose another folder",
                        code="path_exists")
    for name in (CHECKPOINT, BEST, WEIGHTS, RESULT):
        (folder / name).unlink(missing_ok=True)
    write_atomic(folder / RUN, json.dumps({**facts, "facerecon": __version__}, indent=1) + "\n")
    return None


def _compare(checkpoint: Path, facts: dict[str, Any]) -> None:
    kept = load_state(checkpoint)["callbacks"]["Checkpoints"]["facts"]
    mine, theirs = {**facts, **facts["recipe"]}, {**kept, **kept["recipe"]}
    changed = [f"{key}: {theirs.get(key)!r} then, {value!r} now" for key, value in mine.items()
               if key != "recipe" and theirs.get(key) != value]
    if changed:
        raise ArgumentError(f"{checkpoint.parent}: the run there was another ({'; '.join(changed)}); repeat its settings, or start "
                            "anew with --overwrite")


def _trainer(recipe: Recipe, folder: Path | None, callbacks: list[lightning.Callback], task: lightning.LightningModule, *,
             device: str, devices: int, validate: bool, deterministic: bool, progress: bool) -> lightning.Trainer:
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    strategy: str | DDPStrategy = "auto"
    if devices > 1:
        # In the first stage the encoder's weights get no gradient, which the processes must not wait for.
        staged = isinstance(task, AdaptationTask) and task.first_steps > 0
        strategy = DDPStrategy(find_unused_parameters=staged, process_group_backend="nccl" if cuda else "gloo")
    return lightning.Trainer(
        accelerator="cuda" if cuda else "cpu", devices=devices, strategy=strategy, sync_batchnorm=cuda and devices > 1,
        precision="bf16-mixed" if recipe.precision == "bfloat16" else "32-true", max_epochs=1, callbacks=callbacks,
        logger=False if folder is None else TensorBoardLogger(folder, name="tensorboard", version=""),
        plugins=[SafetensorsCheckpointIO()],
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=progress, num_sanity_val_steps=0,
        log_every_n_steps=recipe.log_every, use_distributed_sampler=False, deterministic=deterministic, default_root_dir=folder,
        limit_val_batches=1.0 if validate else 0, check_val_every_n_epoch=None, val_check_interval=recipe.validate_every or None)


def _fit(trainer: lightning.Trainer, task: lightning.LightningModule, batches: Any, validation: Any,
         checkpoint: Path | None) -> bool:
    try:
        with signals_restored():
            trainer.fit(task, batches, validation, ckpt_path=checkpoint)
    except (Stopped, SIGTERMException):
        return False
    except SystemExit as error:
        # What the trainer makes of a second Ctrl-C.
        raise KeyboardInterrupt from error
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, BackendError) or not is_out_of_memory(error):
            raise
        raise BackendError(f"out of memory ({str(error).splitlines()[0]}); wanted a smaller batch_size or image_size, or a device with "
                           "more memory", code="oom") from error
    return True


def _named(material: Material, task: lightning.LightningModule) -> dict[str, float]:
    errors = getattr(task, "errors", ())
    if material.validation is None or len(errors) != len(material.validation):
        return {}
    # NaN is the error of a sample without a target.
    return {name: error for name, error in zip(material.validation.names, errors.tolist()) if error == error}


class _Writer:
    """Writes the network with everything that says where it comes from."""

    def __init__(self, recipe: Recipe, material: Material, folder: Path, task: lightning.LightningModule,
                 facts: dict[str, Any]) -> None:
        self.recipe, self.material, self.folder, self.task, self.facts = recipe, material, folder, task, facts
        # Made before the first step: data that cannot be described would otherwise be refused after the last one.
        self.job = task_facts(recipe, material.training)

    def save(self, name: str, step: int, metrics: dict[str, float]) -> None:
        validation = self.material.validation
        metadata = {"data": {"training": self.facts["data"], "samples": len(self.material.training),
                             "validation": None if validation is None else validation.sha256},
                    "metrics": metrics, "recipe": self.facts["recipe"], "seed": self.facts["seed"], "step": step,
                    "licence": self.material.licence, "facerecon": __version__}
        save_weights(self.folder / name, self.recipe, network_of(self.task), self.job, metadata)


class _Shares(lightning.Callback):
    """Tells the batches which process takes them, which is known only once the processes are there."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        self.batches.share(trainer.global_rank, trainer.world_size)


class _quiet:
    """Keeps the trainer's advice out of the way while a run lasts."""

    def __enter__(self) -> None:
        self._logger = logging.getLogger("lightning.pytorch")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module="lightning.*")

    def __exit__(self, *error: object) -> None:
        self._warnings.__exit__(*error)
        self._logger.setLevel(self._level)
