"""The importer of 3FabRec snapshots, on files of the same layout that are written here."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from facerecon.errors import ModelError
from facerecon.gmda import AdaptedNetwork, Autoencoder, load_network, network_from_snapshot, read_snapshot


def state_of(autoencoder, landmarks: int | None = None, *, fifth: bool = False) -> dict[str, torch.Tensor]:
    """The state dictionary of a snapshot: Q, P, both discriminators (of which nothing is read), and the landmark head."""
    state = {f"Q.{name}": value for name, value in autoencoder.encoder.state_dict().items()}
    state |= {f"P.{name}": value for name, value in autoencoder.decoder.state_dict().items()}
    state |= {"D_z.lin1.weight": torch.zeros(10, 99), "D.main.0.weight": torch.zeros(4, 3, 4, 4)}
    if landmarks is not None:
        state |= {f"LMH.t{index}.weight": 0.02 * torch.randn(width, width, 3, 3)
                  for index, width in enumerate([256, 128, 64, 64, 64][:5 if fifth else 4], start=1)}
        state["LMH.lin.weight"] = 0.02 * torch.randn(64, landmarks, 4, 4)
    return state


def write_snapshot(folder: Path, state: dict, *, old: bool = False, **extra) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save({"arch": "Fabrec", "z_dim": 99, "input_size": 256, "state_dict": state, **extra}, folder / "saae.mdl",
               _use_new_zipfile_serialization=not old)
    (folder / "meta.json").write_text(json.dumps({"epoch": 191, "total_iter": 2595984}))
    return folder


@torch.no_grad()
def test_an_autoencoder_comes_back(small_autoencoder, large_autoencoder, images):
    for autoencoder in (small_autoencoder, large_autoencoder):
        network = network_from_snapshot(state_of(autoencoder))
        assert isinstance(network, Autoencoder) and network.image_size == autoencoder.image_size
        x = images(network.image_size, count=1)
        assert torch.equal(network(x).images, autoencoder(x).images)


@torch.no_grad()
def test_a_landmark_snapshot_keeps_its_own_decoder(large_autoencoder, images):
    state = state_of(large_autoencoder, 19, fifth=True)
    network = network_from_snapshot(state)
    assert isinstance(network, AdaptedNetwork) and network.config == {
        "network": "adapted", "image_size": 256, "latent_size": 99, "outputs": 19, "kind": "original", "skips": False, "layers": 4}
    # The forward pass of the release, step by step.
    x, decoder = images(256, count=1), large_autoencoder.decoder
    features = decoder.seed(large_autoencoder.encoder(x).latent)
    for index, block in enumerate(decoder.blocks[:4], start=1):
        features = torch.nn.functional.conv2d(block(features), state[f"LMH.t{index}.weight"], padding=1)
    expected = torch.nn.functional.conv_transpose2d(features, state["LMH.lin.weight"], stride=2, padding=1)
    torch.testing.assert_close(network(x), expected)
    assert isinstance(network_from_snapshot(state, part="autoencoder"), Autoencoder)
    state["P.layer1.0.bn2.bias"] = state["P.layer1.0.bn2.bias"] + 1
    assert not torch.allclose(network_from_snapshot(state)(x), expected)


def test_every_wrong_tensor_is_listed(small_autoencoder):
    state = state_of(small_autoencoder, 68)
    del state["Q.layer2.0.bn1.running_var"], state["P.fc.bias"], state["LMH.t3.weight"]
    state["P.layer2.0.conv2.weight"] = torch.zeros(128, 128, 1, 1)
    state["Q.extra"], state["LMH.t6.weight"], state["other"] = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    with pytest.raises(ModelError) as caught:
        network_from_snapshot(state)
    assert caught.value.code == "model_invalid"
    for part in ("Q.layer2.0.bn1.running_var is missing", "P.fc.bias is missing", "LMH.t3.weight is missing",
                 "P.layer2.0.conv2.weight: wanted (128, 128, 3, 3), got (128, 128, 1, 1)", "Q.extra is not known",
                 "LMH.t6.weight is not known", "other is not known"):
        assert part in caught.value.message
    assert caught.value.message.count(";") == 6


def test_sizes_do_not_mix(small_autoencoder, large_autoencoder):
    mixed = {**state_of(large_autoencoder), **{name: value for name, value in state_of(small_autoencoder).items()
                                               if name.startswith("P.")}}
    mixed = {name: value for name, value in mixed.items() if not name.startswith("P.layer5")}
    with pytest.raises(ModelError, match="P.layer5.0.conv1.weight is missing"):
        network_from_snapshot(mixed)
    with pytest.raises(ModelError, match="no landmark head"):
        network_from_snapshot(state_of(small_autoencoder), part="landmarks")
    with pytest.raises(ModelError, match="missing"):
        network_from_snapshot({})


@pytest.mark.parametrize("old", [False, True])
def test_files_of_both_ages_are_read(old, small_autoencoder, tmp_path):
    state = state_of(small_autoencoder, 68)
    tensors, meta = read_snapshot(write_snapshot(tmp_path / "lms", state, old=old))
    assert set(tensors) == set(state) and all(torch.equal(tensors[name], state[name]) for name in state)
    assert meta == {"epoch": 191, "total_iter": 2595984, "arch": "Fabrec", "z_dim": 99, "input_size": 256}


class Marker:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_that_would_act_is_refused_and_does_not(tmp_path):
    marker = tmp_path / "marker"
    for old in (False, True):
        folder = write_snapshot(tmp_path / "bad", {"Q.fc.bias": torch.zeros(2)}, old=old, more=Marker(marker))
        with pytest.raises(ModelError) as caught:
            read_snapshot(folder)
        assert caught.value.code == "unsafe_format" and not marker.exists(), caught.value.message
    (tmp_path / "bad" / "saae.mdl").write_bytes(pickle.dumps(Marker(marker)))
    with pytest.raises(ModelError) as caught:
        read_snapshot(tmp_path / "bad")
    assert caught.value.code in ("unsafe_format", "model_corrupt") and not marker.exists()
    # The same bytes do act where they are loaded as pickles are.
    pickle.loads((tmp_path / "bad" / "saae.mdl").read_bytes()).close()
    assert marker.exists()


def test_damage_is_corrupt(tmp_path):
    folder = write_snapshot(tmp_path / "cut", {"Q.fc.bias": torch.zeros(2000)})
    content = (folder / "saae.mdl").read_bytes()
    for damaged in (b"", content[:len(content) // 2], b"nonsense" * 100):
        (folder / "saae.mdl").write_bytes(damaged)
        with pytest.raises(ModelError) as caught:
            read_snapshot(folder)
        assert caught.value.code == "model_corrupt", caught.value.message
    with pytest.raises(ModelError) as caught:
        read_snapshot(tmp_path / "nowhere")
    assert caught.value.code == "model_missing"
    (folder / "saae.mdl").write_bytes(content)
    torch.save([1, 2], folder / "saae.mdl")
    with pytest.raises(ModelError, match="state_dict"):
        read_snapshot(folder)


def test_the_verb_writes_a_weights_file(small_autoencoder, tmp_path):
    folder = write_snapshot(tmp_path / "aae", state_of(small_autoencoder))
    output = tmp_path / "aae.safetensors"
    done = subprocess.run([sys.executable, "-m", "facerecon", "models", "import-3fabrec", str(folder), "-o", str(output)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = load_network(output)
    assert loaded.header["kind"] == "autoencoder" and loaded.header["metadata"]["snapshot"]["epoch"] == 191
    assert torch.equal(loaded.network.encoder.fc.weight, small_autoencoder.encoder.fc.weight)


def test_the_verb_names_the_landmark_scheme(small_autoencoder):
    from facerecon.alignment.task import LandmarkTask
    from facerecon.cli.models import _landmark_task

    for count, name in ((98, "wflw98"), (19, "aflw19"), (68, "ibug68")):
        scheme = LandmarkTask.from_dict(_landmark_task(count, None)).scheme
        assert scheme.name == name and len(scheme) == count
