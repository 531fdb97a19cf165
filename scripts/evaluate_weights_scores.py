"""Errors, shares and intervals of `evaluate_weights`, from the answers of all methods about one set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from evaluate_weights_methods import Answer
from evaluate_weights_sets import REAL, Face, FaceSet

from facerecon.evaluation.basel import load_mean_face
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.protocol import preset
from facerecon.evaluation.score import score
from facerecon.metrics.aggregate import BIN_NAMES, yaw_bins
from facerecon.metrics.bootstrap import Interval, bootstrap_intervals, paired_difference
from facerecon.metrics.boxes import box_size
from facerecon.metrics.pose import CAMERA_FLIP, angle_error_deg, rotation_from_euler_deg, within_angles
from facerecon.metrics.sparse import sparse_nme

# Keys of intervals, in the order of a table's columns.
COLUMNS = (*BIN_NAMES, "mean_of_bins", "mean_all")
METRICS = {
    "nme68": "NME of 68 points, % of the root of the area of their box",
    "nme51": "NME of the 51 inner points, % of the root of the area of the box of all 68",
    "ocular68": "NME of 68 points, % of the distance of the outer eye corners in the picture",
    "ocular51": "NME of the 51 inner points, % of the distance of the outer eye corners in the picture",
    "yaw": "Yaw error, degrees",
}
OF_SET = {REAL: ("nme68", "nme51", "ocular68", "ocular51")}
OTHERS = ("nme68", "yaw")
JAW, EYE_CORNERS = 17, (36, 45)


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """A set with what its methods scored.

    Attributes:
        faces: the set, without faces whose yaw nobody could tell; `left_out` names those.
        yaw, bins: (n,) degrees, and 0, 1, 2. subjects: (n,) index of the person.
        answers: per method, n of them. errors: metric -> method -> (n,), NaN where the face was not found or has no truth.
        counts: (resamples, n): how often each face is in each resample of the people.
    """

    faces: FaceSet
    left_out: tuple[str, ...]
    yaw: np.ndarray
    bins: np.ndarray
    subjects: np.ndarray
    answers: dict[str, list[Answer]]
    errors: dict[str, dict[str, np.ndarray]]
    counts: np.ndarray

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.answers)

    @property
    def in_common(self) -> np.ndarray:
        """(n,) bool: faces that every method found."""
        return np.all([self.found(key) for key in self.methods], axis=0)

    def found(self, key: str) -> np.ndarray:
        """(n,) bool."""
        return np.array([answer.found for answer in self.answers[key]], bool)

    def intervals(self, metric: str, key: str, *, common: bool = False) -> dict[str, Interval]:
        """Means with intervals by `COLUMNS`, over the faces that the method found, or that all methods found."""
        errors = self.errors[metric][key]
        return bootstrap_intervals(np.where(self.in_common, errors, np.nan) if common else errors, self.bins, self.counts)

    def difference(self, metric: str, first: str, second: str) -> dict[str, Interval]:
        """`first` minus `second` on the faces that both found: negative where the first has the smaller error."""
        return paired_difference(self.errors[metric][first], self.errors[metric][second], self.bins, self.counts)

    def share_found(self, key: str) -> dict[str, tuple[int, int]]:
        """(found, faces) by bin, and of all as "mean_all"."""
        found = self.found(key)
        whole = {name: self.bins == which for which, name in enumerate(BIN_NAMES)} | {"mean_all": np.ones(len(found), bool)}
        return {name: (int(found[chosen].sum()), int(chosen.sum())) for name, chosen in whole.items()}


def score_set(faces: FaceSet, answers: Mapping[str, Sequence[Answer]], *, labels: Sequence[Answer] | None = None,
              resamples: int = 2000, seed: int = 0) -> Scored:
    """Score the answers of all methods about a set.

    Args:
        answers: per method, one per face, in order.
        labels: answers that tell the yaw of faces whose angles are not known.
    """
    known = [face.euler if face.euler is not None else label and label.euler
             for face, label in zip(faces.faces, labels or [None] * len(faces.faces), strict=True)]
    kept = [index for index, euler in enumerate(known) if euler is not None]
    chosen = tuple(faces.faces[index] for index in kept)
    yaw = np.array([known[index][1] for index in kept], np.float64)
    people = {subject: number for number, subject in enumerate(dict.fromkeys(face.subject for face in chosen))}
    subjects = np.array([people[face.subject] for face in chosen], np.int64)
    answers = {key: [given[index] for index in kept] for key, given in answers.items()}
    rows = {key: [errors_of(face, answer) for face, answer in zip(chosen, given)] for key, given in answers.items()}
    errors = {metric: {key: np.array([row[metric] for row in found], np.float64) for key, found in rows.items()}
              for metric in OF_SET.get(faces.key, OTHERS)}
    return Scored(dataclasses.replace(faces, faces=chosen),
                  tuple(face.name for face, euler in zip(faces.faces, known) if euler is None), yaw, yaw_bins(yaw), subjects,
                  answers, errors, subject_counts(subjects, resamples=resamples, seed=seed))


def errors_of(face: Face, answer: Answer) -> dict[str, float]:
    """Every metric of one answer: percent and degrees, NaN where it has none.

    The box is that of all 68 true points. A yaw counts where all three true angles lie within 99 degrees, as on AFLW2000-3D.
    """
    if not answer.found:
        return dict.fromkeys(METRICS, float("nan"))
    given, true = answer.points, face.points
    box, eyes = box_size(true), np.linalg.norm(true[EYE_CORNERS[0]] - true[EYE_CORNERS[1]])
    values = {f"{name}{68 - first}": 100 * float(sparse_nme(given[first:], true[first:], size=size))
              for name, size in (("nme", box), ("ocular", eyes)) for first in (0, JAW)}
    counts = answer.euler is not None and face.euler is not None and bool(within_angles(face.euler))
    return {**values, "yaw": float(angle_error_deg(answer.euler[1], face.euler[1])) if counts else float("nan")}


def subject_counts(subjects: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """How often each face is in each resample, (resamples, n) uint16: people are drawn with replacement, with all their faces.

    Faces of one person are alike; drawing faces alone would make intervals too narrow (Davison and Hinkley 1997, section 3.8).
    """
    people = int(subjects.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=resamples)
    return drawn[:, subjects].astype(np.uint16)


class _Stored:
    """Answers as the evaluator reads predictions; the depth of their points is not used."""

    def __init__(self, title: str, answers: Sequence[Answer]) -> None:
        self.names = tuple(answer.name for answer in answers)
        self.config = {"method": title, "landmark_depth": False}
        self._answers = answers

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Prediction:
        answer = self._answers[index]
        if not answer.found:
            return Prediction(answer.name, status="refused", code=answer.code)
        rotation = None if answer.euler is None else CAMERA_FLIP[:, None] * rotation_from_euler_deg(answer.euler)
        return Prediction(answer.name, landmarks68=np.pad(answer.points, ((0, 0), (0, 1))), rotation=rotation)

    def state(self) -> str:
        """Nothing is stored between runs."""
        return ""


def by_protocol(scored: Scored, key: str, *, over: str = "all") -> dict[str, dict[str, Interval]]:
    """nme2d (%) and yaw (degrees) of a method by the package's evaluator, for a set that has its truths (AFLW2000-3D).

    Args:
        over: "all" scores a miss by the mean face in the whole image, "found" leaves it out.
    """
    table = score(_Stored(key, scored.answers[key]), [face.truth for face in scored.faces.faces], preset("sadrnet"),
                  sparse_miss=load_mean_face("open", dense=False)[0])
    return {metric: bootstrap_intervals(unit * table.values(metric, over=over), table.bins, scored.counts)
            for metric, unit in (("nme2d", 100.0), ("yaw", 1.0))}
