"""`facerecon pncc --weights` and `facerecon annotate`: files, manifest, pose, resuming, refusals, by a network of one answer."""

from __future__ import annotations

import json
import pickle
import types

import numpy as np
import pytest
import torch
from PIL import Image

from facerecon.cli.pncc_job import PnccJob
from facerecon.detection import Crop
from facerecon.geometry import ScaledOrthographicPose, euler_deg_to_matrix_aflw
from facerecon.gmda import build_autoencoder, build_plain, save_network
from facerecon.morphable import load_model
from facerecon.pncc import PnccTask, code_box, pose_to_photo
from facerecon.render import ambient_light
from facerecon.views import PhotoView

FILES = {"manifest.jsonl", "run.json", ".journal.jsonl"}


class OneAnswer(torch.nn.Module):
    """Whatever the photo, the code of the mean head in one pose; background alone for a black photo."""

    image_size, outputs = 128, 3

    def __init__(self, code):
        super().__init__()
        self.code = torch.from_numpy(code).permute(2, 0, 1)[None]

    def forward(self, images):
        lit = (images.amax((1, 2, 3)) - images.amin((1, 2, 3)) > 0.6).float()
        return lit[:, None, None, None] * self.code


@pytest.fixture(scope="module")
def truth():
    """Model, task, and the pose of the answer in px of the map."""
    model = load_model()
    pose = ScaledOrthographicPose(euler_deg_to_matrix_aflw(*map(torch.tensor, (5.0, 25.0, -8.0))), torch.tensor([62.0, 58.0]),
                                  torch.tensor(0.6))
    box = code_box(model)
    task = PnccTask(model.name, model.header["topology_sha256"], tuple(box["low"]), tuple(box["high"]))
    code = PhotoView(model, model.mean, model.albedo_mean, ambient_light(), pose, (128, 128)).pncc()
    return types.SimpleNamespace(pose=pose, task=task, code=code)


@pytest.fixture
def weights(monkeypatch, tmp_path, truth):
    """A file's name that loads as `OneAnswer`."""
    path = tmp_path / "answer.safetensors"
    path.write_bytes(b"stands for weights")
    loaded = types.SimpleNamespace(network=OneAnswer(truth.code), header={"task": truth.task.to_dict()})
    monkeypatch.setattr("facerecon.pncc.predictor.load_network", lambda _: loaded)
    return path


def names(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_each_face_gets_its_code_and_pose(command, mixed, records, weights, truth, tmp_path):
    out = tmp_path / "out"
    result = command("pncc", mixed, "-o", out, "--weights", weights)
    assert result.exit_code == 3, result.output
    found = [(record["image"].removeprefix(f"{mixed}/"), record.get("code", "ok")) for record in records(out)]
    assert found == [("a_noise.png", "no_face"), ("b_empty.jpg", "image_empty"), ("p1.png", "ok"), ("p1_text.jpg", "image_format"),
                     ("p2.png", "ok"), ("p2_cut.png", "image_truncated"), ("p3.png", "ok"), ("z/p3.png", "ok")]
    assert names(out) == FILES | {f"{stem}_0{end}" for stem in ("p1", "p2", "p3", "z/p3") for end in (".json", "_pncc.png")}
    record = next(record for record in records(out) if record["image"].endswith("/p1.png"))
    face = json.loads((out / "p1_0.json").read_text())
    assert record["files"] == {"pncc": "p1_0_pncc.png", "json": "p1_0.json"} == face["files"] and record["box"] == face["box"]
    assert face["method"] == "network" and face["model"] == "open-head" and face["image_size"] == [300, 300]
    assert {"load", "detect", "predict"} < set(face["timings_ms"])

    crop = Crop(tuple(face["crop"]["centre"]), face["crop"]["side"], 128)
    expected = pose_to_photo(truth.pose, crop).to_dict()
    np.testing.assert_allclose(face["pose"]["rotation"], expected["rotation"], atol=0.003)
    np.testing.assert_allclose(face["pose"]["translation"], expected["translation"], atol=0.5)
    assert face["pose"]["scale"] == pytest.approx(expected["scale"], rel=0.005)
    fit = face["pose_fit"]
    assert fit["inlier_share"] == 1 and fit["residual_mm"] < 0.5 and fit["pixels"] > 4000
    assert fit["residual_px"] == pytest.approx(fit["residual_mm"] * expected["scale"], abs=2e-3)

    image = np.asarray(Image.open(out / "p1_0_pncc.png"))
    x, y = crop.to_image(np.array([64.0, 64.0])).round().astype(int)
    assert image.shape == (300, 300, 3) and np.abs(image[y, x] / 255 - truth.code[64, 64]).max() < 0.03 and not image[0, 0].any()


def test_annotate_stacks_on_the_photos(command, mixed, records, weights, tmp_path):
    out = tmp_path / "out"
    result = command("annotate", mixed, "-o", out, "--weights", weights)
    assert result.exit_code == 3 and names(out) == FILES | {f"{stem}_0_pncc.png" for stem in ("p1", "p2", "p3", "z/p3")}
    done = [record for record in records(out) if record["status"] == "ok"]
    for record in done:
        assert Image.open(out / record["files"]["pncc"]).size == Image.open(record["image"]).size
    assert len(done) == 4 and all("box" in record for record in done)


def test_crops_are_taken_whole(command, photos, records, weights, truth, tmp_path):
    Image.fromarray(np.zeros((128, 128, 3), np.uint8)).save(photos / "black.png")
    out = tmp_path / "out"
    assert command("annotate", photos, "-o", out, "--weights", weights, "--crops").exit_code == 3
    black, *others = records(out)
    assert black["code"] == "no_face" and [record["status"] for record in others] == ["ok"] * 4 and "box" not in others[0]
    image = np.asarray(Image.open(out / "p0_0_pncc.png")).astype(float)
    reduced = image.reshape(100, 3, 100, 3, 3).mean((1, 3))
    x = int((63 + 0.5) * 100 / 128)
    assert np.abs(reduced[x, x] / 255 - truth.code[63, 63]).max() < 0.05


def test_an_interrupted_run_goes_on(command, photos, records, weights, tmp_path):
    out = tmp_path / "out"
    words = ("annotate", photos, "-o", out, "--weights", weights, "--quiet")
    assert command(*words).exit_code == 0
    whole = (out / "manifest.jsonl").read_bytes()
    kept = (out / "p0_0_pncc.png").stat().st_mtime_ns
    (out / "p2_0_pncc.png").unlink()
    (out / "manifest.jsonl").unlink()
    assert command(*words).exit_code == 2
    assert command(*words, "--resume").exit_code == 0
    assert (out / "manifest.jsonl").read_bytes() == whole and (out / "p2_0_pncc.png").is_file()
    assert (out / "p0_0_pncc.png").stat().st_mtime_ns == kept
    other = command(*words, "--resume", "--crops")
    assert other.exit_code == 2 and "crops" in other.stderr
    weights.write_bytes(b"others")
    refused = command(*words, "--resume")
    assert refused.exit_code == 2 and "weights_sha256" in refused.stderr


def test_a_code_that_no_pose_explains_is_kept_and_flagged(command, photos, records, weights, monkeypatch, truth, tmp_path):
    noise = np.random.default_rng(0).uniform(0.2, 1, (128, 128, 3)).astype(np.float32)
    loaded = types.SimpleNamespace(network=OneAnswer(noise), header={"task": truth.task.to_dict()})
    monkeypatch.setattr("facerecon.pncc.predictor.load_network", lambda _: loaded)
    assert command("pncc", photos / "p0.png", "-o", tmp_path / "out", "--weights", weights).exit_code == 0
    (record,) = records(tmp_path / "out")
    face = json.loads((tmp_path / "out" / "p0_0.json").read_text())
    assert "no_pose" in record["flags"] and face["pose"] is None and face["pose_error"]["code"] == "fit_failed"


def test_usage_is_refused_before_anything_is_written(command, photos, weights, truth, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for words, text in ((("pncc", photos, "--weights", weights, "--fit", "landmarks"), "--fit"),
                        (("pncc", photos, "--weights", weights, "--model", "gone.facemodel"), "gone.facemodel"),
                        (("annotate", photos / "p0.png", "--weights", weights), "folder"),
                        (("annotate", photos, "--weights", weights, "--crops", "--boxes", weights), "--crops"),
                        (("annotate", photos, "--weights", weights, "--faces", "some"), "faces")):
        result = command(*words, "-o", out)
        assert result.exit_code == 2 and text in result.stderr, words
    monkeypatch.undo()
    network = build_plain(build_autoencoder(image_size=128).encoder, outputs=3)
    for task in ({"name": "landmarks"}, {**truth.task.to_dict(), "model": {"name": "other", "topology_sha256": "0"}}):
        path = save_network(tmp_path / "w.safetensors", network, task=task, tensor_type="float16")
        result = command("pncc", photos, "-o", out, "--weights", path)
        assert result.exit_code == 2 and "model_invalid" in result.stderr
    assert not out.exists()


def test_the_job_travels_to_workers():
    job = PnccJob("out", "w.safetensors", "all", "cpu", None, "open")
    assert pickle.loads(pickle.dumps(job)) == job
