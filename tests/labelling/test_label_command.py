"""The loop by the command, with a stand-in for the network and its training where these are not what is tested."""

from __future__ import annotations

import json
import types
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from facerecon.alignment import LandmarkScheme, encode_heatmaps
from facerecon.alignment.annotations import read_annotations, write_annotations
from facerecon.alignment.labels import LabelledImage
from facerecon.alignment.rounds import Project

SIDE = 128


@pytest.fixture
def label():
    """Run `facerecon label ...` in this process; the parsed JSON, or the result when it failed."""
    from facerecon.cli.main import app

    def run(verb, *words, fails=False):
        result = CliRunner().invoke(app, ["label", verb, *map(str, words), "--json"], prog_name="facerecon")
        if fails:
            assert result.exit_code == 2 and "Traceback" not in result.output, result.output
            return result.stderr
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.fixture
def scheme_file(tmp_path, scheme):
    file = tmp_path / "four.json"
    file.write_text(json.dumps(scheme.to_dict()))
    return file


class Network:
    """A stand-in for the predictor: the darker a photo, the less sure; its points are in the middle."""

    image_size = SIDE

    def __init__(self, scheme: LandmarkScheme) -> None:
        self.scheme = scheme

    def heatmaps(self, crops):
        maps = encode_heatmaps(torch.full((len(crops), len(self.scheme), 2), 60.0), image_size=SIDE)
        return maps * torch.from_numpy(crops.mean((1, 2, 3))).float()[:, None, None, None] / 255

    def predict_crops(self, crops):
        return types.SimpleNamespace(points=np.full((len(crops), len(self.scheme), 2), 63.5))


@pytest.fixture
def graded(tmp_path):
    """Thirty square crops; photo k has brightness 8 k."""
    folder = tmp_path / "graded"
    folder.mkdir()
    for index in range(30):
        Image.fromarray(np.full((32, 32, 3), 8 * index, np.uint8)).save(folder / f"g{index:02d}.png")
    return folder


@pytest.fixture
def stand_in(monkeypatch, scheme):
    """Training that costs nothing: notes what it was given, and the error of a photo is its brightness."""
    calls = []

    def train(recipe, material, output, **options):
        calls.append((output.name, material, options))
        output.mkdir(parents=True, exist_ok=True)
        (output / "run.json").write_text("{}")
        (output / "weights.safetensors").write_bytes(b"weights")
        errors = {} if material.validation is None else dict.fromkeys(material.validation.names, 0.25)
        return types.SimpleNamespace(finished=True, errors=errors, steps=5)

    monkeypatch.setattr("facerecon.training.run.train", train)
    monkeypatch.setattr("facerecon.alignment.proposal._predictor", lambda weights, scheme: Network(scheme))
    return calls


def answer(task, photos, goal, *, format="coco", shift=0.0):
    """What an annotator would give back: four points for each picture of a task folder."""
    rows = []
    for file in sorted((task / "images").glob("*.png")):
        size = Image.open(file).size
        points = np.array([[3, 4], [12, 4], [8, 9], [8, 14.25]]) + shift
        rows.append(LabelledImage(file.name, points, np.ones(4, bool), size))
    return write_annotations(goal, rows, Project.open(task.parent.parent).scheme, format=format)


@pytest.mark.parametrize("format", ["coco", "cvat", "pts"])
def test_two_rounds(label, graded, scheme_file, stand_in, tmp_path, format):
    project, goal = tmp_path / "project", tmp_path / f"answer.{ {'coco': 'json', 'cvat': 'xml', 'pts': 'd'}[format]}"
    first = label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file, "--format", format)
    assert len(first["proposed"]) == 10 and len(first["held_out"]) == 2 and first["function"] == "random"
    task = project / "tasks" / "round-00"
    assert {file.name for file in (task / "images").glob("*.png")} == {*first["proposed"], *first["held_out"]}
    assert (task / "labels-for-cvat.json").is_file() == (format == "cvat")

    done = label("import", project, answer(task, graded, goal, format=format))
    assert (done["imported"], done["new"], done["missing"], done["as_proposed"]) == (12, 12, [], [])
    assert label("import", project, goal)["same"] == 12

    trained = label("retrain", project, "pretrained=false")
    (name, material, options), = stand_in
    assert name == "round-00" and sorted(material.training.names) == sorted(first["proposed"]) and options["seed"] == 0
    assert sorted(material.validation.names) == sorted(first["held_out"]) and material.full == 30
    # Points of a 32 px crop in a 128 px one: (p + 0.5) * 4 - 0.5.
    np.testing.assert_allclose(material.training.points[0], [[13.5, 17.5], [49.5, 17.5], [33.5, 37.5], [33.5, 58.5]], atol=1e-4)
    assert trained["trained"] == trained["baseline"] and trained["trained"]["metrics"]["mean"] == 0.25

    second = label("propose", project, "--count", "5", "--discard", "0.2", "--format", format)
    # The pool is the 30 without 12 labelled and 1 new held-out photo; its darkest fifth, 3 photos, is left out.
    pool = sorted({f"g{index:02d}.png" for index in range(30)} - {*first["proposed"], *first["held_out"], *second["held_out"]})
    assert second["proposed"] == pool[3:8] and second["function"] == "nnm" and len(second["held_out"]) == 1
    assert label("propose", project, "--format", format)["proposed"] == pool[3:8]
    label("import", project, answer(project / "tasks" / "round-01", graded, goal, format=format))
    assert "labels are missing" in label("retrain", project)["no_baseline"]

    extra = label("propose", project, "--baseline", "--format", format)
    answer(project / "tasks" / "random-01", graded, goal, format=format)
    assert len(label("status", project)["rounds"]) == 2 and label("status", project)["baseline_missing"] == len(extra["photos"])
    label("import", project, goal)
    stand_in.clear()
    assert label("retrain", project)["baseline"]["samples"] == 15
    assert [name for name, _, _ in stand_in] == ["round-01", "random-01"]
    active, random = (set(material.training.names) for _, material, _ in stand_in)
    assert active == {*first["proposed"], *second["proposed"]}
    assert len(random) == 15 and set(first["proposed"]) <= random != active
    status = label("status", project)
    assert status["baseline_missing"] == 0 and status["rounds"][1]["trained"]["metrics"]["n"] == 3


def test_predictions_come_prefilled_and_untouched_ones_are_noticed(label, graded, scheme_file, stand_in, tmp_path, scheme):
    project, goal = tmp_path / "project", tmp_path / "answer.xml"
    label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file, "--weights", "x", "--format", "cvat")
    task = project / "tasks" / "round-00"
    found = read_annotations(task / "annotations.xml", scheme)
    # The middle of the network's input is the middle of the crop.
    assert len(found) == 12 and all(np.allclose(row.points, 15.5) for row in found)
    assert len(label("import", project, task / "annotations.xml")["as_proposed"]) == 12
    label("import", project, answer(task, graded, goal, format="cvat"))
    # A task that is written again has the labels that are there.
    Project.open(project)
    state = json.loads((project / "project.json").read_text())
    del state["labels"][state["rounds"][0]["proposed"][0]]
    (project / "project.json").write_text(json.dumps(state))
    assert label("propose", project, "--format", "cvat")["repeated"]
    rows = {row.image: row for row in read_annotations(task / "annotations.xml", scheme)}
    np.testing.assert_allclose(rows[state["rounds"][0]["proposed"][1]].points[0], [3, 4])


def test_a_zip_and_cvats_coco(label, graded, scheme_file, stand_in, tmp_path):
    project = tmp_path / "project"
    label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file)
    file = answer(project / "tasks" / "round-00", graded, tmp_path / "person_keypoints_default.json", shift=0.5)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(file, "annotations/person_keypoints_default.json")
    label("import", project, tmp_path / "export.zip", "--origin", "edge")
    state = Project.open(project)
    np.testing.assert_allclose(next(iter(state.labels.values())).points[0], [3, 4])


def test_one_wrong_label_and_none_is_recorded(label, graded, scheme_file, stand_in, tmp_path):
    project, goal = tmp_path / "project", tmp_path / "answer.json"
    label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file)
    task = project / "tasks" / "round-00"
    before = (project / "project.json").read_bytes()
    answer(task, graded, goal)
    record = json.loads(goal.read_text())
    record["annotations"][5]["keypoints"][0] = 40
    goal.write_text(json.dumps(record))
    assert "landmarks_outside" in label("import", project, goal, fails=True)
    assert (project / "project.json").read_bytes() == before
    assert label("import", project, goal, "--outside", "absent")["absent_points"] == 1
    record["images"][3]["file_name"] = "stranger.png"
    goal.write_text(json.dumps(record))
    assert "stranger.png" in label("import", project, goal, "--outside", "keep", fails=True)


def test_labels_to_measure_with(label, graded, scheme_file, stand_in, tmp_path, scheme):
    project, goal = tmp_path / "project", tmp_path / "answer.json"
    first = label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file, "--held-out", "0")
    assert first["held_out"] == []
    others = [f"g{index:02d}.png" for index in range(30) if f"g{index:02d}.png" not in first["proposed"]][:3]
    rows = [LabelledImage(name, np.full((4, 2), 5.0), np.ones(4, bool), (32, 32)) for name in others]
    label("import", project, write_annotations(goal, rows, scheme, format="coco"), "--held-out")
    state = Project.open(project)
    assert sorted(state.held_out_names) == others and not set(others) & set(state.candidates()) and state.training_names == []
    assert "wanted labels to train on" in label("retrain", project, fails=True)
    answer(project / "tasks" / "round-00", graded, goal)
    assert "--held-out" in label("import", project, goal, "--held-out", fails=True)


def test_photos_of_two_folders_and_bad_files(label, photos, scheme_file, tmp_path):
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "p01.png").rename(photos / "p01.gif")
    Image.open(photos / "p01.gif").save(photos / "p01.gif")
    project = tmp_path / "project"
    done = label("propose", project, "--photos", photos, "--face-crops", "--scheme", scheme_file, "--count", "16")
    state = Project.open(project)
    assert state.photos["bad.jpg"].state == "image_format" and "bad.jpg" not in done["photos"] and len(done["photos"]) == 20
    assert "sub/p00.png" in done["photos"] and (project / "tasks/round-00/images/sub__p00.png").is_file()
    # A format that annotation tools do not show goes to them as PNG.
    assert state.photos["p01.gif"].task == "p01.png" and Image.open(project / "tasks/round-00/images/p01.png").format == "PNG"


def test_a_photo_on_its_side_is_given_upright(label, scheme_file, tmp_path):
    folder = tmp_path / "sideways"
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20), "red").save(folder / "a.jpg", exif=exif)
    label("propose", tmp_path / "project", "--photos", folder, "--face-crops", "--scheme", scheme_file, "--held-out", "0")
    assert Project.open(tmp_path / "project").photos["a.jpg"].size == (20, 40)
    assert Image.open(tmp_path / "project/tasks/round-00/images/a.png").size == (20, 40)


def test_a_mean_face_is_proposed_where_a_face_is(label, tmp_path):
    from pathlib import Path

    folder = tmp_path / "people"
    folder.mkdir()
    portrait = sorted((Path(__file__).resolve().parents[2] / "assets" / "portraits").glob("*.jpg"))[0]
    Image.open(portrait).convert("RGB").resize((300, 300)).save(folder / "face.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(folder / "noise.png")
    done = label("propose", tmp_path / "project", "--photos", folder, "--held-out", "0")
    state = Project.open(tmp_path / "project")
    assert done["photos"] == ["face.png"] and state.photos["noise.png"].state == "no_face"
    from facerecon.alignment import load_scheme

    (row,) = read_annotations(done["annotations"], load_scheme("ibug68"))
    x0, y0, x1, y1 = state.photos["face.png"].box
    eyes, chin = row.points[36:48].mean(0), row.points[8]
    assert x0 < eyes[0] < x1 and y0 < eyes[1] < (y0 + y1) / 2 + 0.1 * (y1 - y0) < chin[1]
    assert row.points[36, 0] < row.points[45, 0]


@pytest.mark.parametrize(("words", "text"), [
    (["propose", "project"], "--photos"), (["status", "project"], "--photos"), (["retrain", "project"], "--photos"),
    (["import", "project", "x.json"], "--photos"), (["propose", "project", "--photos", "gone"], "gone"),
    (["propose", "project", "--photos", "graded", "--format", "voc"], "--format"),
    (["propose", "project", "--photos", "graded", "--function", "best"], "--function"),
    (["propose", "project", "--photos", "graded", "--scheme", "none.json"], "none.json"),
])
def test_wrong_usage_leaves_nothing(label, graded, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert text in label(*words, fails=True)
    assert not (tmp_path / "project" / "project.json").exists()


def test_wrong_usage_of_a_project(label, graded, scheme_file, stand_in, tmp_path):
    project = tmp_path / "project"
    label("propose", project, "--photos", graded, "--face-crops", "--scheme", scheme_file)
    assert "seed" in label("propose", project, "--seed", "5", fails=True)
    assert "round 0" in label("propose", project, "--count", "7", fails=True)
    assert "x.json" in label("import", project, tmp_path / "x.json", fails=True)
    assert "baseline" in label("propose", project, "--baseline", fails=True)
    label("import", project, answer(project / "tasks" / "round-00", graded, tmp_path / "a.json"))
    assert "retrain" in label("propose", project, fails=True)
    assert "autoencoder-smoke" in label("retrain", project, "--recipe", "autoencoder-smoke", fails=True)
    assert "stepz" in label("retrain", project, "stepz=3", fails=True)
