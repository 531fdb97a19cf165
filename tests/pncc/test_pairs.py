"""Pairs on disk: they come back, hostile and mixed folders are refused; the script makes them and goes on after a stop."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from facerecon.errors import ArgumentError, DatasetError, FitError, ModelError
from facerecon.pncc import PnccTask, join_pairs, load_pairs, make_pairs, read_shard, recover_pose, shard_path, write_shard
from facerecon.tensorfile import read_tensors, write_tensors

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ABOUT = {"source": "test", "model": {"name": "m", "topology_sha256": "t", "code": {"low": [0, 0, 0], "high": [1, 2, 3]}}}


def some(count, *, first=0, about=ABOUT, size=64):
    generator = np.random.default_rng(first)
    maps = generator.uniform(0.2, 1, (count, 128, 128, 3)) * (generator.uniform(size=(count, 128, 128, 1)) < 0.5)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    names = [f"n{first + i}" for i in range(count)]
    return make_pairs(list(images), list(maps), names, size=size, subjects=[None, "ann", "bob"][:count], about=about,
                      rows=[{"residual_percent": float(i)} for i in range(count)],
                      dropped=[{"name": f"d{first}", "code": "no_face"}])


def test_pairs_come_back(tmp_path):
    pairs = some(3)
    write_shard(shard_path(tmp_path, 0), pairs)
    write_shard(shard_path(tmp_path, 1), some(2, first=3))
    back = load_pairs(tmp_path)
    assert back.names == ("n0", "n1", "n2", "n3", "n4") and back.subjects == (None, "ann", "bob", None, "ann")
    assert back.about == ABOUT and back.rows[1] == {"residual_percent": 1.0} and back.size == 64
    assert [gone["name"] for gone in back.dropped] == ["d0", "d3"]
    np.testing.assert_array_equal(back.images[:3], pairs.images)
    np.testing.assert_array_equal(back.maps[:3], pairs.maps)
    np.testing.assert_array_equal(back.mask[:3], pairs.maps.any(-1))
    assert back.take(back.mask.any((1, 2))).sha256 == back.sha256 != pairs.sha256
    chosen = back.take([4, 0])
    assert chosen.names == ("n4", "n0") and np.array_equal(chosen.maps[1], pairs.maps[0])


def test_equal_pairs_give_equal_bytes(tmp_path):
    paths = [write_shard(tmp_path / name, some(2)) for name in ("a.safetensors", "b.safetensors")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_sets_below_a_folder_are_joined(tmp_path):
    write_shard(shard_path(tmp_path / "a", 0), some(2))
    write_shard(shard_path(tmp_path / "b", 0), some(2, first=5, about={**ABOUT, "source": "other"}))
    both = load_pairs(tmp_path)
    assert both.names == ("n0", "n1", "n5", "n6") and [part["source"] for part in both.about["parts"]] == ["test", "other"]
    task = PnccTask.from_pairs(both)
    assert task.model == "m" and task.high == (1.0, 2.0, 3.0) and PnccTask.from_dict(task.to_dict()) == task
    three = join_pairs([both, some(1, first=9, about={"source": "third", "model": {**ABOUT["model"], "name": "x"}})])
    assert len(three.about["parts"]) == 3
    with pytest.raises(ModelError):
        PnccTask.from_pairs(three)


def test_what_contradicts_itself_is_refused(tmp_path):
    with pytest.raises(DatasetError) as caught:
        load_pairs(tmp_path)
    assert caught.value.code == "dataset_missing"
    write_shard(shard_path(tmp_path, 0), some(1))
    write_shard(shard_path(tmp_path, 1), some(1, first=1, about={"source": "other"}))
    with pytest.raises(DatasetError):
        load_pairs(tmp_path)
    write_shard(shard_path(tmp_path, 1), some(1))
    with pytest.raises(DatasetError):
        load_pairs(tmp_path)
    with pytest.raises(ArgumentError):
        join_pairs([some(1), some(1, first=1, size=32)])
    with pytest.raises(ArgumentError):
        make_pairs([np.zeros((8, 8, 3), np.uint8)], [np.zeros((128, 128, 3))], ["a", "b"], size=8)


def test_hostile_files_are_refused(tmp_path):
    path = shard_path(tmp_path, 0)
    path.write_bytes(pickle.dumps({"images": 1}))
    with pytest.raises(ModelError) as caught:
        load_pairs(tmp_path)
    assert caught.value.code == "unsafe_format"
    whole = write_shard(path, some(1)).read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ModelError) as caught:
        load_pairs(tmp_path)
    assert caught.value.code == "model_corrupt"
    path.write_bytes(whole)
    tensors, header = read_tensors(path, wanted="pairs")
    for changed, wrong in (({"maps": tensors["maps"][:, :64]}, {}), ({"maps": tensors["maps"].astype(np.float32)}, {}),
                           ({}, {"rows": []}), ({}, {"rows": [3]}), ({}, {"kind": "adapted"}), ({}, {"about": 3})):
        write_tensors(path, {**tensors, **changed}, {**header, **wrong})
        with pytest.raises(ModelError) as caught:
            read_shard(path)
        assert caught.value.code == "model_invalid"


@pytest.fixture
def script(monkeypatch):
    # The scripts find each other by name, as they do when one of them is run.
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import make_pncc_pairs

    yield types.SimpleNamespace(pairs=make_pncc_pairs)
    sys.modules.pop("make_pncc_pairs")


def test_synthetic_heads_are_where_their_codes_say(script, surface, apart_deg):
    source = script.pairs.SyntheticHeads(size=128, count=3, seed=7)
    for index in range(3):
        pair = source.make(index)
        code = np.rint(pair.code * 255).astype(np.uint8)
        truth = pair.row["pose"]
        found = recover_pose(surface.match(code), surface.mean)
        assert apart_deg(found.pose.rotation, truth["rotation"]) < 12, "another head than the mean"
        # Skin is drawn where the code is: noise about a background has no such edges.
        inside, outside = pair.code.any(-1), ~pair.code.any(-1)
        assert 0.15 < inside.mean() < 0.8 and pair.image[inside].std() > 0 and outside.any()
    again = script.pairs.SyntheticHeads(size=128, count=1, seed=7).make(0)
    np.testing.assert_array_equal(again.image, source.make(0).image)
    other = script.pairs.SyntheticHeads(size=128, count=1, seed=8).make(0)
    assert (other.image != again.image).any()


def test_a_fitted_crop_has_its_code_on_its_face(script, tmp_path, surface):
    """The code of a portrait: its nose tip lies where the fit's landmarks put it, in the smaller map's pixels."""
    from PIL import Image

    portrait = Image.open(sorted((SCRIPTS.parent / "assets" / "portraits").glob("*.jpg"))[0]).convert("RGB")
    (tmp_path / "crops").mkdir()
    portrait.resize((192, 192), Image.Resampling.LANCZOS).save(tmp_path / "crops" / "one.png")
    source = script.pairs.FittedCrops(tmp_path / "crops", size=128, every=1, starts=[], largest=3.0)
    pair = source.make(0)
    face = source._fit(source._images[0])[0]
    nose = (face.landmarks68[30, :2] + 0.5) * 128 / 192 - 0.5
    matches = surface.match(np.rint(pair.code * 255).astype(np.uint8))
    place = matches.points(surface.mean)
    tip = surface.mean[np.argmax(np.where(np.abs(surface.mean[:, 0]) < 3, surface.mean[:, 2], -np.inf))]
    seen = matches.pixels[np.linalg.norm(place - tip, axis=1).argmin()]
    assert np.linalg.norm(seen - nose) < 4 and pair.image.shape == (128, 128, 3) and pair.row["residual_percent"] < 3
    strict = script.pairs.FittedCrops(tmp_path / "crops", size=128, every=1, starts=[], largest=1e-6)
    with pytest.raises(FitError):
        strict.make(0)


def test_a_stopped_run_goes_on_and_ends_the_same(script, tmp_path):
    made = []

    class Source:
        names = tuple("abcde")
        about = {"source": "stub"}

        def make(self, index):
            made.append(index)
            if index == 3:
                raise FitError("a bad one", code="fit_failed")
            return script.pairs.Pair(np.full((16, 16, 3), index, np.uint8), np.full((128, 128, 3), 0.5), None, {"i": index})

    def quiet(*_, **__):
        return None

    script.pairs.fill(tmp_path / "whole", Source(), size=16, shard=2, say=quiet)
    script.pairs.fill(tmp_path / "part", Source(), size=16, shard=2, say=quiet)
    shard_path(tmp_path / "part", 1).unlink()
    made.clear()
    script.pairs.fill(tmp_path / "part", Source(), size=16, shard=2, say=quiet)
    assert made == [2, 3]
    for number in range(3):
        assert shard_path(tmp_path / "part", number).read_bytes() == shard_path(tmp_path / "whole", number).read_bytes()
    pairs = load_pairs(tmp_path / "part")
    assert pairs.names == ("a", "b", "c", "e") and pairs.dropped == ({"name": "d", "code": "fit_failed"},)
    assert pairs.maps.min() == 128
    changed = Source()
    changed.about = {"source": "other"}
    with pytest.raises(SystemExit):
        script.pairs.fill(tmp_path / "part", changed, size=16, shard=2, say=quiet)
