"""From a MoFA recipe to the task that trains, and from the trained encoder to its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facerecon.assets import weights_path
from facerecon.errors import ArgumentError
from facerecon.mofa import CodeLayout, FaceDecoder, FaceEncoder, load_encoder, load_imagenet, save_encoder
from facerecon.mofa.weights import EncoderFacts
from facerecon.morphable import load_model
from facerecon.training.guard import StepGuard
from facerecon.training.mofa import MofaTask
from facerecon.training.mofa_recipe import MofaRecipe


def build_mofa(recipe: MofaRecipe, *, steps: int, init: str | os.PathLike[str] | nn.Module | None = None) -> MofaTask:
    """The task of a recipe.

    Args:
        steps: length of the run.
        init: encoder to start from: a file of an earlier run, the name of one that ships, or a network; None for random
            weights (from torch's global generator), or those that `recipe.imagenet` names.

    Raises:
        ArgumentError: `init` does not fit the recipe, or comes together with `imagenet`. ModelError: from the files.
    """
    model = load_model(recipe.model)
    layout = CodeLayout.of(model, camera=recipe.camera, counts=recipe.counts)
    decoder = FaceDecoder(model, layout, image_size=recipe.image_size, region=recipe.region)
    wanted = {"depth": recipe.depth, "channels": 6 if recipe.pncc else 3, "image_size": recipe.image_size, "layout": layout,
              "width": recipe.width}
    if init is None:
        encoder = FaceEncoder(**wanted)
        if recipe.imagenet:
            load_imagenet(encoder, recipe.imagenet)
    else:
        if recipe.imagenet:
            raise ArgumentError("init: wanted at most one of init and imagenet, got both")
        encoder = _started(init, model, wanted)
    return MofaTask(encoder.to(memory_format=torch.channels_last), decoder, steps=steps, ncc=model.ncc, terms=recipe.terms,
                    learning_rate=recipe.learning_rate, beta1=recipe.beta1, schedule=recipe.schedule, warmup=recipe.warmup,
                    micro_batch=recipe.micro_batch, guard=StepGuard(recipe.skipped_limit), features=_features(recipe, layout))


def save_mofa(path: str | os.PathLike[str], recipe: MofaRecipe, encoder: FaceEncoder, metrics: Mapping[str, Any]) -> Path:
    """Write an encoder with its facts; see `facerecon.mofa.save_encoder`."""
    return save_encoder(path, encoder, EncoderFacts.of(load_model(recipe.model), metrics=metrics))


class ResNetFeatures(nn.Module):
    """Pooled features of a ResNet as torchvision trains it: (B, 3, S, S) RGB in [0, 1] to (B, D)."""

    def __init__(self, encoder: FaceEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.trunk.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)


def _features(recipe: MofaRecipe, layout: CodeLayout) -> nn.Module | None:
    if not recipe.features:
        return None
    # The starting weights of the encoder must not depend on whether there are features.
    with torch.random.fork_rng(devices=[]):
        network = FaceEncoder(layout=layout, depth=recipe.features_depth, channels=3, image_size=recipe.image_size)
    return ResNetFeatures(load_imagenet(network, recipe.features))


def _started(init: str | os.PathLike[str] | nn.Module, model: Any, wanted: Mapping[str, Any]) -> FaceEncoder:
    if isinstance(init, nn.Module):
        encoder = init
    else:
        file = load_encoder(weights_path(init))
        file.facts.check(model)
        encoder = file.encoder
    if not isinstance(encoder, FaceEncoder):
        raise ArgumentError(f"init: wanted the weights of a face encoder, got {type(encoder).__name__}")
    wrong = [f"{name}={getattr(encoder, name)}, not {value}" for name, value in wanted.items()
             if getattr(encoder, name) != value]
    if wrong:
        raise ArgumentError(f"init: the encoder has {', '.join(wrong)}; change the recipe, or start from another")
    return encoder.train()
