"""Rounds of a labelling project by the command: photos in, tasks out, labels in."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from facerecon.assets import weights_path
from facerecon.errors import ArgumentError, DatasetError, FaceReconError, PathError

# A tool that stores hundredths of a pixel gives points back this far from where they were.
_UNMOVED_PX = 0.011
# Photos between two writes of the state while faces are looked for.
_SAVE_EVERY = 100


def propose_round(folder: Path, inputs: Sequence[str], fixed: dict[str, Any], *, count: int | None, function: str | None,
                  discard: float | None, weights: Path | None, format: str, baseline: bool, quiet: bool) -> dict[str, Any]:
    """Add photos, choose the next round's (or repeat the one that is open), and write its task folder."""
    from facerecon.alignment.proposal import LABEL_SETUP, TASK_FILES, choose, predict_labels, write_task
    from facerecon.alignment.rounds import FUNCTIONS, INITIAL, Project, locked
    from facerecon.checks import check_choice

    # Wrong words are refused before anything is written.
    check_choice("--format", format, tuple(TASK_FILES))
    if function is not None:
        check_choice("--function", function, FUNCTIONS)
    _require_start(folder, inputs)
    with locked(folder):
        project = _opened(folder, inputs, fixed)
        if inputs:
            _add_photos(project, inputs, quiet)
        weights = _weights(project) if weights is None else weights_path(weights)
        repeated = project.open_round is not None
        if baseline:
            names = [name for name in project.baseline_names() if name not in project.labels]
            if not names:
                raise ArgumentError("--baseline: wanted photos of the random baseline without label, got none"
                                    f"{'; label and import the first round' if not project.training_names else ''}")
            _find_faces(project, names, len(names), quiet)
            step, task = project.rounds[-1], f"random-{project.rounds[-1].number:02d}"
        else:
            if repeated:
                _require_same(project.rounds[-1], count=count, function=function)
            else:
                step_function = function or (project.function if project.rounds else "random")
                wanted = count or (project.count if project.rounds else INITIAL)
                measured = math.ceil(project.held_out_share * wanted)
                held_out = _usable(project, project.next_held_out(len(project.photos)), measured, quiet)
                pool = project.candidates(without=held_out)
                pool = _usable(project, pool, wanted if step_function == "random" else len(pool), quiet)
                if not pool:
                    raise ArgumentError("every photo is labelled or proposed already; add more with --photos")
                share = project.discard if discard is None else discard
                with _bar("scoring", len(pool), quiet) as advance:
                    chosen = choose(project, pool, wanted, function=step_function, discard=share, weights=weights,
                                    progress=advance)
                ranked = step_function != "random"
                project.add_round(chosen, function=step_function, discard=share if ranked else 0.0, held_out=held_out,
                                  scored_by=str(weights) if ranked else None)
                project.save()
            step = project.rounds[-1]
            names, task = [*step.proposed, *step.held_out], f"round-{step.number:02d}"
        goal = project.folder / "tasks" / task
        annotations = write_task(project, goal, names, predict_labels(project, names, weights), format=format)
    setup = goal / LABEL_SETUP if format == "cvat" else None
    return {"round": step.number, "function": step.function, "proposed": list(step.proposed), "held_out": list(step.held_out),
            "photos": names, "repeated": repeated and not baseline, "images": str(goal / "images"),
            "annotations": str(annotations), "label_setup": None if setup is None else str(setup)}


def import_annotations(folder: Path, source: Path, *, format: str, origin: str, outside: str, held_out: bool) -> dict[str, Any]:
    """Read, check and record labels: all of them or none."""
    from facerecon.alignment.annotations import match_photos, read_annotations
    from facerecon.alignment.labels import checked_label
    from facerecon.alignment.rounds import Project, locked

    Project.open(folder)
    with locked(folder):
        project = Project.open(folder)
        with _unpacked(source) as place:
            found = read_annotations(place, project.scheme, format=format, origin=origin)
        if not found:
            raise DatasetError(f"{source}: wanted at least one photo with points, got none", code="dataset_missing")
        tasks = {photo.task: name for name, photo in project.photos.items()}
        labels = {}
        for name, label in match_photos(found, list(project.photos), aliases=tasks).items():
            checked = checked_label(label, project.scheme, project.photos[name].size, outside=outside)
            labels[name] = dataclasses.replace(checked, image=name)
        if held_out:
            trained = sorted(set(labels) & project.proposed)
            if trained:
                raise ArgumentError(f"--held-out: {trained[0]} was proposed for training ({len(trained)} photos); measure with "
                                    "others")
            project.extra_held_out = tuple(sorted(set(project.extra_held_out) | set(labels)))
        before = {name: project.labels[name] for name in labels if name in project.labels}
        same = [name for name, label in before.items() if _equal(label, labels[name], 1e-6)]
        unmoved = _as_proposed(project, labels)
        project.labels.update(labels)
        project.save()
    last = project.rounds[-1] if project.rounds else None
    missing = [] if last is None else [name for name in (*last.proposed, *last.held_out) if name not in project.labels]
    absent = [int((~label.present).sum()) for label in labels.values()]
    return {"imported": len(labels), "new": len(labels) - len(before), "changed": len(before) - len(same), "same": len(same),
            "absent_points": sum(absent), "photos_with_absent": sum(map(bool, absent)), "as_proposed": unmoved,
            "round": None if last is None else last.number, "missing": missing}


def describe(folder: Path) -> dict[str, Any]:
    """The state of a project in numbers."""
    from facerecon.alignment.rounds import Project

    project = Project.open(folder)
    rounds = [{"number": step.number, "function": step.function, "proposed": len(step.proposed), "random": len(step.random),
               "labelled": sum(name in project.labels for name in step.proposed), "trained": step.trained,
               "baseline": step.baseline}
              for step in project.rounds]
    return {"scheme": project.scheme.name, "seed": project.seed, "photos": len(project.photos),
            "unusable": sum(photo.state != "ok" for photo in project.photos.values()), "labelled": len(project.labels),
            "training": len(project.training_names), "held_out": len(project.held_out_names), "rounds": rounds,
            "baseline_missing": sum(name not in project.labels for name in project.baseline_names())}


def _require_start(folder: Path, inputs: Sequence[str]) -> None:
    from facerecon.alignment.rounds import PROJECT

    if not inputs and not (folder / PROJECT).is_file():
        raise PathError(f"{folder}: no labelling project there; start one with --photos DIR", code="path_missing")


def _opened(folder: Path, inputs: Sequence[str], fixed: dict[str, Any]):
    from facerecon.alignment.rounds import PROJECT, Project
    from facerecon.alignment.scheme import load_scheme

    given = {key: value for key, value in fixed.items() if value is not None}
    if "scheme" in given:
        given["scheme"] = load_scheme(given["scheme"])
    if not (folder / PROJECT).is_file():
        return Project(folder, given.pop("scheme", None) or load_scheme("ibug68"), **given)
    project = Project.open(folder)
    changed = [key for key, value in given.items() if getattr(project, key) != value]
    if changed:
        raise ArgumentError(f"{', '.join(changed)}: fixed by the first round of {folder}; leave it out, or start another "
                            "project")
    return project


def _require_same(step, *, count: int | None, function: str | None) -> None:
    if count not in (None, len(step.proposed)) or function not in (None, step.function):
        raise ArgumentError(f"round {step.number} is open, with {len(step.proposed)} photos by {step.function}: import its "
                            "labels or retrain with those that are there; without --count and --function its task is "
                            "written again")


def _weights(project) -> Path | None:
    trained = [step.trained["weights"] for step in project.rounds if step.trained]
    return project.folder / trained[-1] if trained else None


def _add_photos(project, inputs: Sequence[str], quiet: bool) -> None:
    from facerecon.alignment.proposal import needs_png, task_name
    from facerecon.alignment.rounds import Photo
    from facerecon.cli.inputs import expand_inputs
    from facerecon.data import load_image

    items = expand_inputs(inputs, excluded=project.folder)
    bases = [Path(name).resolve() for name in inputs if os.path.isdir(name)]
    photos = []
    with _bar("photos", len(items), quiet) as advance:
        for done, item in enumerate(items, start=1):
            path = Path(item.path).resolve()
            base = next((base for base in bases if base in path.parents), path.parent)
            name = path.relative_to(base).as_posix()
            advance(done)
            if name in project.photos:
                continue
            try:
                image = load_image(item.path)
                task, state = task_name(name, as_png=needs_png(path, image.orientation)), "ok"
                photos.append(Photo(name, str(path), image.size, task, None, state))
            except FaceReconError as error:
                print(f"{item.path}: {error.message} [{error.code}]", file=sys.stderr)
                photos.append(Photo(name, str(path), (0, 0), task_name(name, as_png=False), None, error.code))
    project.add_photos(photos)
    if not any(photo.state == "ok" for photo in project.photos.values()):
        raise DatasetError(f"{', '.join(inputs)}: wanted at least one photo that can be read, got none", code="dataset_missing")


def _usable(project, names: Sequence[str], wanted: int, quiet: bool) -> list[str]:
    """The first `wanted` of these photos that have a face."""
    _find_faces(project, names, wanted, quiet)
    return [name for name in names if project.photos[name].state == "ok"][:wanted]


def _find_faces(project, names: Sequence[str], wanted: int, quiet: bool) -> None:
    """Look for the largest face in each photo until `wanted` of them have one; what is found is remembered."""
    from facerecon.detection import FaceFinder

    unknown = [name for name in names if project.photos[name].box is None and project.photos[name].state == "ok"]
    found = sum(project.photos[name].box is not None for name in names)
    if project.crops or not unknown or found >= wanted:
        return
    from facerecon.data import load_image

    with FaceFinder() as finder, _bar("faces", min(wanted - found, len(unknown)), quiet) as advance:
        for done, name in enumerate(unknown, start=1):
            faces = finder.find(load_image(project.path_of(name)).pixels)
            photo = project.photos[name]
            if faces:
                box = tuple(float(value) for value in max(faces, key=lambda face: face.size).box)
                project.photos[name] = dataclasses.replace(photo, box=box)
                found += 1
            else:
                print(f"{name}: no face found, left out [no_face]", file=sys.stderr)
                project.photos[name] = dataclasses.replace(photo, state="no_face")
            advance(done)
            if done % _SAVE_EVERY == 0:
                project.save()
            if found >= wanted:
                return


def _as_proposed(project, labels: dict[str, Any]) -> list[str]:
    """Photos whose labels are, point by point, what their task folder proposed."""
    from facerecon.alignment.coco import read_coco
    from facerecon.alignment.proposal import PROPOSED

    proposed = {label.image: label for file in sorted(project.folder.glob(f"tasks/*/{PROPOSED}"))
                for label in read_coco(file, project.scheme)}
    return [name for name, label in labels.items() if name in proposed and _equal(label, proposed[name], _UNMOVED_PX)]


def _equal(first, second, tolerance: float) -> bool:
    import numpy as np

    return bool(np.allclose(first.points, second.points, rtol=0, atol=tolerance, equal_nan=True)
                and (first.visible == second.visible).all())


@contextlib.contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    if source.suffix.lower() != ".zip":
        if not source.exists():
            raise PathError(f"{source}: there is no such file or folder", code="path_missing")
        yield source
        return
    from facerecon.data.archives import extract_archive

    with tempfile.TemporaryDirectory() as folder:
        extract_archive(source, Path(folder) / "export")
        yield Path(folder) / "export"


@contextlib.contextmanager
def _bar(text: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes the number of things done; a progress bar on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.update(task, completed=done)
