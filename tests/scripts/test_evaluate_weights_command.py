"""The command that measures weights: whose faces are measured, and the whole of it, twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facerecon.data.shards import write_shard_tar
from facerecon.data.splits import split_of
from facerecon.errors import ArgumentError, BackendError, DatasetError
from facerecon.export.images import encode_image
from facerecon.synthesis.profile_photos import Photo

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = [f"person {number}" for number in range(99)]
TEST, TRAIN = (next(name for name in PEOPLE if split_of(name) == split) for split in ("test", "train"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Crops of a test subject, of a learner, of nobody, and without labels: the same picture, labelled by MediaPipe itself."""
    import cv2
    from evaluate_weights_methods import MethodSpec, build
    from evaluate_weights_sets import Face

    from facerecon.data import load_image

    pixels = cv2.resize(load_image(ROOT / "assets" / "portraits" / "portrait_02.jpg").pixels, (192, 192),
                        interpolation=cv2.INTER_AREA)
    folder, content = tmp_path_factory.mktemp("crops"), encode_image(pixels, "png")
    rough = Face("rough", "", Photo("rough", None, Path("rough")), np.array([[40.0, 50], [150, 180]] * 34))
    method = build(MethodSpec("mediapipe"))
    points = method(rough, pixels).points
    method.close()
    rows = [{"name": name, "shard": "crops.tar", "subject": subject, "points68": points.tolist() if labelled else None}
            for name, subject, labelled in (("test.png", TEST, True), ("train.png", TRAIN, True), ("nobody.png", None, True),
                                            ("bare.png", TEST, False))]
    write_shard_tar(folder / "crops.tar", [(row["name"], content) for row in rows])
    (folder / "faces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_only_labelled_test_subjects_are_measured(archive, tmp_path):
    from evaluate_weights_sets import open_sets

    (only,) = open_sets(faces=archive, profiled=None, aflw=None)
    assert [one.name for one in only.faces] == ["test"] and only.faces[0].subject == TEST and only.faces[0].euler is None
    with pytest.raises(DatasetError, match="none"):
        open_sets(faces=tmp_path, profiled=None, aflw=None)


def test_profiled_faces_have_the_truth_of_the_archive(tmp_path):
    from evaluate_weights_sets import open_sets

    from facerecon.geometry import ScaledOrthographicPose
    from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
    from facerecon.morphable import FaceParameters, load_model
    from facerecon.synthesis import SyntheticFace
    from facerecon.synthesis.archive import write_block, write_index

    model, heads = load_model("open"), []
    for index, subject in enumerate((TRAIN, TEST, TEST)):
        rotation = torch.as_tensor(euler_deg_to_matrix_aflw(5.0, -40.0 * index, 3.0), dtype=torch.float32)
        pose = ScaledOrthographicPose(rotation, torch.tensor([24.0, 24.0]), torch.tensor(0.2))
        points = {f"{name}{count}": np.full((count, *axes), index, kind) for count in (68, 478)
                  for name, axes, kind in (("points", (2,), np.float32), ("visible", (), np.bool_))}
        points["points68"] = np.random.default_rng(index).uniform(8, 40, (68, 2)).astype(np.float32)
        heads.append(SyntheticFace(f"{index}.jpg", subject, np.full((48, 48, 3), 80 * index, np.uint8),
                                   FaceParameters.neutral(model, pose), **points))
    write_block(tmp_path, 0, heads, about={})
    write_index(tmp_path)
    (turned,) = open_sets(faces=None, profiled=tmp_path, aflw=None)
    assert [one.name for one in turned.faces] == ["1", "2"]
    for one, head in zip(turned.faces, heads[1:]):
        np.testing.assert_allclose(one.points, head.points68)
        np.testing.assert_allclose(one.euler, [5, -40 * int(one.name), 3], atol=1e-3)
        assert np.abs(one.photo.read().astype(float) - head.image).max() < 4
    (second,) = open_sets(faces=None, profiled=tmp_path, aflw=None, every=2)
    assert [one.name for one in second.faces] == [turned.faces[0].name]


def test_the_command_twice(archive, tmp_path, monkeypatch, capsys):
    import evaluate_weights_answers
    from evaluate_weights import main

    given = ["--faces", str(archive), "-o", str(tmp_path), "--quick", "--methods", "mediapipe"]
    assert main(given) == 0
    first = (tmp_path / "report.md").read_text()
    # MediaPipe agrees with itself to the last digit that is kept.
    assert first.count("| (a) MediaPipe's points | found | 1 | 0.00 [0.00, 0.00] ") == 4
    assert {path.stem for path in (tmp_path / "answers").iterdir()} == {"real-labels", "real-mediapipe"}
    monkeypatch.setattr(evaluate_weights_answers, "build", lambda spec: pytest.fail("asked again"))
    assert main(given) == 0 and (tmp_path / "report.md").read_text() == first and capsys.readouterr().out == 2 * first
    assert main(["-o", str(tmp_path)]) == 2 and "--aflw" in capsys.readouterr().err
    assert main([*given, "--methods", "magic"]) == 2 and "magic" in capsys.readouterr().err


def test_an_encoder_needs_weights(monkeypatch):
    from evaluate_weights import parse
    from evaluate_weights_methods import method_specs

    from facerecon.pipeline import encoder_weights

    monkeypatch.setattr(encoder_weights, "encoder_ships", lambda: False)
    for key in ("encoder", "auto"):
        with pytest.raises(BackendError, match="no encoder weights"):
            method_specs([key], weights=None, pncc_weights=None, threads=1)
    assert [spec.key for spec in method_specs(["fit"], weights=None, pncc_weights=None, threads=1)] == ["fit"]
    assert parse(["--aflw", "x", "-o", "o", "--methods", "auto,mediapipe"]).methods == ["mediapipe", "auto"]
    with pytest.raises(ArgumentError, match="every"):
        parse(["--aflw", "x", "-o", "o", "--every", "0"])
