"""The state of a labelling project: what a round takes, what the random baseline takes, and what a kill leaves."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from facerecon.alignment.labels import LabelledImage
from facerecon.alignment.rounds import PROJECT, Photo, Project, locked
from facerecon.errors import ArgumentError, DatasetError, PathError


def make(folder, scheme, count=30, **options):
    project = Project(folder, scheme, **options)
    names = [f"p{index:02d}.jpg" for index in range(count)]
    project.add_photos(Photo(name, f"/photos/{name}", (48, 60), name) for name in names)
    return project


def label(project, names):
    for name in names:
        points = np.random.default_rng(len(name)).uniform(0, 40, (len(project.scheme), 2))
        project.labels[name] = LabelledImage(name, points, np.ones(len(points), bool), (48, 60), "coco")


def first_round(project, count=10, held_out=2):
    kept = project.next_held_out(held_out)
    return project.add_round(project.candidates(without=kept)[:count], function="random", discard=0.0, held_out=kept)


def test_the_first_round_is_the_random_baseline(tmp_path, scheme):
    project = make(tmp_path, scheme)
    step = first_round(project)
    assert step.proposed == step.random == tuple(project.random_names[:10])
    assert set(step.held_out) == set(project.random_names[-2:]) and not set(step.held_out) & set(step.proposed)


def test_later_rounds_keep_both_sequences(tmp_path, scheme):
    project = make(tmp_path, scheme)
    step = first_round(project)
    label(project, [*step.proposed, *step.held_out])
    assert sorted(project.training_names) == sorted(step.proposed) == sorted(project.baseline_names())
    kept = project.next_held_out(1)
    pool = project.candidates(without=kept)
    assert len(pool) == 30 - 10 - 2 - 1
    second = project.add_round(list(reversed(pool))[:6], function="nnm", discard=0.1, held_out=kept)
    order = [name for name in project.random_names if name not in project.held_out]
    assert second.random == tuple(order[10:16]) and second.held_out == kept and second.number == 1
    label(project, second.proposed)
    assert set(project.training_names) == set(step.proposed) | set(second.proposed)
    assert project.baseline_names() == order[:16]
    # Labels that only the random baseline asked for are not trained on, and the photos stay in the pool.
    only_random = [name for name in second.random if name not in second.proposed]
    label(project, only_random)
    assert len(project.training_names) == 16 and set(only_random) <= set(project.candidates())
    # A label that nobody asked for is trained on, and then the baseline has one more, too.
    extra = next(name for name in order[16:] if name not in project.labels)
    label(project, [extra])
    assert extra in project.training_names and len(project.baseline_names()) == 17 and extra not in project.candidates()


def test_random_order_depends_on_the_seed_and_not_on_later_photos(tmp_path, scheme):
    project, other = make(tmp_path, scheme, seed=1), make(tmp_path, scheme, seed=2)
    assert sorted(project.random_names) == sorted(other.random_names) and project.random_names != other.random_names
    before = project.random_names
    project.add_photos([Photo("new.jpg", "/new.jpg", (9, 9), "new.jpg")])
    assert [name for name in project.random_names if name != "new.jpg"] == before


def test_photos_that_cannot_be_used_are_never_taken(tmp_path, scheme):
    project = make(tmp_path, scheme)
    bad = {project.random_names[0], project.random_names[-1]}
    for name in bad:
        project.photos[name] = dataclasses.replace(project.photos[name], state="no_face")
    step = first_round(project)
    assert not bad & {*step.proposed, *step.random, *step.held_out} and len(step.proposed) == 10


def test_an_open_round(tmp_path, scheme):
    project = make(tmp_path, scheme)
    assert project.open_round is None
    step = first_round(project)
    label(project, step.proposed[:9])
    assert project.open_round == step
    project.finish_round(0, trained={"weights": "w", "metrics": None})
    assert project.open_round is None
    project = make(tmp_path, scheme)
    label(project, first_round(project).proposed)
    assert project.open_round is None


@pytest.mark.parametrize("proposed", [[], ["gone.jpg"], ["p00.jpg", "p00.jpg"]])
def test_wrong_proposals_are_refused(tmp_path, scheme, proposed):
    project = make(tmp_path, scheme)
    with pytest.raises(ArgumentError):
        project.add_round(proposed, function="random", discard=0.0, held_out=())
    assert project.rounds == []


def test_held_out_photos_cannot_be_proposed(tmp_path, scheme):
    project = make(tmp_path, scheme)
    with pytest.raises(ArgumentError):
        project.add_round(["p00.jpg"], function="random", discard=0.0, held_out=("p00.jpg",))


def test_two_photos_with_one_task_name(tmp_path, scheme):
    project = make(tmp_path, scheme, count=2)
    with pytest.raises(DatasetError, match="share"):
        project.add_photos([Photo("sub/x.jpg", "/x.jpg", (9, 9), "p00.jpg")])


def test_save_and_open(tmp_path, scheme, labels):
    project = make(tmp_path, scheme, seed=3, count=12, discard=0.2, crops=True)
    project.photos["p00.jpg"] = dataclasses.replace(project.photos["p00.jpg"], box=(1.0, 2.5, 3.0, 4.0))
    step = first_round(project, count=4)
    for name, found in zip(step.proposed, labels):
        project.labels[name] = dataclasses.replace(found, image=name)
    project.finish_round(0, trained={"weights": "w.safetensors", "samples": 3, "metrics": {"mean": 0.05}})
    project.save()
    again = Project.open(tmp_path)
    for field in dataclasses.fields(Project):
        if field.name != "labels":
            assert getattr(again, field.name) == getattr(project, field.name), field.name
    for name, found in project.labels.items():
        np.testing.assert_allclose(again.labels[name].points, found.points, rtol=0, atol=1e-8)
        assert again.labels[name].visible.tolist() == found.visible.tolist() and again.labels[name].source == found.source
    assert json.loads((tmp_path / PROJECT).read_text())["rounds"][0]["labelled"] == list(step.proposed[:3])


def test_damaged_states_are_refused(tmp_path, scheme):
    with pytest.raises(PathError) as caught:
        Project.open(tmp_path)
    assert caught.value.code == "path_missing" and "--photos" in caught.value.message
    project = make(tmp_path, scheme, count=12)
    step = first_round(project, count=4)
    label(project, step.proposed)
    text = project.save().read_text()
    for end in range(0, len(text) - 2, 97):
        (tmp_path / PROJECT).write_text(text[:end])
        with pytest.raises(DatasetError):
            Project.open(tmp_path)
    record = json.loads(text)
    short = {"points": [[1, 2]], "hidden": [], "source": "x", "size": None}
    for change in ({"schema": 2}, {"photos": [row for row in record["photos"] if row["name"] != step.proposed[0]]},
                   {"rounds": [{**record["rounds"][0], "number": 5}]}, {"function": "best"}, {"photos": [{}]},
                   {"labels": {step.proposed[0]: short}}):
        (tmp_path / PROJECT).write_text(json.dumps({**record, **change}))
        with pytest.raises(DatasetError):
            Project.open(tmp_path)


def test_a_failed_save_leaves_the_old_state(tmp_path, scheme, monkeypatch):
    project = make(tmp_path, scheme, count=12)
    project.save()
    before = (tmp_path / PROJECT).read_bytes()
    first_round(project)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PathError):
        project.save()
    assert (tmp_path / PROJECT).read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [PROJECT]


def hold(folder, ready):
    with locked(folder):
        ready.set()
        signal.pause()


def test_the_lock_goes_with_its_process(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready), daemon=True)
    process.start()
    try:
        assert ready.wait(20)
        with pytest.raises(PathError, match="another command") as caught, locked(tmp_path):
            pass
        assert caught.value.code == "path_exists"
    finally:
        process.kill()
        process.join()
    with locked(tmp_path):
        pass
