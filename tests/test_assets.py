"""Weights by the names under which they ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facerecon.assets import ENVIRONMENT, assets_folder, manifest, weights_path
from facerecon.errors import ModelError
from facerecon.files import sha256_file


def test_weights_by_name():
    folder = assets_folder() / "weights"
    assert weights_path("encoder-128") == folder / "encoder-128.safetensors"
    assert weights_path("autoencoder-128") == folder / "autoencoder-128"
    for place in ("run/weights.safetensors", "encoder-128.safetensors", "weights/encoder-128", "", "."):
        assert weights_path(place) == Path(place)


def test_every_network_that_ships_has_its_name():
    names = {name.split("/")[1].removesuffix(".safetensors") for name in manifest()
             if name.startswith("weights/") and name.endswith(".safetensors")}
    assert names >= {"encoder-128", "autoencoder-128", "landmarks-128", "pncc-128"}
    assert all(weights_path(name).exists() for name in names)


def test_damaged_weights_are_refused_under_their_name(tmp_path, monkeypatch):
    names = ("weights/one.safetensors", "weights/two/decoder.safetensors", "weights/two/encoder.safetensors")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    files = {name: {"sha256": sha256_file(tmp_path / name)} for name in names}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert weights_path("one") == tmp_path / names[0] and weights_path("two") == tmp_path / "weights" / "two"
    (tmp_path / names[0]).write_bytes(b"another")
    (tmp_path / names[2]).write_bytes(b"another, too")
    for name in ("one", "two"):
        with pytest.raises(ModelError) as caught:
            weights_path(name)
        assert caught.value.code == "hash_mismatch"
