"""The recipe of self-supervised face reconstruction."""

from __future__ import annotations

import dataclasses
import typing

from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError
from facerecon.mofa import MofaTerms
from facerecon.training.augment import Augmentation
from facerecon.training.recipe import Recipe
from facerecon.training.settings import SCHEDULES

DEPTHS, WIDTHS = (18, 34, 50), (1.0, 0.75, 0.5)
CAMERAS, UNLABELLED = ("orthographic", "perspective"), ("predict", "drop", "keep")


@dataclasses.dataclass(frozen=True)
class MofaRecipe(Recipe):
    """What MoFA's training is told besides what all tasks share. `samples` counts for each source of data by itself.

    Attributes:
        model: face model, "open" or a path. counts: identity, expression and albedo coefficients that are used; None: all.
        camera: "orthographic" (scaled) or "perspective". region: mask of the model that is drawn.
        depth: of the ResNet, 18, 34 or 50. width: share of its channels, 1, 0.75 or 0.5; below 1 with depths 18 and 34.
        imagenet: safetensors file of torchvision's weights of that ResNet, to start from; "" for random ones.
        pncc: the encoder also sees the coordinate code. codes: folder that `facerecon annotate` wrote, or weights of a PNCC
            network; "" for the maps that synthetic archives and PNCC pairs bring.
        unlabelled: pictures without landmarks: "predict" them and drop those without a face, "drop", or "keep" them as the face
            crops that they then must be.
        jaw: False leaves the 17 jaw points out, which some label sets put on the visible outline of turned faces.
        learning_rate, beta1: of Adam. schedule: "constant" or "cosine"; warmup: steps of linear rise.
        terms: weights of the loss.
        features: safetensors file of torchvision's weights of a ResNet of `features_depth`, for the perceptual term.
        augmentation: crops are moved and lit by it, mirrored with all that is known of them.
        corruption: light, blur and occluders of what the encoder sees, while renders are compared with the crops as they were.
    """

    model: str = "open"
    counts: tuple[int, int, int] | None = None
    camera: str = "orthographic"
    region: str = "face"
    depth: int = 50
    width: float = 1.0
    imagenet: str = ""
    pncc: bool = False
    codes: str = ""
    unlabelled: str = "predict"
    jaw: bool = True
    learning_rate: float = 4e-5
    beta1: float = 0.9
    schedule: str = "constant"
    warmup: int = 0
    terms: MofaTerms = MofaTerms()
    features: str = ""
    features_depth: int = 18
    corruption: Augmentation = Augmentation()

    task: typing.ClassVar[str] = "mofa"
    image_sizes: typing.ClassVar[tuple[int, ...]] = (128, 224)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("depth", self.depth, DEPTHS)
        check_choice("width", self.width, WIDTHS)
        if self.width != 1 and self.depth == 50:
            raise ArgumentError("width: wanted 1 at depth 50, or depth 18 or 34")
        check_choice("features_depth", self.features_depth, DEPTHS)
        check_choice("camera", self.camera, CAMERAS)
        check_choice("unlabelled", self.unlabelled, UNLABELLED)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_range("learning_rate", self.learning_rate, 0.0)
        check_range("beta1", self.beta1, 0.0, 1.0)
        check_range("warmup", self.warmup, 0)
        if self.codes and not self.pncc:
            raise ArgumentError("codes: wanted pncc=true with it, got an encoder that sees no code")
        if bool(self.features) != bool(self.terms.perceptual):
            raise ArgumentError("features: wanted together with terms.perceptual above 0, got one without the other")
        if self.camera == "perspective" and (self.terms.parameters or self.terms.vertices):
            raise ArgumentError("terms: wanted parameters and vertices at 0 with the perspective camera, since known poses are "
                                "scaled orthographic")
        if self.epochs_rule != "constant":
            raise ArgumentError("epochs_rule: wanted 'constant' for mofa, whose samples need no labels")
