"""The training of a labelling round, and the random baseline beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.errors import ArgumentError, FaceReconError


def retrain_round(folder: Path, recipe_name: str, changes: Sequence[str], *, init: Path | None, device: str, baseline: bool,
                  quiet: bool) -> dict[str, Any]:
    """Train on all labels, and on as many random photos where their labels are there; note what both reached."""
    from facerecon.alignment.rounds import Project, locked
    from facerecon.training import load_recipe

    Project.open(folder)
    with locked(folder):
        project = Project.open(folder)
        if not project.rounds:
            raise ArgumentError(f"{folder}: no round yet; facerecon label propose {folder}")
        task = load_recipe(recipe_name).task
        if task != "landmarks":
            raise ArgumentError(f"--recipe: wanted one for landmarks, got {recipe_name} for {task}")
        recipe = load_recipe(recipe_name, [*changes, f"scheme={_scheme(project)}"])
        if recipe.normaliser == "inter_ocular" and project.scheme.eye_corners is None:
            recipe = dataclasses.replace(recipe, normaliser="box")
        if not recipe.validate_every:
            # Without any validation the run would not measure at its end either.
            recipe = dataclasses.replace(recipe, validate_every=recipe.checkpoint_every)
        names, step = project.training_names, project.rounds[-1]
        if not names:
            raise ArgumentError(f"{folder}: wanted labels to train on, got none; facerecon label import {folder} FILE")
        validation, _ = _crops(project, project.held_out_names, recipe, measured=True)
        options = {"init": init, "device": device, "quiet": quiet}
        trained, left_out = _train(project, names, validation, recipe, f"round-{step.number:02d}", **options)
        result: dict[str, Any] = {"round": step.number, "trained": trained, "baseline": None, "no_baseline": "",
                                  "left_out": left_out, "stopped": trained is None}
        if trained is None:
            return result
        project.finish_round(step.number, trained=trained, baseline=None)
        project.save()
        random = project.baseline_names()
        missing = [name for name in random if name not in project.labels]
        if not baseline:
            result["no_baseline"] = "left out"
        elif set(random) == set(names):
            result["baseline"] = trained
        elif missing:
            result["no_baseline"] = (f"not trained, {len(missing)} of {len(random)} labels are missing "
                                     f"(facerecon label propose {folder} --baseline)")
        else:
            found, _ = _train(project, random, validation, recipe, f"random-{step.number:02d}", **options)
            result["baseline"], result["stopped"] = found, found is None
        if result["baseline"]:
            project.finish_round(step.number, baseline=result["baseline"])
            project.save()
    return result


def _train(project, names: Sequence[str], validation, recipe, run: str, *, init: Path | None, device: str,
           quiet: bool) -> tuple[dict[str, Any] | None, list[str]]:
    """The record of one training, None when it was stopped, and the names that could not be trained on."""
    from facerecon.alignment.normalisers import summarise_landmarks
    from facerecon.training import Material, train

    training, left_out = _crops(project, names, recipe)
    if training is None:
        raise ArgumentError(f"wanted labels with points to train on, got none among {len(names)}")
    usable = sum(photo.state == "ok" for photo in project.photos.values())
    material = Material(training, validation, full=max(usable, len(training)))
    place = project.folder / "training" / run
    options = {"init": init, "device": device, "seed": project.seed, "progress": False if quiet else None}
    try:
        found = train(recipe, material, place, resume=True, **options) if (place / "run.json").is_file() else train(
            recipe, material, place, **options)
    except FaceReconError:
        # The folder holds a run with fewer labels or another recipe; its weights are of no use any more.
        if not (place / "run.json").is_file():
            raise
        found = train(recipe, material, place, overwrite=True, **options)
    if not found.finished:
        return None, left_out
    # What a finished run would resume from is twice as large as its weights; the held-out photos must not choose among weights.
    for name in ("last.checkpoint.safetensors", "best.safetensors"):
        (place / name).unlink(missing_ok=True)
    metrics = None
    if found.errors:
        summary = summarise_landmarks(np.array(list(found.errors.values())))
        metrics = {**dataclasses.asdict(summary), "normaliser": recipe.normaliser}
    weights = (place / "weights.safetensors").relative_to(project.folder).as_posix()
    record = {"weights": weights, "samples": len(training), "recipe": recipe.name, "steps": found.steps, "metrics": metrics}
    return record, left_out


def _crops(project, names: Sequence[str], recipe, *, measured: bool = False):
    """Face crops with their landmarks, None when there are none, and the names that were left out.

    `measured`: leave out faces whose error cannot be normalised.
    """
    from facerecon.alignment.proposal import face_square
    from facerecon.data import load_image
    from facerecon.detection import cut_square
    from facerecon.training import make_crops

    size = recipe.crop_size or recipe.image_size
    corners = list(project.scheme.eye_corners or ()) if recipe.normaliser == "inter_ocular" else []
    kept = [name for name in names if not measured or project.labels[name].present[corners].all()]
    if not kept:
        return None, list(names)
    images, points = [], []
    for name in kept:
        square = face_square(project.photos[name], size=size)
        images.append(cut_square(load_image(project.path_of(name)).pixels, square))
        points.append(square.to_crop(project.labels[name].points))
    crops = make_crops(np.stack(images), kept, None, np.stack(points), scheme=project.scheme.name)
    whole = {name for name, labelled in zip(kept, crops.labelled) if labelled}
    left_out = [name for name in names if name not in whole]
    usable = crops if crops.labelled.all() else crops.take(crops.labelled) if crops.labelled.any() else None
    return usable, left_out


def _scheme(project) -> str:
    """The scheme as a recipe names it: a name that ships, or a file in the project."""
    import json

    from facerecon.alignment.scheme import load_scheme, scheme_names
    from facerecon.files import write_atomic

    if project.scheme.name in scheme_names() and load_scheme(project.scheme.name) == project.scheme:
        return project.scheme.name
    return str(write_atomic(project.folder / "scheme.json", json.dumps(project.scheme.to_dict(), ensure_ascii=False) + "\n"))
