"""Checkpoints: nothing is lost in them, no code is in them, and a failed write leaves the old one (F21, F22, F34)."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch

import facerecon.files as files
from facerecon.errors import ArgumentError, ModelError, PathError
from facerecon.files import TEMPORARY_SUFFIX, sweep_temporaries
from facerecon.tensorfile import write_tensors
from facerecon.training import load_state, save_state


def state(value: float = 1.0) -> dict:
    return {"weights": {"a": torch.full((3, 4), value), "b": torch.arange(3)}, "step": 7, "list": [1, 2.5, None, True, "text"],
            "tuple": (1, (torch.tensor(value),)), 3: "integer key", "nested": {0: {"x": torch.zeros(0)}}, "inf": float("inf")}


def test_values_types_and_keys_survive(tmp_path):
    found = load_state(save_state(tmp_path / "c", state()))
    wanted = state()
    assert list(found) == list(wanted) and found["nested"][0]["x"].shape == (0,)
    assert all(torch.equal(found["weights"][name], wanted["weights"][name]) for name in "ab")
    assert found["weights"]["b"].dtype == torch.int64
    for name in ("step", "list", 3, "inf"):
        assert found[name] == wanted[name] and type(found[name]) is type(wanted[name])
    assert type(found["tuple"]) is tuple and type(found["tuple"][1]) is tuple and found["tuple"][1][0].shape == ()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.uint8, torch.bool])
def test_tensor_types_survive(kind, tmp_path):
    tensor = torch.tensor([[0.0, 1.0], [2.5, -3.0]]).to(kind) if kind.is_floating_point else torch.tensor([[0, 1], [1, 3]]).to(kind)
    found = load_state(save_state(tmp_path / "c", {"t": tensor}))["t"]
    assert found.dtype == kind and torch.equal(found, tensor)


def test_memory_layout_survives(tmp_path):
    tensor = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    found = load_state(save_state(tmp_path / "c", {"t": tensor}))["t"]
    assert torch.equal(found, tensor) and found.stride() == tensor.stride()


def test_words_of_the_format_are_no_trap(tmp_path):
    tricky = {"$tensor": "weights/a", "$tuple": [1], "$pairs": [[1, 2]], "also": {"$tensor": "nothing"}}
    assert load_state(save_state(tmp_path / "c", tricky)) == tricky


def test_optimiser_state_survives(tmp_path):
    layer = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    layer(torch.randn(1, 2, 8, 8)).sum().backward()
    optimizer.step()
    other = torch.optim.Adam(layer.parameters(), fused=True)
    other.load_state_dict(load_state(save_state(tmp_path / "c", {"o": optimizer.state_dict()}))["o"])
    for mine, theirs in zip(optimizer.state_dict()["state"].values(), other.state_dict()["state"].values()):
        assert all(torch.equal(mine[name], theirs[name]) and mine[name].stride() == theirs[name].stride() for name in mine)


def test_what_is_no_data_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="checkpoint/a/0: wanted tensors"):
        save_state(tmp_path / "c", {"a": [object()]})
    assert not list(tmp_path.iterdir())


def test_files_of_another_kind_are_refused(tmp_path):
    class Marker:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "pickle").write_bytes(pickle.dumps(Marker()))
    torch.save(Marker(), tmp_path / "torch")
    write_tensors(tmp_path / "other", {}, {"kind": "autoencoder"})
    write_tensors(tmp_path / "list", {}, [1])
    for name, code in (("pickle", "unsafe_format"), ("torch", "unsafe_format"), ("other", "model_invalid"),
                       ("list", "model_invalid"), ("none", "model_missing")):
        with pytest.raises(ModelError) as caught:
            load_state(tmp_path / name)
        assert caught.value.code == code, name
    assert not (tmp_path / "ran").exists()


def test_a_cut_file_is_refused(tmp_path):
    whole = save_state(tmp_path / "c", state()).read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ModelError) as caught:
            load_state(tmp_path / "cut")
        assert caught.value.code in ("model_corrupt", "model_invalid")


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod", "open"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_failed_call_leaves_the_old_or_the_new(call, nth, tmp_path, monkeypatch):
    path = save_state(tmp_path / "c", state(1))
    original, calls = getattr(os, call), []

    def failing(*arguments, **options):
        calls.append(arguments)
        if len(calls) == nth:
            raise OSError(28, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(files.os, call, failing)
    try:
        save_state(path, state(2))
        failed = False
    except PathError as error:
        failed = True
        assert error.code == "path_write"
    monkeypatch.undo()
    value = load_state(path)["weights"]["a"][0, 0].item()
    assert value == (2 if not failed else value) and value in (1, 2) and os.listdir(tmp_path) == ["c"]
    # Only the folder's own flush comes after the rename; any other failure must keep the old file.
    assert failed == (len(calls) >= nth) and (value == 1 or call in ("fsync", "open") or not failed)


def in_child(work) -> int:
    """Run something in a copy of this process; its exit status, 1 when it raised."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def refused(path, new) -> None:
    with pytest.raises(PathError) as caught:
        save_state(path, new)
    assert caught.value.code == "path_write"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits are set in a forked process")
def test_a_full_disk_leaves_the_old(tmp_path):
    import resource

    path = save_state(tmp_path / "c", state(1))

    def fill():
        for limit in (0, 1, 8, 100, 5000, 100000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            refused(path, {"a": torch.zeros(100000)})

    assert in_child(fill) == 0
    assert load_state(path)["step"] == 7 and os.listdir(tmp_path) == ["c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a forked process dies")
@pytest.mark.parametrize(("place", "value"), [("write", 1), ("before", 1), ("after", 2)])
def test_a_killed_save_leaves_the_old_or_the_new(place, value, tmp_path):
    """The process dies in the middle of writing, just before the rename, or just after it."""
    path = save_state(tmp_path / "c", state(1))
    rename = os.replace

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half(self, data):
        with open(self, "wb") as stream:
            stream.write(data[:len(data) // 2])
        die()

    def save():
        if place == "write":
            files.Path.write_bytes = half
        else:
            os.replace = die if place == "before" else lambda *names: (rename(*names), die())
        save_state(path, state(2))

    assert in_child(save) == -signal.SIGKILL
    assert load_state(path)["weights"]["a"][0, 0] == value
    left = [name for name in os.listdir(tmp_path) if TEMPORARY_SUFFIX in name]
    assert len(left) == (place != "after") and sweep_temporaries(tmp_path) == len(left)
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="folders are made read-only by POSIX permissions")
def test_a_read_only_folder_is_a_path_error(tmp_path):
    path = save_state(tmp_path / "closed" / "c", state(1))
    path.parent.chmod(0o555)

    def write():
        if os.geteuid() == 0:
            # The superuser may write anywhere, so somebody else tries.
            os.setuid(65534)
        refused(path, state(2))

    try:
        assert in_child(write) == 0
    finally:
        path.parent.chmod(0o755)
    assert load_state(path)["weights"]["a"][0, 0] == 1 and os.listdir(path.parent) == ["c"]


@pytest.mark.skipif(not hasattr(signal, "SIGPROF"), reason="no profiling signal on this system")
def test_a_training_run_after_a_detection_survives_the_detector_s_timer():
    """MediaPipe's timer goes on after its work; the handler that the trainer leaves must still ignore it."""
    code = ("import signal\nfrom facerecon.training.checkpoints import signals_restored\n"
            "with signals_restored():\n    signal.signal(signal.SIGPROF, signal.getsignal(signal.SIGPROF))\n"
            "signal.raise_signal(signal.SIGPROF)\nprint('alive')\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "alive", done.stderr
