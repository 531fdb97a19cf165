"""Weights files: bit-equal, strict, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import struct

import numpy as np
import pytest
import torch

from facerecon.detection import CropRule
from facerecon.errors import ArgumentError, ModelError, PathError
from facerecon.mofa import CodeLayout, EncoderFacts, FaceEncoder, load_encoder, save_encoder
from facerecon.tensorfile import HEADER_KEY, content_sha256, read_tensors, write_tensors

from .conftest import mask_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(path, encoder, facts, model) of a six-channel encoder whose statistics have moved."""
    torch.manual_seed(0)
    model = mask_model()
    encoder = FaceEncoder(layout=CodeLayout.of(model), channels=6)
    encoder(torch.rand(2, 6, 128, 128))
    facts = EncoderFacts.of(model, metrics={"step": 3, "nme": 1.25})
    path = save_encoder(tmp_path_factory.mktemp("weights") / "encoder.safetensors", encoder, facts)
    return path, encoder, facts, model


def test_comes_back_bit_by_bit(saved):
    path, encoder, facts, model = saved
    loaded = load_encoder(path)
    assert loaded.facts == facts and loaded.layout == encoder.layout and loaded.encoder.uses_pncc
    assert not loaded.encoder.training
    state = loaded.encoder.state_dict()
    assert state.keys() == encoder.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    images = torch.rand(1, 6, 128, 128)
    assert torch.equal(loaded.encoder(images), encoder.eval()(images))
    loaded.facts.check(model)


def test_a_slim_encoder_comes_back_and_an_old_file_is_a_whole_one(saved, tmp_path):
    path, encoder, facts, model = saved
    slim = FaceEncoder(layout=CodeLayout.of(model), width=0.5)
    loaded = load_encoder(save_encoder(tmp_path / "slim.safetensors", slim, facts)).encoder
    assert loaded.width == 0.5 and all(torch.equal(value, loaded.state_dict()[name])
                                       for name, value in slim.state_dict().items())
    # Files of before there was a choice say nothing of the width.
    tensors, header = read_tensors(path, wanted="a file")
    header = {**header, "config": {name: value for name, value in header["config"].items() if name != "width"}}
    header.pop("sha256")
    write_tensors(tmp_path / "old.safetensors", tensors, {**header, "sha256": content_sha256(tensors, header)})
    assert load_encoder(tmp_path / "old.safetensors").encoder.width == encoder.width == 1.0


def test_half_precision_is_half_the_size_and_close(saved, tmp_path):
    path, encoder, facts, _ = saved
    small = save_encoder(tmp_path / "half.safetensors", encoder, facts, tensor_type="float16")
    assert small.stat().st_size < 0.51 * path.stat().st_size
    state = load_encoder(small).encoder.state_dict()
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-4, rtol=1e-3)


def rewritten(path, tmp_path, *, change=None, tensors=None):
    """A file with another header and no tensors, or with other tensors, and a checksum that agrees with them."""
    arrays, header = read_tensors(path, wanted="a file")
    header.pop("sha256")
    header = {**header, **(change or {})}
    arrays = {} if tensors is None else {**arrays, **tensors}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    return write_tensors(tmp_path / "changed.safetensors", arrays, {**header, "sha256": content_sha256(arrays, header)})


def test_headers_that_are_not_an_encoders_are_refused(saved, tmp_path):
    path = saved[0]
    _, header = read_tensors(path, wanted="a file")
    layout, model, config = header["layout"], header["model"], header["config"]
    changes = [
        {"kind": "adapted"}, {"schema": 2}, {"extra": 1}, {"pncc": False}, {"pncc": 1}, {"metrics": []},
        {"layout": {**layout, "identity": 5}}, {"layout": {**layout, "camera": "fisheye"}},
        {"layout": {**layout, "margin": 2.0}}, {"layout": {}}, {"config": {**config, "depth": 19}},
        {"config": {**config, "depth": "18"}}, {"config": {}},
        {"config": {**config, "channels": 3}}, {"model": {**model, "sizes": [4, 3]}},
        {"model": {**model, "sizes": [4, 3, "2"]}}, {"model": {**model, "sizes": [1, 1, 1]}}, {"model": {"name": "mask"}},
        {"crop": {"rule": "another"}},
        {"crop": {**header["crop"], "margin": "wide"}},
    ]
    for change in changes:
        with pytest.raises(ModelError) as caught:
            load_encoder(rewritten(path, tmp_path, change=change))
        assert caught.value.code == "model_invalid", change
        # The header is checked before the tensors, of which this file has none.
        assert "changed.safetensors" in caught.value.message and "tensors" not in caught.value.message.split(":", 1)[1], change
    with pytest.raises(ModelError, match="tensors are not those"):
        load_encoder(rewritten(path, tmp_path, change={}))


def test_tensors_that_are_not_the_networks_are_refused(saved, tmp_path):
    path, encoder, _, _ = saved
    size = encoder.layout.size
    wrong = {"trunk.fc.weight": np.zeros((3, 512), np.float32), "trunk.fc.bias": None, "more": np.zeros(1, np.float32),
             "trunk.bn1.bias": np.zeros(64, np.int64), "trunk.bn1.num_batches_tracked": np.zeros((), np.float32)}
    with pytest.raises(ModelError) as caught:
        load_encoder(rewritten(path, tmp_path, tensors=wrong))
    assert caught.value.code == "model_invalid"
    for text in ("trunk.fc.weight: wanted", "trunk.fc.bias is missing", "more is not wanted", "trunk.bn1.bias: wanted",
                 "trunk.bn1.num_batches_tracked: wanted"):
        assert text in caught.value.message
    with pytest.raises(ModelError, match="fc.bias has NaN") as caught:
        load_encoder(rewritten(path, tmp_path, tensors={"trunk.fc.bias": np.full(size, np.nan, np.float32)}))
    assert caught.value.code == "model_corrupt"


def test_damage_is_noticed(saved, tmp_path):
    path = saved[0]
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    damaged = tmp_path / "damaged.safetensors"
    for cut in (0, 5, size // 2, size + 8, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:cut])
        with pytest.raises(ModelError) as caught:
            load_encoder(damaged)
        assert caught.value.code == "model_corrupt", cut
    for place in (size + 8 + 1000, len(content) - 10):
        flipped = bytearray(content)
        flipped[place] ^= 1
        damaged.write_bytes(flipped)
        with pytest.raises(ModelError) as caught:
            load_encoder(damaged)
        assert caught.value.code == "model_corrupt", place
    text = json.loads(content[8:8 + size])["__metadata__"][HEADER_KEY]
    assert "mofa-encoder" in text


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ModelError) as caught:
        load_encoder(tmp_path / "nothing.safetensors")
    assert caught.value.code == "model_missing"
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    with pytest.raises(ModelError) as caught:
        load_encoder(tmp_path / "pickle.safetensors")
    assert caught.value.code == "unsafe_format"


def test_an_interrupted_write_leaves_the_old_file(saved, tmp_path, monkeypatch):
    path, encoder, facts, _ = saved
    goal = tmp_path / "encoder.safetensors"
    goal.write_bytes(path.read_bytes())
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(PathError):
        save_encoder(goal, encoder, dataclasses.replace(facts, metrics={"step": 4}))
    monkeypatch.undo()
    assert goal.read_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["encoder.safetensors"]


def test_weights_that_are_not_finite_are_not_saved(saved, tmp_path):
    path, _, facts, model = saved
    goal = tmp_path / "encoder.safetensors"
    goal.write_bytes(path.read_bytes())
    broken = FaceEncoder(layout=CodeLayout.of(model))
    with torch.no_grad():
        broken.trunk.fc.weight[0, 0] = float("inf")
    with pytest.raises(ModelError, match="fc.weight"):
        save_encoder(goal, broken, facts)
    with torch.no_grad():
        broken.trunk.fc.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match="float16"):
        save_encoder(goal, broken, facts, tensor_type="float16")
    assert goal.read_bytes() == path.read_bytes()
    with pytest.raises(ArgumentError, match="JSON"):
        save_encoder(goal, saved[1], dataclasses.replace(facts, metrics={"when": object()}))


def test_equal_encoders_give_equal_files(saved, tmp_path):
    path, encoder, facts, _ = saved
    assert save_encoder(tmp_path / "again.safetensors", encoder, facts).read_bytes() == path.read_bytes()


def test_another_face_model_is_refused(saved):
    _, _, facts, model = saved
    other = mask_model(seed=1)
    assert other.sizes == model.sizes
    with pytest.raises(ModelError, match="bases"):
        facts.check(other)
    with pytest.raises(ModelError, match="topology"):
        dataclasses.replace(facts, topology_sha256="0" * 64).check(model)
    with pytest.raises(ModelError, match="coefficients"):
        dataclasses.replace(facts, sizes=(4, 3, 1)).check(model)
    facts.check(mask_model().double())
    assert facts.crop == CropRule()
