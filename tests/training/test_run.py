"""Runs: their files, stopping and going on, what is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from facerecon.errors import ArgumentError, BackendError, PathError
from facerecon.files import TEMPORARY_SUFFIX
from facerecon.tensorfile import read_tensors
from facerecon.training import load_state
from facerecon.training.run import BEST, CHECKPOINT, RESULT, RUN, WEIGHTS


@pytest.fixture
def at_step(tiny, monkeypatch):
    """Do something once, after the work of a step: at_step(3, function)."""
    original = tiny.AdaptationTask.training_step

    def install(step, action):
        done = []

        def training_step(self, batch):
            loss = original(self, batch)
            if batch["step"] == step and not done:
                done.append(step)
                action()
            return loss

        monkeypatch.setattr(tiny.AdaptationTask, "training_step", training_step)

    return install


def test_a_run_writes_its_files_with_all_that_belongs_into_them(fit, tiny, tmp_path):
    result = fit(pictures_every=3)
    folder = tmp_path / "run"
    assert result.finished and result.steps == 6 and result.folder == folder
    assert {CHECKPOINT, BEST, WEIGHTS, RESULT, RUN, "tensorboard"} <= set(os.listdir(folder))
    data = tiny.material()
    _, header = read_tensors(folder / WEIGHTS, wanted="weights")
    assert header["task"]["name"] == "landmarks" and header["task"]["scheme"]["name"] == "five"
    metadata = header["metadata"]
    assert metadata["data"] == {"training": data.training.sha256, "samples": 6, "validation": data.validation.sha256}
    assert (metadata["seed"], metadata["step"], metadata["licence"]) == (0, 6, "not stated")
    assert metadata["recipe"]["batch_size"] == 4 and metadata["recipe"]["augmentation"]["rotate_deg"] == 30
    assert metadata["metrics"]["validation_nme"] == pytest.approx(result.metrics["validation_nme"])
    record = json.loads((folder / RESULT).read_text())
    assert record["errors"] == result.errors and list(result.errors) == list(data.validation.names)
    assert sum(result.errors.values()) / 3 == pytest.approx(result.metrics["validation_nme"], abs=1e-6)
    assert record["lowest_step"] in (3, 6) and record["lowest"] <= result.metrics["validation_nme"] + 1e-6
    assert read_tensors(folder / BEST, wanted="weights")[1]["metadata"]["step"] == record["lowest_step"]
    events = b"".join(path.read_bytes() for path in (folder / "tensorboard").glob("events*"))
    assert b"pictures" in events and b"validation_nme" in events and b"loss" in events


def test_without_a_folder_nothing_is_written(fit, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_files, without = fit("run"), fit(None)
    assert os.listdir(tmp_path) == ["run"] and without.folder is None and without.errors == with_files.errors
    assert torch.equal(tiny.weights(with_files.network), tiny.weights(without.network))


def test_errors_are_found_at_the_end_also_without_validation_on_the_way(fit, tiny):
    often, once = fit(None), fit(None, validate_every=0)
    assert len(once.errors) == 3 and once.errors == often.errors


@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_is_as_if_never_stopped(fit, tiny, at_step, tmp_path, step, number):
    whole = fit("whole")
    handler = signal.getsignal(number)
    at_step(step, lambda: os.kill(os.getpid(), number))
    stopped = fit("run")
    assert signal.getsignal(number) is handler
    if step < 5:
        assert not stopped.finished and stopped.steps == step + 1 and not (tmp_path / "run" / WEIGHTS).exists()
        resumed = fit("run", {"resume": True})
    else:
        resumed = stopped
    assert resumed.finished and resumed.errors == whole.errors
    assert torch.equal(tiny.weights(resumed.network), tiny.weights(whole.network))


@pytest.mark.parametrize("changes", [{"first_stage": 0.5, "schedule": "cosine", "warmup": 2}, {"encoder_statistics": "batch"},
                                     {"precision": "bfloat16"}])
def test_killed_and_resumed_is_as_if_never_killed(fit, tiny, at_step, tmp_path, changes):
    def die():
        raise OSError("killed")

    whole = fit("whole", **changes)
    at_step(4, die)
    with pytest.raises(OSError, match="killed"):
        fit("run", **changes)
    left = tmp_path / "run" / f".c{TEMPORARY_SUFFIX}.safetensors"
    left.write_bytes(b"half")
    assert load_state(tmp_path / "run" / CHECKPOINT)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 4
    resumed = fit("run", {"resume": True}, **changes)
    assert resumed.finished and not left.exists() and resumed.errors == whole.errors
    assert torch.equal(tiny.weights(resumed.network), tiny.weights(whole.network))


def test_random_numbers_of_a_step_are_the_same_after_a_stop(fit, tiny, monkeypatch):
    original, drawn = tiny.AdaptationTask.training_step, {}

    def training_step(self, batch):
        drawn.setdefault(batch["step"], []).append(float(torch.rand(1)))
        if batch["step"] == 3 and len(drawn[3]) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    monkeypatch.setattr(tiny.AdaptationTask, "training_step", training_step)
    fit("whole")
    assert not fit("run").finished and fit("run", {"resume": True}).finished
    assert sorted(drawn) == list(range(6)) and all(first == second for first, second in drawn.values())
    assert len({first for first, _ in drawn.values()}) == 6


def test_resuming_what_is_finished_or_not_begun(fit, tiny):
    first = fit("run", {"resume": True})
    again = fit("run", {"resume": True})
    assert again.finished and again.steps == 6 and again.errors == first.errors
    assert torch.equal(tiny.weights(first.network), tiny.weights(again.network))


def test_a_folder_with_a_run_is_left_alone(fit, tmp_path):
    fit()
    before = (tmp_path / "run" / WEIGHTS).read_bytes()
    with pytest.raises(PathError, match="--resume") as caught:
        fit(options={"seed": 1})
    assert caught.value.code == "path_exists" and (tmp_path / "run" / WEIGHTS).read_bytes() == before
    fit(options={"overwrite": True, "seed": 1})
    assert (tmp_path / "run" / WEIGHTS).read_bytes() != before


@pytest.mark.parametrize(("changes", "options", "message"), [
    ({"learning_rate": 0.5}, {}, "learning_rate: 0.0004 then, 0.5 now"), ({}, {"seed": 1}, "seed: 0 then, 1 now"),
    ({"steps": 7}, {}, "steps: 6 then, 7 now")])
def test_another_run_is_not_resumed(fit, changes, options, message):
    fit()
    with pytest.raises(ArgumentError, match=message):
        fit(options={"resume": True, **options}, **changes)


def test_other_data_are_not_resumed(fit, tiny):
    fit()
    with pytest.raises(ArgumentError, match="data: "):
        fit(options={"resume": True}, data=tiny.material(7))


def test_requests_that_cannot_be_met(fit, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError) as caught:
        fit(options={"device": "cuda"})
    assert caught.value.code == "device_missing"
    for options in ({"device": "tpu"}, {"devices": 0}):
        with pytest.raises(ArgumentError):
            fit(options=options)
    with pytest.raises(ArgumentError, match="wanted a folder"):
        fit(None, {"resume": True})


def test_processes_share_a_batch_and_agree_with_one(fit, tiny, tmp_path):
    """Two processes on the CPU; the first stage leaves the encoder without gradients, the second does not."""
    import subprocess
    import sys

    changes = {"first_stage": 0.5, "validate_every": 0}
    alone = fit("alone", **changes)
    script = tmp_path / "two.py"
    script.write_text(f"""
import importlib.util, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
specification = importlib.util.spec_from_file_location("tiny", {tiny.__file__!r})
tiny = importlib.util.module_from_spec(specification)
sys.modules["tiny"] = tiny
specification.loader.exec_module(tiny)
import torch
torch.set_num_threads(1)
import facerecon.training.run as run
run.build_task = tiny.build
run.train(tiny.recipe(**{changes!r}), tiny.material(), {str(tmp_path / "two")!r}, device="cpu", devices=2, progress=False)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    found, header = read_tensors(tmp_path / "two" / WEIGHTS, wanted="weights")
    assert header["metadata"]["step"] == 6
    for name, value in alone.network.state_dict().items():
        assert (torch.from_numpy(found[name]) - value).abs().max() < 1e-5, name
    checkpoint = load_state(tmp_path / "two" / CHECKPOINT)
    assert set(checkpoint["state_dict"]) == set(load_state(tmp_path / "alone" / CHECKPOINT)["state_dict"])
