"""What a round gives to the annotator: which photos, and a task folder with pictures and points to correct.

Scores come from the network's heatmaps of the face crops (Negative Neighbourhood Magnitude, spatial entropy), features from its
encoder's latent code (k-center greedy).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from facerecon.alignment.annotations import write_annotations
from facerecon.alignment.coco import write_coco
from facerecon.alignment.cvat import cvat_label_setup
from facerecon.alignment.labels import PREDICTED, LabelledImage
from facerecon.alignment.rounds import Photo, Project
from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice
from facerecon.data import load_image
from facerecon.detection import Crop, CropRule, cut_square
from facerecon.errors import ArgumentError
from facerecon.files import atomic_path, write_atomic

TASK_FILES = {"coco": "annotations.json", "cvat": "annotations.xml", "pts": "images"}
LABEL_SETUP = "labels-for-cvat.json"
# What was proposed, to tell later whether a point was moved.
PROPOSED = ".proposed.json"
_BATCH = 32
# What annotation tools show; everything else, and every photo that lies on its side, goes to them as PNG.
_SHOWN = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

Progress = Callable[[int], None]


def face_square(photo: Photo, *, size: int, rule: CropRule = CropRule()) -> Crop:
    """The square of a photo that a network sees: around its face, or the whole picture of a face crop."""
    if photo.box is not None:
        return rule.crop(np.array(photo.box), size=size)
    width, height = photo.size
    return Crop(((width - 1) / 2, (height - 1) / 2), max(width, height), size)


def choose(project: Project, candidates: Sequence[str], count: int, *, function: str, discard: float,
           weights: str | os.PathLike[str] | None = None, progress: Progress = lambda done: None) -> list[str]:
    """The photos to label next.

    Args:
        candidates: names of the pool, in the order of random picks.
        count: how many; as many as there are when there are fewer.
        function: "nnm" or "entropy" (the least sure of the network, without the top `discard` of the ranking), "k-center"
            (covers the latent space beside what is labelled), "random".
        weights: the network's file; every function but "random" needs it.
        progress: called with the number of photos scored so far.

    Raises:
        ArgumentError: no weights where they are needed. ModelError: from the file.
    """
    from facerecon.alignment.acquisition import k_center_greedy, nnm, select, spatial_entropy

    check_choice("function", function, ("nnm", "entropy", "k-center", "random"))
    count = min(count, len(candidates))
    if function == "random" or not count:
        return list(candidates[:count])
    if weights is None:
        raise ArgumentError(f"{function} ranks photos by a trained network; run facerecon label retrain first, or name one "
                            "with --weights")
    if function == "k-center":
        # Every labelled photo counts as covered, also those that are measured with.
        known = [name for name in project.random_names if name in project.labels] or list(candidates[:1])
        names = [*known, *(name for name in candidates if name not in known)]
        features = np.concatenate(list(_features(project, names, weights, progress)))
        chosen = k_center_greedy(features, np.arange(len(known)), min(count, len(names) - len(known)))
        return [names[index] for index in chosen]
    measure = nnm if function == "nnm" else spatial_entropy
    predictor = _predictor(weights, project.scheme)
    scores = []
    for names, crops in _crops(project, candidates, predictor.image_size):
        scores.append(measure(predictor.heatmaps(crops)).numpy())
        progress(sum(map(len, scores)))
    ranked = np.concatenate(scores)
    # A small pool keeps fewer outliers out rather than refusing the round.
    share = min(discard, 1 - count / len(ranked))
    return [candidates[index] for index in select(ranked, count, discard=share)]


def predict_labels(project: Project, names: Sequence[str], weights: str | os.PathLike[str] | None) -> dict[str, LabelledImage]:
    """Points for the annotator to correct, inside each photo: the network's, or without one a mean face where the face is.

    Schemes that the face model does not know have no mean face; their photos then come without points.
    """
    if weights is None:
        shape = mean_face(project.scheme)
        if shape is None:
            return {}
        low, high = shape.min(0), shape.max(0)
        unit = (shape - (low + high) / 2) / (high - low).max()
        rule = CropRule()
        squares = {name: face_square(project.photos[name], size=1) for name in names}
        return {name: _predicted(project.photos[name], np.array(square.centre) + unit * square.side / rule.margin)
                for name, square in squares.items()}
    predictor = _predictor(weights, project.scheme)
    found = {}
    for part, crops in _crops(project, names, predictor.image_size):
        for name, points in zip(part, predictor.predict_crops(crops).points):
            photo = project.photos[name]
            found[name] = _predicted(photo, face_square(photo, size=predictor.image_size).to_image(points))
    return found


def mean_face(scheme: LandmarkScheme) -> np.ndarray | None:
    """(L, 2) points of the mean face from the front, y down, in mm; None when the face model does not have all the points."""
    from facerecon.morphable import load_model

    model = load_model("open")
    embedding = model.embeddings.get(scheme.name)
    if embedding is None or len(embedding) != len(scheme) or not bool(np.all(np.asarray(embedding.valid))):
        return None
    points = embedding.locate(model.mean.detach().cpu().numpy(), model.faces.cpu().numpy())
    return points[:, :2] * (1.0, -1.0)


def write_task(project: Project, folder: str | os.PathLike[str], names: Sequence[str], labels: dict[str, LabelledImage], *,
               format: str) -> Path:
    """Write what an annotation tool is given: `images/` with the photos, and a file of the format with the points to correct.

    Each file is whole or not there, and the annotations come last, so that a folder with them is complete. For CVAT there is
    also the label set-up to paste into a new task. Pixels of every picture are those of the upright photo.

    Returns:
        The annotations: a file, or for "pts" the folder of pictures, with the points beside them.
    """
    check_choice("format", format, tuple(TASK_FILES))
    place = Path(folder)
    for name in names:
        _put(project.path_of(name), place / "images" / project.photos[name].task)
    rows = []
    for name in names:
        photo, label = project.photos[name], project.labels.get(name) or labels.get(name)
        empty = LabelledImage(name, np.full((len(project.scheme), 2), np.nan), np.zeros(len(project.scheme), bool))
        row = empty if label is None else label
        rows.append(LabelledImage(photo.task, row.points, row.visible, photo.size, row.source))
    if format == "cvat":
        whole = [row.points for row in rows if row.present.all()]
        template = whole[0] if whole else mean_face(project.scheme)
        if template is None:
            side = int(np.ceil(np.sqrt(len(project.scheme))))
            template = np.stack(np.divmod(np.arange(len(project.scheme)), side)[::-1], axis=1).astype(float)
        write_atomic(place / LABEL_SETUP, cvat_label_setup(project.scheme, template))
    write_coco(place / PROPOSED, [labels[name] for name in names if name in labels], project.scheme)
    return write_annotations(place / TASK_FILES[format], rows, project.scheme, format=format)


def task_name(name: str, *, as_png: bool) -> str:
    """A photo's file name in task folders: flat, since tools drop folders."""
    path = PurePosixPath(name)
    return "__".join((*path.parts[:-1], path.stem + (".png" if as_png else path.suffix)))


def needs_png(path: str | os.PathLike[str], orientation: int) -> bool:
    """Whether a photo goes to annotation tools as an upright PNG rather than as it is."""
    return orientation != 1 or Path(path).suffix.lower() not in _SHOWN


def _put(source: Path, goal: Path) -> None:
    if goal.is_file():
        return
    with atomic_path(goal) as temporary:
        if goal.suffix.lower() == source.suffix.lower() and not needs_png(source, load_image(source).orientation):
            shutil.copyfile(source, temporary)
        else:
            from PIL import Image

            Image.fromarray(load_image(source).pixels).save(temporary, format="PNG")


def _predicted(photo: Photo, points: np.ndarray) -> LabelledImage:
    inside = np.clip(points, -0.5, np.array(photo.size) - 0.5)
    return LabelledImage(photo.name, inside, np.ones(len(points), bool), photo.size, PREDICTED)


def _crops(project: Project, names: Sequence[str], size: int) -> Iterator[tuple[list[str], np.ndarray]]:
    for start in range(0, len(names), _BATCH):
        part = list(names[start:start + _BATCH])
        yield part, np.stack([cut_square(load_image(project.path_of(name)).pixels, face_square(project.photos[name], size=size))
                              for name in part])


def _predictor(weights: str | os.PathLike[str], scheme: LandmarkScheme):
    from facerecon.alignment.predictor import LandmarkPredictor

    predictor = LandmarkPredictor.load(weights)
    if predictor.scheme.names != scheme.names:
        raise ArgumentError(f"weights: wanted a network for the scheme {scheme.name}, got one for {predictor.scheme.name}")
    return predictor


def _features(project: Project, names: Sequence[str], weights: str | os.PathLike[str],
              progress: Progress) -> Iterator[np.ndarray]:
    import torch

    from facerecon.gmda import load_network, normalise

    encoder = load_network(weights).network.encoder
    done = 0
    for part, crops in _crops(project, names, encoder.image_size):
        with torch.inference_mode():
            yield encoder(normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255)).latent.numpy()
        done += len(part)
        progress(done)
