"""`facerecon landmarks --weights`: files, manifest, resuming, boxes and refusals, as the other verbs."""

from __future__ import annotations

import json
import pickle
import types

import numpy as np
import pytest
import torch

from facerecon.alignment import LandmarkPredictor, LandmarkScheme, LandmarkTask
from facerecon.cli.landmark_job import LandmarkJob
from facerecon.data import load_image
from facerecon.detection import FaceFinder
from facerecon.export import read_landmarks_json, read_pts
from facerecon.gmda import build_autoencoder, build_plain, denormalise, save_network

SCHEME = LandmarkScheme("brightness", ("red", "green", "blue"), (0, 1, 2))


class Brightness(torch.nn.Module):
    """The colour channels of the crop as maps."""

    image_size, outputs = 128, 3

    def forward(self, images):
        return torch.nn.functional.avg_pool2d(denormalise(images), 9, 1, 4)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """A file's name that loads as `Brightness`."""
    path = tmp_path / "brightness.safetensors"
    path.write_bytes(b"stands for weights")
    loaded = types.SimpleNamespace(network=Brightness(), header={"task": LandmarkTask(SCHEME).to_dict()})
    monkeypatch.setattr("facerecon.alignment.predictor.load_network", lambda _: loaded)
    return path


def test_each_face_gets_its_points(command, mixed, records, weights, tmp_path):
    out = tmp_path / "out"
    result = command("landmarks", mixed, "-o", out, "--weights", weights)
    assert result.exit_code == 3, result.output
    found = [(record["image"].removeprefix(f"{mixed}/"), record.get("code", "ok")) for record in records(out)]
    assert found == [("a_noise.png", "no_face"), ("b_empty.jpg", "image_empty"), ("p1.png", "ok"),
                     ("p1_text.jpg", "image_format"), ("p2.png", "ok"), ("p2_cut.png", "image_truncated"),
                     ("p3.png", "ok"), ("z/p3.png", "ok")]
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {"manifest.jsonl", "run.json", ".journal.jsonl"} | {
        f"{stem}_0.{kind}" for stem in ("p1", "p2", "p3", "z/p3") for kind in ("pts", "json")}

    record = next(record for record in records(out) if record["image"].endswith("/p1.png"))
    face = read_landmarks_json(out / "p1_0.json")
    assert record["files"] == {"pts": "p1_0.pts", "json": "p1_0.json"}
    assert record["box"] == face["box"] and record["n_faces"] == 1
    assert face["scheme"] == "brightness" and face["method"] == "heatmaps" and face["image_size"] == [300, 300]
    assert len(face["point_confidence"]) == 3 and all(0 < value <= 1 for value in face["point_confidence"])
    assert {"load", "detect", "predict"} == set(face["timings_ms"])
    predictor = LandmarkPredictor(Brightness(), LandmarkTask(SCHEME))
    expected = predictor.predict(load_image(mixed / "p1.png"), face["box"])
    # The box in the file is rounded to hundredths.
    np.testing.assert_allclose(face["points"], expected.points, atol=0.05)
    np.testing.assert_allclose(read_pts(out / "p1_0.pts"), face["points"], atol=1e-3)


def test_boxes_take_the_place_of_detection(command, photos, records, weights, tmp_path):
    detected, out = tmp_path / "detected", tmp_path / "out"
    assert command("landmarks", photos / "p0.png", "-o", detected, "--weights", weights).exit_code == 0
    (record,) = records(detected)
    moved = [record["box"][0] - 6, record["box"][1] + 4, record["box"][2] + 5, record["box"][3]]
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_text("".join(json.dumps({"image": "p0.png", "box": box}) + "\n" for box in (moved, [-90, -90, -50, -50])))
    assert command("landmarks", photos / "p0.png", "-o", out, "--weights", weights, "--boxes", boxes).exit_code == 3
    first, second = records(out)
    # The box tells which face is meant; the crop is made from the detector's own box of that face, as without --boxes.
    with FaceFinder() as finder:
        face = finder.landmarks_in_box(load_image(photos / "p0.png").pixels, moved)
    assert first["box"] == pytest.approx(face.box.tolist(), abs=0.01) and first["n_faces"] == 2
    assert second["code"] == "box_invalid" and second["face"] == 1


def test_an_interrupted_run_goes_on(command, photos, records, weights, tmp_path):
    out = tmp_path / "out"
    words = ("landmarks", photos, "-o", out, "--weights", weights, "--quiet")
    assert command(*words).exit_code == 0
    whole = (out / "manifest.jsonl").read_bytes()
    kept = (out / "p0_0.json").stat().st_mtime_ns
    (out / "p2_0.pts").unlink()
    (out / "manifest.jsonl").unlink()
    assert command(*words).exit_code == 2
    assert command(*words, "--resume").exit_code == 0
    assert (out / "manifest.jsonl").read_bytes() == whole and (out / "p2_0.pts").is_file()
    assert (out / "p0_0.json").stat().st_mtime_ns == kept
    weights.write_bytes(b"others")
    refused = command(*words, "--resume")
    assert refused.exit_code == 2 and "weights_sha256" in refused.stderr


def test_usage_is_refused_before_anything_is_written(command, photos, weights, tmp_path, monkeypatch):
    out = tmp_path / "out"
    both = command("landmarks", photos, "-o", out, "--weights", weights, "--model", "mine.facemodel")
    assert both.exit_code == 2 and "--model" in both.stderr
    wrong = command("landmarks", photos, "-o", out, "--weights", weights, "--faces", "some")
    assert wrong.exit_code == 2 and "faces" in wrong.stderr
    monkeypatch.undo()
    missing = command("landmarks", photos, "-o", out, "--weights", tmp_path / "gone.safetensors")
    assert missing.exit_code == 2 and "model_missing" in missing.stderr
    other = save_network(tmp_path / "pncc.safetensors", build_plain(build_autoencoder(image_size=128).encoder, outputs=3),
                         task={"name": "pncc"}, tensor_type="float16")
    refused = command("landmarks", photos, "-o", out, "--weights", other)
    assert refused.exit_code == 2 and "model_invalid" in refused.stderr
    assert not out.exists()


def test_the_job_travels_to_workers():
    job = LandmarkJob("out", "w.safetensors", 2, "cpu", None)
    assert pickle.loads(pickle.dumps(job)) == job
