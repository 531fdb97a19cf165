"""A labelling project: which photos there are, which are labelled, and what each round of active learning proposed and reached.

Everything is in one file, PROJECT/project.json, which is written whole: a command that is killed leaves the state before it or
after it. Each round holds the photos that the acquisition function proposed and, beside them, the photos that a random pick
would have taken, so that the gain over random labelling can always be measured (Dornier's thesis, section 3.4.2).

Random choices come from one order of the photos, by a hash of seed and name, which stays the same when photos are added later.
Random picks come from its front; photos to measure with, which no round trains on, come from its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.alignment.labels import LabelledImage
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError, DatasetError, FaceReconError, PathError
from facerecon.files import sweep_temporaries, write_atomic

PROJECT, LOCK = "project.json", ".lock"
FUNCTIONS = ("nnm", "entropy", "k-center", "random")
INITIAL = 10
"""Photos of the first round, chosen at random (thesis, section 3.3.2)."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo of a project.

    Attributes:
        name: unique, with `/` between folders.
        path: absolute, or relative to the project.
        size: (width, height) of the upright photo.
        task: its name in task folders.
        box: the face, (x0, y0, x1, y1) px; None while nobody looked, or when the photo is a face crop.
        state: "ok", or why it cannot be used (an error code such as "no_face").
    """

    name: str
    path: str
    size: tuple[int, int]
    task: str
    box: tuple[float, float, float, float] | None = None
    state: str = "ok"


@dataclasses.dataclass(frozen=True)
class Round:
    """One round: what was asked of the annotator, and what came of it.

    Attributes:
        number: from 0.
        function: acquisition function of the proposals; discard: share of the highest ranked that was left out.
        proposed: names to label and train on; random: what a random pick would have proposed instead.
        held_out: names to label and measure with, drawn at random.
        scored_by: weights file that ranked the photos, or None.
        trained, baseline: results of the training on the labels so far and of the one on random photos: weights, samples,
            metrics; None before they are there.
    """

    number: int
    function: str
    discard: float
    proposed: tuple[str, ...]
    random: tuple[str, ...]
    held_out: tuple[str, ...]
    scored_by: str | None = None
    trained: dict[str, Any] | None = None
    baseline: dict[str, Any] | None = None


@dataclasses.dataclass
class Project:
    """The state in memory; `save` puts it on the disk.

    Attributes:
        folder: of the project; scheme: of the labels; seed: of every random choice.
        function, count, discard: acquisition function, photos a round after the first, share that is discarded; a round may
            differ.
        held_out_share: photos to measure with, as a share of the photos proposed.
        crops: the photos are square face crops already; no face is looked for.
        photos, labels: by name; rounds: in order; extra_held_out: names whose labels were imported to measure with.
    """

    folder: Path
    scheme: LandmarkScheme
    seed: int = 0
    function: str = "nnm"
    count: int = 40
    discard: float = 0.1
    held_out_share: float = 0.2
    crops: bool = False
    photos: dict[str, Photo] = dataclasses.field(default_factory=dict)
    labels: dict[str, LabelledImage] = dataclasses.field(default_factory=dict)
    rounds: list[Round] = dataclasses.field(default_factory=list)
    extra_held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("function", self.function, FUNCTIONS)
        check_range("count", self.count, 1)
        check_range("discard", float(self.discard), 0.0, 0.99)
        check_range("held_out_share", float(self.held_out_share), 0.0, 10.0)
        check_range("seed", self.seed, 0)

    def add_photos(self, photos: Iterable[Photo]) -> int:
        """Take photos whose names are new; returns how many. Raises DatasetError when two would share a task name."""
        tasks = {photo.task: photo.name for photo in self.photos.values()}
        before = len(self.photos)
        for photo in photos:
            if photo.name not in self.photos:
                if photo.task in tasks:
                    raise DatasetError(f"{photo.name} and {tasks[photo.task]} would share the name {photo.task}; rename one")
                tasks[photo.task] = photo.name
                self.photos[photo.name] = photo
        return len(self.photos) - before

    def path_of(self, name: str) -> Path:
        """Where a photo lies."""
        return self.folder / self.photos[name].path

    @property
    def random_names(self) -> list[str]:
        """Every photo, in the order of random picks."""
        return sorted(self.photos, key=lambda name: hashlib.sha256(f"{self.seed}:{name}".encode()).digest())

    @property
    def held_out(self) -> set[str]:
        """Names that are measured with and never trained on."""
        return {name for step in self.rounds for name in step.held_out} | set(self.extra_held_out)

    @property
    def proposed(self) -> set[str]:
        """Names that any round proposed for training."""
        return {name for step in self.rounds for name in step.proposed}

    def next_held_out(self, count: int) -> tuple[str, ...]:
        """The next photos to measure with: `count` from the end of the random order, of those that nothing uses."""
        used = self.proposed | self.held_out | set(self.labels) | {name for step in self.rounds for name in step.random}
        free = [name for name in reversed(self.random_names) if name not in used and self.photos[name].state == "ok"]
        return tuple(free[:count])

    def candidates(self, *, without: Iterable[str] = ()) -> list[str]:
        """Photos that a round may propose, in the order of random picks: usable, not trained on, not proposed, not held out.

        A photo that was labelled for the random baseline stays in the pool, which would not be the same without it.
        """
        used = self.proposed | self.held_out | set(self.training_names) | set(without)
        return [name for name in self.random_names if name not in used and self.photos[name].state == "ok"]

    def add_round(self, proposed: Sequence[str], *, function: str, discard: float, held_out: Sequence[str],
                  scored_by: str | None = None) -> Round:
        """Note a new round; the random pick of the same size goes beside it.

        Raises:
            ArgumentError: a name that is no candidate, or no name at all.
        """
        allowed = set(self.candidates(without=held_out))
        wrong = [name for name in proposed if name not in allowed]
        if wrong or not proposed or len(set(proposed)) != len(proposed):
            raise ArgumentError(f"proposed: wanted photos of the pool, each once and one at least, got {wrong or proposed}")
        taken = {name for step in self.rounds for name in step.random} | self.held_out | set(held_out)
        free = [name for name in self.random_names if name not in taken and self.photos[name].state == "ok"]
        step = Round(len(self.rounds), check_choice("function", function, FUNCTIONS), float(discard), tuple(proposed),
                     tuple(free[:len(proposed)]), tuple(held_out), scored_by)
        self.rounds.append(step)
        return step

    @property
    def open_round(self) -> Round | None:
        """The last round, while it is not trained and some of its photos have no label; None otherwise."""
        last = self.rounds[-1] if self.rounds else None
        return last if last and last.trained is None and any(name not in self.labels for name in last.proposed) else None

    @property
    def training_names(self) -> list[str]:
        """Labelled photos to train on: all, except those to measure with and those that only the random baseline asked for."""
        only_random = {name for step in self.rounds for name in step.random} - self.proposed
        return [name for name in self.random_names if name in self.labels and name not in self.held_out | only_random]

    @property
    def held_out_names(self) -> list[str]:
        """Labelled photos to measure with."""
        return [name for name in self.random_names if name in self.labels and name in self.held_out]

    def baseline_names(self) -> list[str]:
        """What a random pick of as many photos as `training_names` would have labelled; some may have no label yet."""
        used = [name for step in self.rounds for name in step.random if name not in self.held_out]
        more = [name for name in self.random_names if name not in set(used) | self.held_out and self.photos[name].state == "ok"]
        return (used + more)[:len(self.training_names)]

    def finish_round(self, number: int, **results: dict[str, Any] | None) -> None:
        """Note `trained` or `baseline` of a round."""
        self.rounds[number] = dataclasses.replace(self.rounds[number], **results)

    def save(self) -> Path:
        """Write project.json, whole or not at all."""
        record = {
            "schema": 1, "scheme": self.scheme.to_dict(), "seed": self.seed, "function": self.function, "count": self.count,
            "discard": self.discard, "held_out_share": self.held_out_share, "crops": self.crops,
            "rounds": [{**dataclasses.asdict(step), "labelled": [name for name in step.proposed if name in self.labels]}
                       for step in self.rounds],
            "extra_held_out": list(self.extra_held_out),
            "photos": [dataclasses.asdict(photo) for photo in self.photos.values()],
            "labels": {name: _label_record(label) for name, label in sorted(self.labels.items())},
        }
        return write_atomic(self.folder / PROJECT, json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Project:
        """The project in a folder.

        Raises:
            PathError: `path_missing` when there is none. DatasetError: `dataset_invalid` when project.json is damaged.
        """
        path = Path(folder) / PROJECT
        if not path.is_file():
            raise PathError(f"{folder}: no labelling project there; start one: facerecon label propose {folder} --photos DIR",
                            code="path_missing")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["schema"] != 1:
                raise ValueError(f"wanted schema 1, got {record['schema']!r}")
            photos = {item["name"]: Photo(**{**item, "size": tuple(item["size"]), "box": item["box"] and tuple(item["box"])})
                      for item in record["photos"]}
            rounds = [Round(**{key: tuple(value) if isinstance(value, list) else value
                               for key, value in item.items() if key != "labelled"}) for item in record["rounds"]]
            scheme = LandmarkScheme.from_dict(record["scheme"], where=str(path))
            labels = {name: _label(name, item, len(scheme)) for name, item in record["labels"].items()}
            known = set(photos)
            named = set(labels) | {name for step in rounds for name in (*step.proposed, *step.random, *step.held_out)}
            if not named <= known or [step.number for step in rounds] != list(range(len(rounds))):
                raise ValueError(f"rounds or labels name photos that are not there: {sorted(named - known)[:3]}")
            settings = {key: record[key] for key in ("seed", "function", "count", "discard", "held_out_share", "crops")}
            return cls(Path(folder), scheme, **settings, photos=photos, labels=labels, rounds=rounds,
                       extra_held_out=tuple(record["extra_held_out"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, FaceReconError) as error:
            raise DatasetError(f"{path}: not the state of a labelling project: {error}") from error


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other commands off a project while the block runs; the lock goes with the process, however it ends.

    Raises:
        PathError: `path_exists` when another command works on the project, `path_write`.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        stream = open(place / LOCK, "a")
    except OSError as error:
        raise PathError(f"cannot write into {place}: {error.strerror}", code="path_write") from error
    with stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows has no flock; the state is still written whole.
        except OSError as error:
            raise PathError(f"{place}: another command works on this project; wait for it", code="path_exists") from error
        sweep_temporaries(place)
        yield


def _label_record(label: LabelledImage) -> dict[str, Any]:
    return {"points": [None if np.isnan(x) else [round(x, 8), round(y, 8)] for x, y in label.points.tolist()],
            "hidden": np.flatnonzero(label.present & ~label.visible).tolist(), "source": label.source, "size": label.size}


def _label(name: str, record: Mapping[str, Any], count: int) -> LabelledImage:
    points = np.array([[np.nan, np.nan] if point is None else point for point in record["points"]], np.float64).reshape(-1, 2)
    if len(points) != count:
        raise ValueError(f"{name}: wanted {count} points, got {len(points)}")
    visible = ~np.isnan(points[:, 0])
    visible[record["hidden"]] = False
    return LabelledImage(name, points, visible, record["size"] and tuple(record["size"]), record["source"])
