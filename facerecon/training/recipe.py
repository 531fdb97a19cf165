"""Recipes: everything that a training run is told, one frozen record per task, read from a TOML file and `key=value` words.

A recipe that comes with the package is one file of `recipes/`, and its `reproduces` line names the paper and the table that it
repeats. Unknown keys and values of a wrong type are refused; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError, PathError
from facerecon.training.augment import Augmentation
from facerecon.training.settings import AdaptationSettings

FOLDER = Path(__file__).resolve().parent / "recipes"
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What all tasks share.

    Attributes:
        name, reproduces: of the file, and what it repeats.
        image_size: S, side of the network's input in px, 128 or 256 (for MoFA 128 or 224).
        crop_size: side at which crops are kept in memory, before augmentation; 0: `image_size`.
        batch_size: of all processes together; micro_batch: samples at a time on a device, 0: its whole share.
        steps: length of the run; 0: `epochs` over the training samples.
        epochs: passes over the samples; epochs_rule: "constant", or "root", which multiplies by sqrt(all / used samples).
        samples: how many training samples are used, drawn with the seed; 0: all.
        precision: "bfloat16" (automatic mixed precision) or "float32".
        validate_every, log_every, pictures_every: steps; 0: never.
        checkpoint_every: steps; checkpoint_minutes: and time after which one is written anyway.
        skipped_limit: steps in a row without finite loss and gradient that end the run.
        augmentation: random changes of the training images.
    """

    name: str = ""
    reproduces: str = ""
    image_size: int = 256
    crop_size: int = 0
    batch_size: int = 8
    micro_batch: int = 0
    steps: int = 0
    epochs: float = 0.0
    epochs_rule: str = "constant"
    samples: int = 0
    precision: str = "bfloat16"
    validate_every: int = 500
    log_every: int = 10
    pictures_every: int = 500
    checkpoint_every: int = 500
    checkpoint_minutes: float = 10.0
    skipped_limit: int = 10
    augmentation: Augmentation = Augmentation()

    task: typing.ClassVar[str] = ""
    image_sizes: typing.ClassVar[tuple[int, ...]] = (128, 256)

    def __post_init__(self) -> None:
        check_choice("image_size", self.image_size, self.image_sizes)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("epochs_rule", self.epochs_rule, ("constant", "root"))
        for key in ("crop_size", "micro_batch", "steps", "epochs", "samples", "validate_every", "pictures_every",
                    "checkpoint_minutes"):
            check_range(key, getattr(self, key), 0)
        for key in ("batch_size", "log_every", "checkpoint_every", "skipped_limit"):
            check_range(key, getattr(self, key), 1)
        if not self.steps and not self.epochs:
            raise ArgumentError("recipe: wanted steps or epochs above 0, got neither")

    def total_steps(self, used: int, full: int) -> int:
        """Length of the run with `used` of `full` training samples."""
        if self.steps:
            return self.steps
        factor = math.sqrt(full / used) if self.epochs_rule == "root" else 1.0
        return max(1, math.ceil(self.epochs * factor * used / self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """All keys and values as JSON values, with the task."""
        return {"task": self.task, **_plain(dataclasses.asdict(self))}


@dataclasses.dataclass(frozen=True)
class AutoencoderRecipe(Recipe):
    """Attributes: those of `AutoencoderTask`, and

    latent_size: length of the code; discriminator_width: channels of the image discriminator's first layer.
    corruption: light, blur and occluders of the images that the encoder sees, while the decoder is to draw them as they were; none
        in the seeds. Its geometric keys are not read.
    """

    latent_size: int = 99
    discriminator_width: int = 32
    learning_rate: float = 2e-5
    discriminator_rate: float | None = None
    beta1: float = 0.0
    reconstruction_weight: float = 1.0
    structural_weight: float = 60.0
    latent_weight: float = 1.0
    adversarial_weight: float = 1.0
    structural_stride: int = 1
    structural_scales: tuple[int, ...] = (1,)
    schedule: str = "constant"
    warmup: int = 0
    adversarial_from: float = 0.0
    latent_from: float = 0.0
    corruption: Augmentation = Augmentation()

    task: typing.ClassVar[str] = "autoencoder"


@dataclasses.dataclass(frozen=True)
class AdaptationRecipe(Recipe, AdaptationSettings):
    """What landmarks and PNCC share: the network, and how it learns.

    Attributes:
        network: "adapted", or "plain" (the baseline with a plain decoder on the same encoder).
        pretrained: False starts from random weights, the other baseline.
        kind, skips, layers: of the transfer layers; see `gmda.build_adapted`.
    """

    network: str = "adapted"
    pretrained: bool = True
    kind: str = "original"
    skips: bool = False
    layers: int = 4

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        AdaptationSettings.__post_init__(self)
        check_choice("network", self.network, ("adapted", "plain"))
        check_choice("layers", self.layers, (4, 5) if self.image_size == 256 else (4,))


@dataclasses.dataclass(frozen=True)
class LandmarkRecipe(AdaptationRecipe):
    """Attributes: scheme: of the landmarks, a name or a file; sigma: of the heatmaps, px of a 256 px input; emphasis: of
    the loss (0 is the papers'); decoding and normaliser: of the validation error."""

    scheme: str = "ibug68"
    sigma: float = 7.0
    emphasis: float = 0.0
    decoding: str = "subpixel"
    normaliser: str = "inter_ocular"

    task: typing.ClassVar[str] = "landmarks"


@dataclasses.dataclass(frozen=True)
class PnccRecipe(AdaptationRecipe):
    """PNCC maps; a mirrored face has another code, so mirroring is refused."""

    task: typing.ClassVar[str] = "pncc"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmentation.flip:
            raise ArgumentError(f"augmentation.flip: wanted 0 for PNCC, whose codes do not mirror with the image, got "
                                f"{self.augmentation.flip}")


TASKS: dict[str, type[Recipe]] = {kind.task: kind for kind in (AutoencoderRecipe, LandmarkRecipe, PnccRecipe)}


def recipe_kinds() -> dict[str, type[Recipe]]:
    """The kind of recipe of each task."""
    # That module builds on this one.
    from facerecon.training.mofa_recipe import MofaRecipe

    return {**TASKS, MofaRecipe.task: MofaRecipe}


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_recipe(name_or_path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or from a TOML file of yours, changed by words such as `batch_size=16` and `augmentation.flip=0`.

    Raises:
        ArgumentError: an unknown recipe, key or task, or a value of a wrong type or out of range. PathError: no such file.
    """
    name = os.fspath(name_or_path)
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
        if path.suffix != ".toml":
            raise ArgumentError(f"recipe: {unknown(name, recipe_names())}, or the path of a .toml file")
    values = _read(path)
    kinds = recipe_kinds()
    kind = kinds.get(values.pop("task", None))
    if kind is None:
        raise ArgumentError(f"{path}: wanted task = one of {', '.join(map(repr, kinds))}")
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise ArgumentError(f"wanted key=value, got {word!r}")
        *parents, last = key.strip().split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ArgumentError(f"{key}: {parent} has no keys of its own")
        table[last] = _Text(text.strip())
    return _build(kind, {**values, "name": path.stem}, "")


class _Text(str):
    """A value that came as a word of a command line and has no type yet."""


def _build(kind: type, values: Mapping[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ArgumentError(f"{unknown(prefix + key, [prefix + field for field in fields])}")
    return kind(**{key: _typed(prefix + key, value, fields[key]) for key, value in values.items()})


def _typed(key: str, value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ArgumentError(f"{key}: wanted keys of it, such as {key}.{dataclasses.fields(hint)[0].name}=..., got {value!r}")
        return _build(hint, value, f"{key}.")
    if isinstance(hint, types.UnionType):
        if isinstance(value, _Text) and value.lower() == "none":
            return None
        return _typed(key, value, next(part for part in typing.get_args(hint) if part is not type(None)))
    if typing.get_origin(hint) is tuple:
        entries = list(map(_Text, value.strip("()[]").split(","))) if isinstance(value, _Text) else value
        wanted = typing.get_args(hint)
        if wanted[-1] is Ellipsis and isinstance(entries, (list, tuple)):
            wanted = wanted[:1] * max(1, len(entries))
        if not isinstance(entries, (list, tuple)) or len(entries) != len(wanted):
            raise ArgumentError(f"{key}: wanted {len(wanted)} numbers with commas between, got {str(value)!r}")
        return tuple(_typed(key, entry, part) for entry, part in zip(entries, wanted))
    return _scalar(key, value, hint)


def _scalar(key: str, value: Any, hint: type) -> Any:
    if isinstance(value, _Text):
        if hint is bool and value.lower() in ("true", "false"):
            return value.lower() == "true"
        try:
            value = str(value) if hint is str else int(value) if hint is int else float(value) if hint is float else value
        except ValueError:
            pass
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and number and math.isfinite(value):
        return float(value)
    if type(value) is not hint or hint is float:
        wanted = {bool: "true or false", int: "an integer", float: "a finite number", str: "a text"}[hint]
        raise ArgumentError(f"{key}: wanted {wanted}, got {str(value)!r}")
    return value


def unknown(name: str, known: Sequence[str]) -> str:
    """"unknown X; did you mean Y?", or the list of what there is when nothing is near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"unknown {name!r}; " + (f"nearest: {', '.join(near)}" if near else f"wanted one of {', '.join(sorted(known))}")


def _read(path: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PathError(f"recipe: cannot read {path}: {error.strerror}", code="path_missing") from error
    except ValueError as error:
        raise ArgumentError(f"{path}: wanted TOML; {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
