"""`train_weights`: what each stage is asked for, that nothing is done twice, and that the file that ships is the trained one."""

from __future__ import annotations

import json

import pytest
import torch

from facerecon.assets import weights_path
from facerecon.gmda import load_network
from facerecon.mofa import load_encoder


@pytest.fixture
def script(single_thread):
    import train_weights

    return train_weights


@pytest.fixture
def asked(script, monkeypatch):
    """Archives of three small heads in the place of every source, and what was asked for."""
    import facerecon.cli.synthesise as cli

    real, calls = cli.fill_archive, {}

    def fill(folder, **options):
        calls[folder.name if folder.parent.name == "data" else f"test-{folder.name}"] = options
        return real(folder, count=3, seed=options["seed"] + len(calls), size=48, maps=("pncc",))

    monkeypatch.setattr(cli, "fill_archive", fill)
    return calls


WORDS = ["--threads", "1", "--set", "warmup=0", "--set", "validate_every=0", "--set", "pictures_every=0", "--set", "batch_size=10"]


def test_stages_are_done_once_and_the_shipped_file_is_the_trained_one(script, asked, tmp_path, capsys):
    words = ["--faces", str(tmp_path / "faces"), "-o", str(tmp_path / "out"), "--steps", "1", "--more", "1", "--last", "1", *WORDS]
    assert script.main([*words, "--only", "data"]) == 0
    assert set(asked) == {"fitted", "turned", "heads", "test-turned", "test-heads"}
    # Nobody who is tested on is learnt from, and test heads are of another seed.
    assert asked["fitted"]["people"] == asked["turned"]["people"] == "train,validation"
    assert asked["test-turned"]["people"] == "test" and asked["test-turned"]["seed"] != asked["turned"]["seed"]
    assert asked["test-heads"]["seed"] != asked["heads"]["seed"] and not (tmp_path / "out" / "encoder").exists()
    asked.clear()
    assert script.main([*words, "--only", "encoder"]) == 0
    assert not asked, "finished archives were made again"
    shipped, *runs = (load_encoder(tmp_path / "out" / place / name).encoder.state_dict() for place, name in (
        ("ship", "encoder-128.safetensors"), *((run, "weights.safetensors") for run in ("encoder", "encoder-more", "encoder-last"))))
    # Each run began where the last ended: Adam's first step moves no weight by more than its rate.
    for first, second in zip(runs, runs[1:]):
        assert 0 < max(float((second[name] - first[name]).abs().max()) for name in second if name.endswith("conv1.weight")) < 2e-3
    assert shipped.keys() == runs[0].keys()
    assert all(torch.equal(shipped[name], value.half().float() if value.is_floating_point() and value.ndim > 1 else value)
               for name, value in runs[-1].items())
    record = json.loads((tmp_path / "out" / "stages" / "ship-encoder.json").read_text())["result"]
    assert record["bytes"] == (tmp_path / "out" / "ship" / record["file"]).stat().st_size < 40e6
    assert script.main([*words, "--seed", "5", "--only", "encoder"]) == 2 and "another seed" in capsys.readouterr().err


def test_networks_ship_on_the_decoder_of_the_autoencoder_that_ships(script, asked, tmp_path):
    words = ["--faces", str(tmp_path / "faces"), "-o", str(tmp_path / "out"), "--landmark-steps", "1", "--landmark-more", "1",
             "--pncc-steps", "1", "--pncc-more", "1", *WORDS]
    assert script.main([*words, "--only", "landmarks", "--only", "pncc"]) == 0
    ship = tmp_path / "out" / "ship"
    assert not (ship / "encoder-128.safetensors").exists()
    decoder = load_network(weights_path("autoencoder-128")).network.decoder.state_dict()
    for name, last, outputs in (("landmarks", "landmarks-more", 68), ("pncc", "pncc-more", 3)):
        path = ship / f"{name}-128.safetensors"
        shipped, trained = load_network(path).network, load_network(tmp_path / "out" / last / "weights.safetensors").network
        assert shipped.outputs == outputs and path.stat().st_size < 40e6
        assert all(torch.equal(value, decoder[name]) for name, value in shipped.decoder.state_dict().items())
        ours, theirs = shipped.state_dict(), trained.state_dict()
        assert all(torch.equal(ours[key], value.half().float() if value.is_floating_point() and value.ndim > 1 else value)
                   for key, value in theirs.items())
    first = load_network(tmp_path / "out" / "landmarks" / "weights.safetensors").network.state_dict()
    second = load_network(tmp_path / "out" / "landmarks-more" / "weights.safetensors").network.state_dict()
    assert 0 < max(float((second[key] - first[key]).abs().max()) for key in first if key.endswith("conv1.weight")) < 2e-3
