"""From a recipe to the task that trains: networks built or loaded, settings handed over."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from facerecon.alignment import LandmarkTask, load_scheme
from facerecon.assets import weights_path
from facerecon.errors import ArgumentError
from facerecon.gmda import (
    Autoencoder,
    ImageDiscriminator,
    LatentDiscriminator,
    build_adapted,
    build_autoencoder,
    build_plain,
    grow_autoencoder,
    load_network,
    save_network,
)
from facerecon.pncc import PnccTask
from facerecon.training.adaptation import AdaptationTask
from facerecon.training.autoencoder import AutoencoderTask
from facerecon.training.guard import StepGuard
from facerecon.training.heads import Head, HeatmapHead, PnccHead
from facerecon.training.mofa import MofaTask
from facerecon.training.mofa_build import build_mofa, save_mofa
from facerecon.training.mofa_recipe import MofaRecipe
from facerecon.training.recipe import AdaptationRecipe, AutoencoderRecipe, LandmarkRecipe, PnccRecipe, Recipe
from facerecon.training.settings import AdaptationSettings


def build_task(recipe: Recipe, *, steps: int, init: str | os.PathLike[str] | nn.Module | None = None) -> lightning.LightningModule:
    """The task of a recipe.

    Args:
        steps: length of the run.
        init: weights to start from: a file, the name of one that ships ("autoencoder-128"), or a network. For an autoencoder: one of
            the same size, or a 128 px one that grows to 256 px. For landmarks and PNCC: an autoencoder of the recipe's size, or a
            network that an earlier run adapted. For MoFA: an encoder of an earlier run.

    Random weights come from torch's global generator; seed it first.

    Raises:
        ArgumentError: `init` is missing or does not fit the recipe. ModelError: from the file.
    """
    if isinstance(recipe, MofaRecipe):
        return build_mofa(recipe, steps=steps, init=init)
    start = load_network(weights_path(init)).network if isinstance(init, (str, os.PathLike)) else init
    if isinstance(recipe, AutoencoderRecipe):
        return _autoencoder_task(recipe, steps, start)
    network = _network(recipe, start).to(memory_format=torch.channels_last)
    settings = AdaptationSettings(**{field.name: getattr(recipe, field.name) for field in dataclasses.fields(AdaptationSettings)})
    return AdaptationTask(network, head_of(recipe), settings, steps=steps, micro_batch=recipe.micro_batch,
                          guard=StepGuard(recipe.skipped_limit))


def head_of(recipe: Recipe) -> Head:
    """What the network of a landmark or PNCC recipe gives."""
    if isinstance(recipe, LandmarkRecipe):
        return HeatmapHead(load_scheme(recipe.scheme), recipe.image_size, sigma=recipe.sigma, emphasis=recipe.emphasis,
                           method=recipe.decoding, normaliser=recipe.normaliser)
    return PnccHead()


def network_of(task: lightning.LightningModule) -> nn.Module:
    """The network that a task is there to train."""
    if isinstance(task, AutoencoderTask):
        return task.autoencoder
    return task.encoder if isinstance(task, MofaTask) else task.network


def task_facts(recipe: Recipe, training: Any) -> dict[str, Any]:
    """What a weights file says about its network's job, beside its build: what the predictors read.

    Args:
        training: the samples, since PNCC pairs say whose codes they have.
    """
    if isinstance(recipe, LandmarkRecipe):
        facts = LandmarkTask(load_scheme(recipe.scheme), recipe.sigma, recipe.decoding).to_dict()
    elif isinstance(recipe, PnccRecipe):
        facts = PnccTask.from_pairs(training).to_dict()
    else:
        facts = {"name": recipe.task}
    return {**facts, "image_size": recipe.image_size}


def save_weights(path: str | os.PathLike[str], recipe: Recipe, network: nn.Module, facts: dict[str, Any],
                 metadata: dict[str, Any]) -> None:
    """Write a trained network with what `task_facts` gave and where it comes from; raises as of `save_network`."""
    if isinstance(recipe, MofaRecipe):
        save_mofa(path, recipe, network, {**facts, **metadata})
    else:
        save_network(path, network, task=facts, metadata=metadata)


def _autoencoder_task(recipe: AutoencoderRecipe, steps: int, start: nn.Module | None) -> AutoencoderTask:
    autoencoder = build_autoencoder(image_size=recipe.image_size, latent_size=recipe.latent_size) if start is None else start
    if not isinstance(autoencoder, Autoencoder):
        raise ArgumentError(f"init: wanted the weights of an autoencoder, got {type(autoencoder).__name__}")
    if autoencoder.image_size == 128 and recipe.image_size == 256:
        autoencoder = grow_autoencoder(autoencoder)
    _check_size(autoencoder, recipe)
    judge = None
    if recipe.adversarial_weight and recipe.adversarial_from < 1:
        judge = ImageDiscriminator(image_size=recipe.image_size, width=recipe.discriminator_width)
    names = {"learning_rate", "discriminator_rate", "beta1", "reconstruction_weight", "structural_weight", "latent_weight",
             "adversarial_weight", "structural_stride", "structural_scales", "schedule", "warmup", "adversarial_from",
             "latent_from"}
    task = AutoencoderTask(autoencoder, LatentDiscriminator(latent_size=autoencoder.encoder.latent_size), judge, steps=steps,
                           guard=StepGuard(recipe.skipped_limit), **{name: getattr(recipe, name) for name in names})
    # A network from a file is in evaluation mode, and the trainer leaves modes as they are.
    return task.train().to(memory_format=torch.channels_last)


def _network(recipe: AdaptationRecipe, start: nn.Module | None) -> nn.Module:
    outputs = head_of(recipe).outputs
    if start is None:
        if recipe.pretrained:
            raise ArgumentError(f"init: {recipe.name or recipe.task} adapts a trained autoencoder; give its weights (--init), or "
                                "pretrained=false for random ones")
        start = build_autoencoder(image_size=recipe.image_size)
    elif not recipe.pretrained:
        raise ArgumentError("init: pretrained=false starts from random weights; leave one of the two out")
    _check_size(start, recipe)
    if not isinstance(start, Autoencoder):
        wanted = {"network": recipe.network, "outputs": outputs}
        if recipe.network == "adapted":
            wanted.update(kind=recipe.kind, skips=recipe.skips, layers=recipe.layers)
        wrong = [f"{key}={start.config.get(key)}, not {value}" for key, value in wanted.items() if start.config.get(key) != value]
        if wrong:
            raise ArgumentError(f"init: the network has {', '.join(wrong)}; change the recipe, or start from an autoencoder")
        return start
    if recipe.network == "plain":
        return build_plain(start.encoder, outputs=outputs)
    return build_adapted(start, outputs=outputs, kind=recipe.kind, skips=recipe.skips, layers=recipe.layers)


def _check_size(network: nn.Module, recipe: Recipe) -> None:
    if network.image_size != recipe.image_size:
        raise ArgumentError(f"init: wanted a network for images of {recipe.image_size} px, got one for {network.image_size} px")
