"""Weights files: what is written comes back, and nothing else is taken for it."""

from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest
import torch

from facerecon.errors import ArgumentError, ModelError
from facerecon.gmda import build_adapted, build_plain, load_network, save_halves, save_network
from facerecon.tensorfile import content_sha256, read_tensors, write_tensors


@pytest.fixture(scope="module")
def network(small_autoencoder):
    return build_adapted(small_autoencoder, outputs=3, kind="hybrid", skips=True).eval()


@pytest.fixture(scope="module")
def content(network, tmp_path_factory):
    path = save_network(tmp_path_factory.mktemp("weights") / "n.safetensors", network, task={"name": "pncc"}, metadata={"seed": 3},
                        tensor_type="float16")
    return path.read_bytes()


@pytest.fixture()
def written(content, tmp_path):
    path = tmp_path / "n.safetensors"
    path.write_bytes(content)
    return path


def refusal(path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_network(path)
    return caught.value


def rewrite(path, change) -> None:
    """Change tensors and header and seal the file again, as another program might have written it."""
    tensors, header = read_tensors(path, wanted="it")
    del header["sha256"]
    change(tensors, header)
    write_tensors(path, tensors, {**header, "sha256": content_sha256(tensors, header)})


@torch.no_grad()
def test_round_trip(network, small_autoencoder, images, tmp_path):
    for saved in (network, small_autoencoder, build_plain(small_autoencoder.encoder, outputs=2)):
        path = save_network(tmp_path / "n.safetensors", saved, task={"name": "t"}, metadata={"seed": 3})
        loaded = load_network(path)
        assert type(loaded.network) is type(saved) and not loaded.network.training
        assert loaded.header == {"schema": 1, "kind": saved.config["network"], "config": saved.config, "task": {"name": "t"},
                                 "metadata": {"seed": 3}}
        expected, got = saved.state_dict(), loaded.network.state_dict()
        assert list(expected) == list(got) and all(torch.equal(expected[name], got[name]) for name in expected)
        first = path.read_bytes()
        save_network(path, loaded.network, task={"name": "t"}, metadata={"seed": 3})
        assert path.read_bytes() == first
    half = load_network(save_network(path, network, tensor_type="float16")).network
    torch.testing.assert_close(half(images()), network(images()), rtol=0, atol=2e-3)
    assert {value.dtype for value in half.state_dict().values()} == {torch.float32, torch.int64}


def test_a_loaded_network_trains(written, images):
    network = load_network(written).network.train()
    before = network.head.weight.clone()
    assert not network.decoder.training and not network.decoder.fc.weight.requires_grad
    network(images()).square().mean().backward()
    torch.optim.Adam(network.parameter_groups()).step()
    assert not torch.equal(network.head.weight, before)


def test_what_cannot_be_kept_is_not_written(network, tmp_path):
    path = save_network(tmp_path / "n.safetensors", network)
    before = path.read_bytes()
    saved = network.head.weight.data.clone()
    try:
        network.head.weight.data[0, 0, 0, 0] = float("nan")
        with pytest.raises(ModelError, match="head.weight"):
            save_network(path, network)
        network.head.weight.data[0, 0, 0, 0] = 1e6
        with pytest.raises(ModelError, match="float16"):
            save_network(path, network, tensor_type="float16")
    finally:
        network.head.weight.data.copy_(saved)
    with pytest.raises(ArgumentError, match="JSON"):
        save_network(path, network, metadata={"when": object()})
    with pytest.raises(ArgumentError, match="tensor_type"):
        save_network(path, network, tensor_type="bfloat16")
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["n.safetensors"]


def test_truncation_at_200_places_is_corrupt(written):
    size = written.stat().st_size
    header = 8 + struct.unpack("<Q", written.read_bytes()[:8])[0]
    places = sorted({*np.linspace(0, header, 120).astype(int).tolist(), *np.linspace(header, size - 1, 80).astype(int).tolist()})
    for length in reversed(places):
        os.truncate(written, length)
        assert refusal(written).code == "model_corrupt", length
    assert len(places) >= 199


def test_declared_sizes_are_checked_first(written, content):
    for size in (1 << 63, (1 << 64) - 1, 100_000_001, len(content)):
        written.write_bytes(struct.pack("<Q", size) + content[8:])
        assert refusal(written).code == "model_corrupt", size
    for old, new in ((b'"shape":[512]', b'"shape":[999]'), (b'"data_offsets":[0,', b'"data_offsets":[9,')):
        assert old in content
        written.write_bytes(content.replace(old, new, 1))
        assert refusal(written).code == "model_corrupt"


def test_every_flipped_bit_is_noticed(written, content):
    header = struct.unpack("<Q", content[:8])[0]
    generator = np.random.default_rng(0)
    places = [*generator.integers(8, 8 + header, 30), *generator.integers(8 + header, len(content), 10)]
    for place in places:
        bit = 1 << int(generator.integers(8))
        with open(written, "r+b") as stream:
            stream.seek(place)
            stream.write(bytes([content[place] ^ bit]))
        error = refusal(written)
        assert error.code in (("model_corrupt", "model_invalid") if place < 8 + header else ("model_corrupt",)), place
        with open(written, "r+b") as stream:
            stream.seek(place)
            stream.write(content[place:place + 1])
    load_network(written)


def edit(key, value):
    def apply(tensors, header):
        header[key] = value
    return apply


def configure(**options):
    def apply(tensors, header):
        header["config"] = {**header["config"], **options}
    return apply


def drop(tensors, header):
    del tensors["head.weight"]


def add(tensors, header):
    tensors["surplus"] = np.zeros(3, np.float32)


def retype(tensors, header):
    tensors["encoder.bn1.weight"] = tensors["encoder.bn1.weight"].astype(np.float64)


def poison(tensors, header):
    tensors["encoder.bn1.weight"][0] = np.nan


@pytest.mark.parametrize(("change", "code", "message"), [
    (edit("schema", 2), "model_invalid", "schema 2"),
    (edit("kind", "gan"), "model_invalid", "gan"),
    (edit("kind", "plain"), "model_invalid", "the kind is plain"),
    (edit("config", None), "model_invalid", "config"),
    (edit("task", []), "model_invalid", "task"),
    (configure(outputs=4), "model_invalid", r"head.weight: wanted \(64, 4, 4, 4\), got \(64, 3, 4, 4\)"),
    (configure(outputs=10**9), "model_invalid", "outputs"),
    (configure(outputs="3"), "model_invalid", "outputs"),
    (configure(latent_size=1e4), "model_invalid", "latent_size"),
    (configure(kind=["hybrid"]), "model_invalid", "kind"),
    (configure(kind="original"), "model_invalid", "not wanted"),
    (configure(skips=False), "model_invalid", "skips.0"),
    (configure(image_size=256), "model_invalid", "encoder.layer0.0.conv1.weight is missing"),
    (configure(layers=5), "model_invalid", "layers"),
    (configure(widths=[1]), "model_invalid", "widths"),
    (drop, "model_invalid", "head.weight is missing"),
    (add, "model_invalid", "surplus is not wanted"),
    (retype, "model_invalid", "F64"),
    (poison, "model_corrupt", "NaN"),
])
def test_contradictions_are_refused(written, change, code, message):
    rewrite(written, change)
    with pytest.raises(ModelError, match=message) as caught:
        load_network(written)
    assert caught.value.code == code


class Marker:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickles_and_other_files_are_never_opened(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "n.safetensors"
    path.write_bytes(pickle.dumps(Marker(marker)))
    assert refusal(path).code == "unsafe_format"
    torch.save({"state_dict": {}, "more": Marker(marker)}, path)
    error = refusal(path)
    assert error.code == "unsafe_format" and "import-3fabrec" in error.message
    assert not marker.exists()
    assert refusal(tmp_path / "none").code == "model_missing"
    write_tensors(path, {"a": np.zeros(2, np.float32)}, {"kind": "something"})
    assert refusal(path).code == "model_invalid"
    write_tensors(path, {"a": np.zeros(2, np.float32)}, ["no", "object"])
    assert refusal(path).code == "model_invalid"


def test_an_autoencoder_in_halves_is_the_autoencoder(small_autoencoder, tmp_path):
    first, second = save_halves(tmp_path, small_autoencoder, task={"name": "autoencoder"}, metadata={"seed": 5})
    loaded = load_network(tmp_path)
    assert loaded.header["kind"] == "autoencoder" and loaded.header["metadata"] == {"seed": 5}
    assert all(torch.equal(value, loaded.network.state_dict()[name]) for name, value in small_autoencoder.state_dict().items())
    assert load_network(first).header["kind"] == "encoder" and load_network(second).header["config"]["network"] == "decoder"


def test_halves_that_do_not_belong_together_are_refused(small_autoencoder, tmp_path):
    save_halves(tmp_path, small_autoencoder, metadata={"seed": 5})
    save_network(tmp_path / "decoder.safetensors", small_autoencoder.decoder, metadata={"seed": 6})
    assert refusal(tmp_path).code == "model_invalid"
    save_network(tmp_path / "decoder.safetensors", small_autoencoder.encoder, metadata={"seed": 5})
    assert refusal(tmp_path).code == "model_invalid"
    (tmp_path / "decoder.safetensors").unlink()
    assert refusal(tmp_path).code == "model_missing"


@pytest.fixture()
def shared(network, small_autoencoder, tmp_path):
    """A network without its decoder, and the file of that decoder below it."""
    decoder = save_network(tmp_path / "ae" / "decoder.safetensors", small_autoencoder.decoder)
    return save_network(tmp_path / "n.safetensors", network, decoder=decoder), decoder


def test_a_file_may_leave_its_decoder_to_another_file(shared, network, images, tmp_path):
    path, decoder = shared
    whole = save_network(tmp_path / "whole.safetensors", network)
    assert path.stat().st_size < whole.stat().st_size - 0.9 * decoder.stat().st_size
    loaded, expected = load_network(path), load_network(whole)
    assert loaded.header == expected.header
    ours, theirs = loaded.network.state_dict(), expected.network.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    with torch.no_grad():
        assert torch.equal(loaded.network(images()), expected.network(images()))


def test_a_missing_or_other_decoder_is_refused(shared, network):
    path, decoder = shared
    rewrite(decoder, lambda tensors, header: tensors["fc.weight"].__imul__(2))
    assert refusal(path).code == "model_invalid" and "not the decoder" in refusal(path).message
    decoder.unlink()
    assert refusal(path).code == "model_missing" and str(decoder) in refusal(path).message
    # The network itself in the place of its decoder would be read for ever.
    decoder.write_bytes(path.read_bytes())
    assert refusal(path).code == "model_invalid" and "kind decoder" in refusal(path).message


@pytest.mark.parametrize("reference", [{"file": "../n/ae/decoder.safetensors"}, {"file": "/etc/hostname"}, {"file": 3}, {}, "ae", None])
def test_a_decoder_is_looked_for_in_the_files_own_folder_alone(shared, reference, monkeypatch):
    path, _ = shared
    monkeypatch.chdir(path.parent)
    full = {"sha256": "0", **reference} if isinstance(reference, dict) else reference
    rewrite(path, lambda tensors, header: header.update(decoder=full))
    for place in (path, path.name):
        assert refusal(place).code == "model_invalid" and "in its folder" in refusal(place).message


def test_a_decoder_has_no_decoder(shared):
    path, decoder = shared
    rewrite(decoder, lambda tensors, header: header.update(decoder={"file": "decoder.safetensors", "sha256": "0"}))
    assert refusal(path).code == "model_invalid" and "no other file" in refusal(path).message


def test_only_the_networks_own_decoder_is_left_out(shared, network, small_autoencoder, tmp_path):
    path, decoder = shared
    with pytest.raises(ArgumentError, match="adapted network"):
        save_network(tmp_path / "a.safetensors", small_autoencoder, decoder=decoder)
    with pytest.raises(ArgumentError, match="or below it"):
        save_network(tmp_path / "elsewhere" / "a.safetensors", network, decoder=decoder)
    rewrite(decoder, lambda tensors, header: tensors["bn1.running_mean"].__iadd__(1e-3))
    with pytest.raises(ArgumentError, match="not the decoder of this network"):
        save_network(tmp_path / "a.safetensors", network, decoder=decoder)
    assert not (tmp_path / "a.safetensors").exists()
