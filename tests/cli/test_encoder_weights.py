"""`facerecon reconstruct --method encoder --weights`: files with finite numbers, bad photos aside, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from facerecon.export import read_mesh
from facerecon.mofa import CodeLayout, EncoderFacts, FaceEncoder, save_encoder
from facerecon.morphable import load_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = load_model()
    return save_encoder(tmp_path_factory.mktemp("encoder") / "e.safetensors", FaceEncoder(layout=CodeLayout.of(model)),
                        EncoderFacts.of(model))


def test_a_folder_by_the_encoder(command, mixed, records, weights, tmp_path):
    out = tmp_path / "out"
    words = ("reconstruct", mixed, "-o", out, "--method", "encoder", "--weights", weights, "--faces", "largest", "--format",
             "ply", "--texture", "none", "--maps", "none")
    result = command(*words)
    assert result.exit_code == 3, result.output
    found = [(record["image"].removeprefix(f"{mixed}/"), record.get("code", "ok")) for record in records(out)]
    assert found == [("a_noise.png", "no_face"), ("b_empty.jpg", "image_empty"), ("p1.png", "ok"),
                     ("p1_text.jpg", "image_format"), ("p2.png", "ok"), ("p2_cut.png", "image_truncated"), ("p3.png", "ok"),
                     ("z/p3.png", "ok")]
    face = json.loads((out / "p1_0.json").read_text())
    assert face["method"] == "encoder" and {"encode", "judge", "export"} <= set(face["timings_ms"])
    assert np.isfinite(read_mesh(out / "p1_0.ply").vertices).all() and np.isfinite(face["landmarks68"]).all()
    assert "sha256" in str(json.loads((out / "run.json").read_text()))
    assert command(*words, "--resume").exit_code == 3
    other = command(*words[:5], "auto", *words[6:], "--resume")
    assert other.exit_code == 2 and "method" in other.output


@pytest.mark.parametrize(("words", "text"), [
    (["--method", "fit", "--weights", "x.safetensors"], "weights"),
    (["--method", "encoder", "--weights", "gone.safetensors"], "gone.safetensors"),
    (["--pncc-weights", "x.safetensors"], "pncc_weights"),
])
def test_wrong_usage(command, photos, tmp_path, words, text):
    result = command("reconstruct", photos / "p0.png", "-o", tmp_path / "out", *words)
    assert result.exit_code == 2 and text in result.output.replace("\n", " ")


def test_without_weights_that_ship_the_encoder_is_refused(command, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("facerecon.pipeline.encoder_weights.manifest", dict)
    result = command("reconstruct", photos / "p0.png", "-o", tmp_path / "out", "--method", "encoder")
    assert result.exit_code == 2 and "facerecon train" in result.output.replace("\n", " ")
