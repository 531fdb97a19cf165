"""Configurations tell themselves apart; predictions survive kills, damage and other people's runs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from facerecon.errors import ArgumentError, FaceError, ModelError, PathError
from facerecon.evaluation.prediction import Prediction, decode_prediction, encode_prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.protocol import CHOICES, PRESETS, EvalConfig, preset
from facerecon.files import TEMPORARY_SUFFIX


def prediction(name, seed=0, vertices=None):
    generator = np.random.default_rng(seed)
    return Prediction(name=name, landmarks68=generator.normal(size=(68, 3)).astype(np.float32), rotation=np.eye(3),
                      vertices=None if vertices is None else generator.normal(size=(vertices, 3)).astype(np.float32))


def test_defaults_are_those_of_the_specification():
    config = EvalConfig()
    assert (config.region, config.bbox_from, config.z_align, config.rec_align) == ("uv43867", "region", "mean_region", "similarity")
    assert PRESETS["sadrnet"] == dataclasses.replace(config, rec_align="sadrnet_closed_form")
    assert (PRESETS["2dasl"].region, PRESETS["2dasl"].rec_stride, PRESETS["2dasl"].rec_norm) == ("full53215", 50, "bbox")
    assert PRESETS["kpt68_box"] == dataclasses.replace(config, preset="kpt68_box", bbox_from="kpt68")


def test_every_switch_changes_fingerprint_and_title():
    base = preset("sadrnet")
    for name, choices in CHOICES.items():
        for choice in choices:
            changed = preset("sadrnet", **{name: choice})
            same = choice == getattr(base, name)
            assert (changed.fingerprint() == base.fingerprint()) == same == (changed.title == "sadrnet")
    assert preset("sadrnet", region="full53215").title == "sadrnet (region=full53215)"


def test_configuration_survives_json_and_refuses_what_it_does_not_know():
    config = preset("2dasl", exclude_ids=("image00002",), bootstrap_seed=3)
    assert EvalConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    for call in (lambda: preset("prnet"), lambda: preset(regoin="full53215"), lambda: preset(region="nose"),
                 lambda: EvalConfig(bootstrap_level=2.0)):
        with pytest.raises(ArgumentError):
            call()


def test_bytes_hold_a_prediction_and_equal_predictions_have_equal_bytes():
    one = prediction("a", vertices=7)
    again = decode_prediction(encode_prediction(one), source="x")
    assert encode_prediction(one) == encode_prediction(again) and (again.vertices == one.vertices).all()
    miss = Prediction.miss("b", FaceError("none there"))
    assert decode_prediction(encode_prediction(miss), source="x") == miss and not miss.found and miss.code == "no_face"


def test_a_prediction_refuses_what_cannot_be_scored():
    with pytest.raises(ArgumentError, match="needs landmarks68"):
        Prediction(name="a")
    with pytest.raises(ArgumentError, match="landmarks68"):
        Prediction(name="a", landmarks68=np.zeros((67, 3)))
    with pytest.raises(ArgumentError, match="finite"):
        Prediction(name="a", landmarks68=np.full((68, 3), np.nan))


def test_damaged_bytes_are_refused():
    content = encode_prediction(prediction("a"))
    for cut in [*range(0, 400, 13), len(content) - 1]:
        with pytest.raises(ModelError) as caught:
            decode_prediction(content[:cut], source="x")
        assert caught.value.code == "model_corrupt"


def test_a_store_fills_in_any_order_and_ends_equal(tmp_path):
    names = [f"image{index}" for index in range(5)]
    for folder, order in (("a", range(5)), ("b", (4, 0, 3, 1, 2))):
        store = PredictionStore.create(tmp_path / folder, {"method": "m"}, names)
        for index in order:
            store.put(index, prediction(names[index], index))
        store.finish()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    lines = (tmp_path / "a" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == names


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_resuming_counts_what_is_missing_damaged_or_half_written(tmp_path):
    names = ["a", "b", "c", "d"]
    store = PredictionStore.create(tmp_path, {"method": "m"}, names)
    for index in (0, 1, 2):
        store.put(index, prediction(names[index]))
    store.item_path(1).write_bytes(store.item_path(1).read_bytes()[:100])
    (tmp_path / "items" / f".x{TEMPORARY_SUFFIX}.safetensors").write_bytes(b"half")
    again = PredictionStore.create(tmp_path, {"method": "m"}, names)
    assert again.missing() == [1, 3]
    assert sorted(path.name for path in (tmp_path / "items").iterdir()) == ["000000.safetensors", "000002.safetensors"]
    with pytest.raises(PathError, match="is missing"):
        again.finish()


def test_another_configuration_or_other_images_are_refused(tmp_path):
    PredictionStore.create(tmp_path, {"method": "fit", "crop_from": "detector"}, ["a", "b"]).put(0, prediction("a"))
    with pytest.raises(ArgumentError, match="crop_from was 'detector', now 'gt68'"):
        PredictionStore.create(tmp_path, {"method": "fit", "crop_from": "gt68"}, ["a", "b"])
    with pytest.raises(ArgumentError, match="2 images"):
        PredictionStore.create(tmp_path, {"method": "fit", "crop_from": "detector"}, ["a", "c"])
    store = PredictionStore.create(tmp_path, {"method": "fit", "crop_from": "gt68"}, ["a", "b"], overwrite=True)
    assert store.missing() == [0, 1]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(PathError, match="not empty"):
        PredictionStore.create(tmp_path, {}, ["a"], overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(PathError, match="wanted a folder"):
        PredictionStore.open(tmp_path)


def test_a_damaged_configuration_is_refused(tmp_path):
    PredictionStore.create(tmp_path, {"method": "m"}, ["a"])
    for text in ("", "{", "[]", '{"schema": 1}', '{"schema": 7, "config": {}, "names": []}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError):
            PredictionStore.open(tmp_path)


def test_an_item_of_another_image_is_refused(tmp_path):
    store = PredictionStore.create(tmp_path, {}, ["a", "b"])
    with pytest.raises(ArgumentError, match="wanted b, got a"):
        store.put(1, prediction("a"))
    store.item_path(1).write_bytes(encode_prediction(prediction("a")))
    with pytest.raises(ModelError, match="wanted the prediction of b, got a"):
        store[1]
    with pytest.raises(ArgumentError, match="every image once"):
        PredictionStore.create(tmp_path / "x", {}, ["a", "a"])


def test_state_changes_with_any_prediction(tmp_path):
    store = PredictionStore.create(tmp_path, {}, ["a", "b"])
    for index, name in enumerate(store.names):
        store.put(index, prediction(name))
    before = store.state()
    assert before == PredictionStore.open(tmp_path).state()
    store.put(0, prediction("a", seed=1))
    assert store.state() != before
