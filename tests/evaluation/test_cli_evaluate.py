"""The verb: tables, files, exit status, resumed runs, refusals (no detector, no licensed file)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from facerecon.cli.evaluate import app
from facerecon.errors import ArgumentError, DatasetError, ModelError, PathError


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_truth_against_itself(tmp_path, benchmark_folder):
    out = tmp_path / "out"
    result = run("aflw2000", benchmark_folder, "--method", "ground-truth", "-o", out, "--no-plots")
    assert result.exit_code == 0, result.output
    assert "12 / 12" in result.stdout and "convert-basel" in result.stdout and "ground truth" in result.stdout
    assert {path.name for path in out.iterdir()} == {"predictions", "report.txt", "report.json", "scores.csv"}
    report = json.loads((out / "report.json").read_text())
    metrics = {row["metric"]: row for row in report["views"]["found"]["metrics"]}
    assert metrics["nme2d"]["mean_all"] < 1e-4 and metrics["yaw"]["mean_all"] < 1e-9
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert run("aflw2000", benchmark_folder, "--method", "ground-truth", "-o", out, "--no-plots").exit_code == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    refused = run("aflw2000", benchmark_folder, "--method", "mean-face", "--crop-from", "gt68", "-o", out)
    assert isinstance(refused.exception, ArgumentError) and "another run" in refused.exception.message


def test_predictions_of_others_compared(tmp_path, benchmark_folder, truths):
    landmarks = np.stack([truth.landmarks68[:, :2] for truth in truths])
    np.save(tmp_path / "good.npy", landmarks + 1)
    np.save(tmp_path / "worse.npy", landmarks + 3)
    result = run("aflw2000", benchmark_folder, "--predictions", tmp_path / "good.npy", "--compare", tmp_path / "worse.npy",
                 "-o", tmp_path / "out", "--no-plots", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    difference = content["differences"]["nme2d"]["mean_all"]
    assert difference["high"] < 0 and content["first_is_better_percent"]["nme2d"] == 100
    assert (tmp_path / "out" / "comparison.txt").is_file() and (tmp_path / "out" / "compared_with" / "scores.csv").is_file()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "2D" in report["not_computed"]["nme3d"]


def test_an_image_without_a_result_gives_exit_status_3(tmp_path, benchmark_folder):
    import safetensors.numpy

    found = np.ones(12, np.uint8)
    found[4] = 0
    (tmp_path / "p.safetensors").write_bytes(safetensors.numpy.save({"landmarks68": np.random.default_rng(0).normal(
        size=(12, 68, 3)) * 50 + 225, "found": found}))
    result = run("aflw2000", benchmark_folder, "--predictions", tmp_path / "p.safetensors", "-o", tmp_path / "out")
    assert result.exit_code == 3 and "11 / 12" in result.stdout and "mean face in the whole image" in result.stdout
    assert {"ced_nme2d.png", "by_yaw_nme2d.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_acceptance_checks_and_limit(tmp_path, benchmark_folder):
    result = run("aflw2000", benchmark_folder, "--acceptance")
    assert result.exit_code == 0 and "4 / 4 / 4" in result.stdout and "FAILED" not in result.stdout
    limited = run("aflw2000", benchmark_folder, "--acceptance", "--limit", 3, "--json", "--quiet")
    assert any(check["got"] == "1 / 1 / 1" for check in json.loads(limited.stdout))


@pytest.mark.parametrize(("arguments", "error"), [
    (["--preset", "prnet"], ArgumentError), (["--region", "nose"], ArgumentError), (["--method", "magic"], ArgumentError),
    (["--annotation", "reannotated", "--method", "ground-truth"], ArgumentError), (["--pixel-origin", "zero"], ArgumentError),
    (["--basel", "nothing.facemodel"], ModelError), (["--basel", "open"], ModelError), (["--predictions", "nothing"], PathError),
    (["--labels", "nowhere", "--yaw-labels", "aflw", "--method", "ground-truth"], PathError),
    (["--exclude-ids", "nothing.txt"], PathError),
])
def test_requests_that_cannot_be_carried_out(tmp_path, monkeypatch, benchmark_folder, arguments, error):
    monkeypatch.chdir(tmp_path)
    result = run("aflw2000", benchmark_folder, *arguments)
    assert isinstance(result.exception, error), result.output


def test_a_folder_that_is_no_benchmark(tmp_path):
    assert isinstance(run("aflw2000", tmp_path).exception, DatasetError)
    assert isinstance(run("aflw2000", tmp_path / "none").exception, DatasetError)


def test_help_names_the_commands():
    assert all(word in run("--help").stdout for word in ("aflw2000", "scan"))
