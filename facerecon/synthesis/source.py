"""Where the faces of an archive come from; heads of a morphable model are the first such source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError
from facerecon.morphable.model import load_model
from facerecon.render.harmonics import shade
from facerecon.synthesis.archive import describe_model
from facerecon.synthesis.background import Backgrounds
from facerecon.synthesis.camera import photograph
from facerecon.synthesis.heads import Head, random_head
from facerecon.synthesis.occluders import occlude
from facerecon.synthesis.render import Painter
from facerecon.synthesis.sample import MAPS, SyntheticFace
from facerecon.synthesis.truth import label_face

# Counts changes of the pictures that a seed gives: archives of different generators are not mixed.
GENERATOR = 1
SIZES = (32, 1024)


def check_whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """Require a whole number from `low` to `high`."""
    if check_range(name, value, low, high) != int(value) or not isinstance(value, int):
        raise ArgumentError(f"{name}: wanted a whole number, got {value!r}")
    return value


class FaceSource(Protocol):
    """Items that become pictures: what they are made of, how many there are, and the faces of one.

    `about` is plain JSON on which every byte depends, but for the number of items; `make` gives none, one or several faces, or
    raises a FaceReconError for an item that is left out. Item i does not depend on the others.
    """

    about: dict[str, Any]

    def __len__(self) -> int: ...

    def make(self, index: int) -> Sequence[SyntheticFace]: ...


@dataclasses.dataclass(frozen=True)
class HeadOptions:
    """What heads are drawn.

    Attributes:
        count: how many; head i does not depend on it.
        seed: of everything.
        size: side of the pictures, px.
        model: "open" or the path of a .facemodel.
        maps: of "pncc", "depth", "normals".
        backgrounds: a folder of pictures, or None.
    """

    count: int
    seed: int = 0
    size: int = 192
    model: str = "open"
    maps: tuple[str, ...] = ("pncc",)
    backgrounds: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        check_whole("seed", self.seed, 0)
        check_whole("size", self.size, *SIZES)
        for name in self.maps:
            check_choice("maps", name, MAPS)

    def open(self) -> HeadSource:
        """Load what drawing needs; a `FaceSource`."""
        return HeadSource(self)


class HeadSource:
    """Random heads of a model, each a person of its own; see `FaceSource`. Uses one thread of torch and OpenCV."""

    def __init__(self, options: HeadOptions) -> None:
        self._options, self._model = options, load_model(options.model)
        self._backgrounds, self._painter = Backgrounds(options.backgrounds), Painter(self._model)
        # A vertex of bare skin, in the middle of the forehead.
        bare = self._model.masks.get("skin", torch.ones(len(self._model.mean), dtype=torch.bool))
        high = self._model.mean[bare, 1].quantile(0.9)
        self._forehead = int(torch.where(bare & (self._model.mean[:, 1] > high), self._model.mean[:, 2], -torch.inf).argmax())
        self.about = {"source": "heads", "generator": GENERATOR, "seed": options.seed, "size": options.size,
                      "maps": sorted(options.maps), "backgrounds": self._backgrounds.about,
                      "model": describe_model(self._model)}

    def __len__(self) -> int:
        return self._options.count

    def make(self, index: int) -> list[SyntheticFace]:
        """Head `index`: bit-equal for equal options, whatever else is drawn."""
        options, model = self._options, self._model
        generator = np.random.default_rng([options.seed, index])
        with torch.no_grad():
            head = random_head(generator, model, options.size)
            vertices = model.vertices(head.parameters.identity, head.parameters.expression)
            scene = self._painter.draw(generator, head, vertices, self._backgrounds.draw(generator, options.size))
            image, quality = photograph(occlude(scene, generator, self._skin(head)), generator)
        name = f"synthetic_{options.seed}_{index:06d}"
        return [label_face(model, head.parameters, image, name=f"{name}.jpg", subject=name, maps=options.maps, quality=quality,
                           vertices=vertices)]

    def _skin(self, head: Head) -> np.ndarray:
        """(3,) the colour of a hand of this person under the light that meets the face: that of the forehead."""
        model, place = self._model, self._forehead
        colour = model.albedo_mean[place] + torch.einsum("a,ac->c", head.parameters.albedo, model.albedo_basis[:, place])
        lit = shade(colour.clamp(0.05, 0.95)[None], torch.tensor([[0.0, 0.0, 1.0]]), head.parameters.illumination)
        return lit[0].clamp(0.02, 1).numpy()
