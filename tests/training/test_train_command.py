"""`facerecon train`: each task from its data to weights that load again, and what it refuses."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facerecon.alignment import LandmarkPredictor
from facerecon.gmda import load_network
from facerecon.pncc import PnccPredictor
from facerecon.data.splits import split_of
from facerecon.training import recipe_names


@pytest.fixture
def command():
    """Run the command in this process on one thread."""
    from facerecon.cli.main import app

    return lambda *words: CliRunner().invoke(app, ["train", *map(str, words)], prog_name="facerecon")


def people(split: str, count: int) -> list[str]:
    return [name for name in (f"person {index}" for index in range(500)) if split_of(name) == split][:count]


@pytest.fixture
def archive(tiny, tmp_path):
    """A crop archive with four training faces and two for validation, 68 points each."""
    import io
    import tarfile

    images, _ = tiny.squares(6)
    generator = np.random.default_rng(0)
    folder = tmp_path / "faces"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as shard, open(folder / "faces.jsonl", "w") as index:
        for number, (image, subject) in enumerate(zip(images, people("train", 4) + people("validation", 2))):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = content.tell()
            content.seek(0)
            shard.addfile(member, content)
            points = generator.uniform(20, 100, (68, 2)).round(2).tolist()
            index.write(json.dumps({"name": member.name, "shard": "a.tar", "subject": subject, "points68": points}) + "\n")
    return folder


@pytest.fixture
def pairs(tiny, tmp_path):
    """A folder of PNCC pairs."""
    from facerecon.pncc import make_pairs, shard_path, write_shard

    images, _ = tiny.squares(4)
    made = make_pairs(list(images), list(images / 255), list("abcd"), size=128,
                      subjects=people("train", 3) + people("validation", 1),
                      about={"model": {"name": "a head", "topology_sha256": "0" * 64,
                                       "code": {"low": [-1.0, -1.0, -1.0], "high": [1.0, 1.0, 1.0]}}})
    write_shard(shard_path(tmp_path / "pairs", 0), made)
    return tmp_path / "pairs"


def test_an_autoencoder_and_then_landmarks_on_it(command, archive, tmp_path):
    first = command("autoencoder-smoke", "--data", archive, "-o", tmp_path / "ae", "--threads", 1, "--licence", "CC0-1.0")
    assert first.exit_code == 0, first.output
    weights = tmp_path / "ae" / "weights.safetensors"
    header = load_network(weights).header
    assert header["kind"] == "autoencoder" and header["metadata"]["licence"] == "CC0-1.0" and header["metadata"]["step"] == 3
    words = ("landmarks-smoke", "pretrained=true", "samples=3", "--data", archive, "-o", tmp_path / "lm", "--init", weights, "--threads", 1)
    second = command(*words)
    assert second.exit_code == 0 and "3 steps" in second.output and "validation_nme" in second.output, second.output
    loaded = load_network(tmp_path / "lm" / "weights.safetensors")
    assert loaded.header["config"]["kind"] == "hybrid" and loaded.header["task"]["scheme"]["name"] == "ibug68"
    assert loaded.header["metadata"]["data"]["samples"] == 3
    found = LandmarkPredictor.load(tmp_path / "lm" / "weights.safetensors").predict(np.zeros((64, 64, 3), np.uint8))
    assert found.points.shape == (68, 2)
    again = command(*words)
    assert again.exit_code == 2 and "path_exists" in again.output and "--resume" in again.output


def test_pncc(command, pairs, tmp_path):
    done = command("pncc-smoke", "--data", pairs, "-o", tmp_path / "out", "--threads", 1, "--quiet")
    assert done.exit_code == 0 and done.output == "", done.output
    loaded = load_network(tmp_path / "out" / "weights.safetensors")
    assert loaded.header["task"]["name"] == "pncc" and loaded.header["config"]["outputs"] == 3
    assert PnccPredictor.load(tmp_path / "out" / "weights.safetensors").predict(np.zeros((64, 64, 3), np.uint8)).code.shape[2] == 3


def test_pairs_that_do_not_say_whose_codes_they_have_are_refused_before_the_first_step(command, pairs, tmp_path):
    from facerecon.pncc import make_pairs, shard_path, write_shard

    nameless = make_pairs([np.zeros((128, 128, 3), np.uint8)], [np.zeros((128, 128, 3))], ["a"], size=128)
    write_shard(shard_path(tmp_path / "nameless", 0), nameless)
    done = command("pncc-smoke", "--data", tmp_path / "nameless", "-o", tmp_path / "out", "--threads", 1)
    assert done.exit_code != 0 and "model_invalid" in done.output, done.output


def test_list_and_show(command):
    listed = command("--list")
    assert listed.exit_code == 0 and [line.split()[0] for line in listed.output.splitlines()] == list(recipe_names())
    shown = command("landmarks-gmda-r", "kind=two_flow_sum", "--show")
    assert shown.exit_code == 0 and "kind = two_flow_sum\n" in shown.output and "augmentation.scale = 0.95,1.05\n" in shown.output


@pytest.mark.parametrize(("words", "message"), [
    (["landmarks-gmda-r", "kinds=original"], "nearest: kind"), (["landmarks-gmda"], "nearest: landmarks-gmda-r"),
    ([], "wanted a recipe"), (["landmarks-smoke"], "wanted --data PATH"), (["landmarks-smoke", "--data", "none", "-o", "x"], "dataset_missing")])
def test_wrong_requests_have_one_line_and_status_two(command, words, message):
    done = command(*words)
    assert done.exit_code == 2 and message in done.output and len(done.output.splitlines()) == 1


def test_landmarks_without_weights_to_start_from(command, archive, tmp_path):
    done = command("landmarks-cpu-128", "--data", archive, "-o", tmp_path / "out")
    assert done.exit_code == 2 and "--init" in done.output


def test_without_the_extra_the_message_says_how_to_get_it(command, monkeypatch, tmp_path):
    import sys

    original = builtins.__import__

    def missing(name, *arguments, **options):
        if name.split(".")[0] == "lightning":
            raise ModuleNotFoundError("No module named 'lightning'", name="lightning")
        return original(name, *arguments, **options)

    for name in [name for name in sys.modules if name.startswith("facerecon.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    done = command("landmarks-smoke", "--data", tmp_path, "-o", tmp_path / "out")
    assert done.exit_code == 2 and "pip install facerecon[train]" in done.output and "backend_missing" in done.output
