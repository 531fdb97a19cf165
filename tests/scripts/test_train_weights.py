"""`train_weights`: what each stage is asked for, that nothing is done twice, and that the file that ships is the trained one."""

from __future__ import annotations

import json

import pytest
import torch

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


def test_stages_are_done_once_and_the_shipped_file_is_the_trained_one(script, asked, tmp_path, capsys):
    words = ["--faces", str(tmp_path / "faces"), "-o", str(tmp_path / "out"), "--steps", "1", "--more", "1", "--threads", "1",
             "--set", "batch_size=4", "--set", "warmup=0", "--set", "validate_every=0", "--set", "pictures_every=0"]
    assert script.main([*words, "--until", "data"]) == 0
    assert set(asked) == {"fitted", "turned", "heads", "test-turned", "test-heads"}
    # Nobody who is tested on is learnt from, and test heads are of another seed.
    assert asked["fitted"]["people"] == asked["turned"]["people"] == "train,validation"
    assert asked["test-turned"]["people"] == "test" and asked["test-turned"]["seed"] != asked["turned"]["seed"]
    assert asked["test-heads"]["seed"] != asked["heads"]["seed"] and not (tmp_path / "out" / "encoder").exists()
    asked.clear()
    assert script.main(words) == 0
    assert not asked, "finished archives were made again"
    shipped, second, first = (load_encoder(tmp_path / "out" / place / name).encoder.state_dict() for place, name in
                              (("ship", "encoder-128.safetensors"), ("encoder-more", "weights.safetensors"),
                               ("encoder", "weights.safetensors")))
    # The second run began where the first ended: Adam's first step moves no weight by more than its rate.
    assert 0 < max(float((second[name] - first[name]).abs().max()) for name in second if name.endswith("conv1.weight")) < 2e-3
    assert shipped.keys() == second.keys()
    mean = {name: (first[name] + value) / 2 for name, value in second.items() if value.is_floating_point()}
    assert all(torch.equal(shipped[name], value.half().float() if value.ndim > 1 else value) for name, value in mean.items())
    record = json.loads((tmp_path / "out" / "stages" / "ship.json").read_text())["result"]
    assert record["bytes"] == (tmp_path / "out" / "ship" / record["file"]).stat().st_size < 40e6
    assert script.main([*words, "--seed", "5"]) == 2 and "another seed" in capsys.readouterr().err
