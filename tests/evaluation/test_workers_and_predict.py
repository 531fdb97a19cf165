"""Every image ends with one record and the same bytes: with faults, dying workers and kills at any time (F32, F33)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facerecon.evaluation.methods import MethodSpec
from facerecon.evaluation.predict import DatasetSpec, predict
from facerecon.evaluation.workers import run_items

ROOT = Path(__file__).resolve().parents[2]

# A script of its own: worker processes import what they run, and must be killable without harm to the tests.
SCRIPT = '''
import os, signal, sys, time
sys.path.insert(0, {root!r})
import facerecon.evaluation.predict as predict
from facerecon.data import load_image
from facerecon.errors import FaceError
from facerecon.evaluation.methods import MethodSpec
from facerecon.evaluation.truth import truth_from_sample


class Method:
    """Truth, moved by the photo's mean brightness; one kind of photo has no face, one breaks, one kills its process."""

    about = {{"method": "test", "topology": None}}

    def run(self, sample):
        pixels = load_image(sample.image).pixels
        level = float(pixels.mean())
        time.sleep({pause})
        if level < 20:
            raise FaceError("too dark")
        if level > 235:
            raise ValueError("too bright")
        if {deadly} and 150 < level < 170:
            os.kill(os.getpid(), signal.SIGKILL)
        truth = truth_from_sample(sample)
        return {{"landmarks68": truth.landmarks68 + [level, 0, 0], "rotation": truth.rotation}}

    def close(self):
        pass


predict.build_method = lambda spec: Method()

if __name__ == "__main__":
    folder, store, count = sys.argv[1:]
    predict.predict(predict.DatasetSpec(folder), MethodSpec("mean-face"), store, workers=int(count))
'''


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def faulty_folder(tmp_path_factory, benchmark_folder):
    """The benchmark with a fifth of the images damaged in different ways."""
    import cv2

    folder = tmp_path_factory.mktemp("faulty")
    for path in benchmark_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    images = sorted(folder.glob("*.jpg"))
    grey = {3: 250, 5: 5, 7: 160}
    for index, level in grey.items():
        cv2.imwrite(str(images[index]), np.full((450, 450, 3), level, np.uint8))
    images[1].write_bytes(b"")
    images[4].write_bytes(images[4].read_bytes()[:300])
    images[6].write_bytes(np.random.default_rng(0).bytes(4096))
    annotation = images[9].with_suffix(".mat")
    annotation.write_bytes(annotation.read_bytes()[:700])
    return folder


EXPECTED = {1: ("refused", "image_empty"), 3: ("failed", "internal"), 4: ("refused", "image_truncated"), 5: ("refused", "no_face"),
            6: ("refused", "image_format"), 9: ("refused", "annotation_corrupt")}


def script(folder, *, pause=0.0, deadly=False):
    path = folder / "run.py"
    path.write_text(SCRIPT.format(root=str(ROOT), pause=pause, deadly=deadly))
    return path


def start(path, folder, store, count=0):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(path), str(folder), str(store), str(count)], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def records(store):
    return [json.loads(line) for line in (store / "records.jsonl").read_text().splitlines()]


def finish(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()[-2000:]


def test_faults_give_their_codes_and_good_images_their_bytes(tmp_path, faulty_folder, benchmark_folder):
    path = script(tmp_path)
    finish(start(path, faulty_folder, tmp_path / "faulty"))
    finish(start(path, benchmark_folder, tmp_path / "clean", count=2))
    found = records(tmp_path / "faulty")
    assert [(row["status"], row["code"]) for row in found] == [EXPECTED.get(index, ("ok", None)) for index in range(12)]
    good = [f"items/{index:06d}.safetensors" for index in range(12) if index not in EXPECTED and index != 7]
    faulty, clean = contents(tmp_path / "faulty"), contents(tmp_path / "clean")
    assert all(faulty[name] == clean[name] for name in good)
    # The same with two workers, one of which dies on image 7, twice.
    finish(start(script(tmp_path, deadly=True), faulty_folder, tmp_path / "workers", count=2))
    deadly = records(tmp_path / "workers")
    assert (deadly[7]["status"], deadly[7]["code"]) == ("failed", "worker_died")
    assert [row for row in deadly if row["name"] != deadly[7]["name"]] == [row for row in found if row["name"] != deadly[7]["name"]]
    several = contents(tmp_path / "workers")
    assert all(several[name] == clean[name] for name in good)


def test_killed_at_any_time_and_resumed_it_ends_the_same(tmp_path, faulty_folder):
    path = script(tmp_path, pause=0.02)
    finish(start(path, faulty_folder, tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    generator = np.random.default_rng(1)
    store = tmp_path / "killed"
    kills = 0
    for number in range(40):
        process = start(path, faulty_folder, store, count=2 if number % 3 == 2 else 0)
        deadline = time.monotonic() + 60
        before = len(list(store.glob("items/[!.]*.safetensors")))
        # Wait until this run has written something, then strike at a random moment.
        while process.poll() is None and len(list(store.glob("items/[!.]*.safetensors"))) == before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.06))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
            kills += 1
        process.communicate(timeout=60)
        assert len(list(store.glob("items/[!.]*.safetensors"))) >= before
        if (store / "records.jsonl").exists():
            break
    finish(start(path, faulty_folder, store))
    assert kills >= 2 and contents(store) == whole


def test_a_finished_run_predicts_nothing_again(tmp_path, benchmark_folder):
    spec, steps = MethodSpec("ground-truth"), []
    predict(DatasetSpec(str(benchmark_folder)), spec, tmp_path / "p", on_done=lambda done, total: steps.append((done, total)))
    assert steps == [(index + 1, 12) for index in range(12)]
    before = contents(tmp_path / "p")
    predict(DatasetSpec(str(benchmark_folder)), spec, tmp_path / "p", on_done=lambda done, total: steps.append((done, total)))
    assert len(steps) == 12 and contents(tmp_path / "p") == before
    config = json.loads((tmp_path / "p" / "config.json").read_text())["config"]
    assert config["method"] == "ground truth" and str(benchmark_folder) not in json.dumps(config)


def job_of_squares(offset):
    return lambda item: item * item + offset


def test_items_without_workers():
    assert list(run_items(job_of_squares, (1,), [3, 1, 2])) == [(3, 10), (1, 2), (2, 5)]
    assert list(run_items(job_of_squares, (1,), [], workers=3)) == []


def test_a_death_costs_one_more_try_and_a_second_one_the_item(tmp_path):
    # Functions of this file cannot be imported by fresh processes, so a script runs them.
    path = tmp_path / "deaths.py"
    path.write_text(f'''
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from facerecon.evaluation.workers import WorkerDied, run_items


def make(folder):
    def job(item):
        marker = Path(folder, str(item))
        if item == 3 or item == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 5 and folder == "raise":
            raise KeyError("five")
        return item * 10
    return job


if __name__ == "__main__":
    found = dict(run_items(make, ({str(tmp_path)!r},), list(range(6)), workers=2))
    assert isinstance(found[3], WorkerDied) and found[3].exit_code == -signal.SIGKILL, found
    assert {{key: value for key, value in found.items() if key != 3}} == {{0: 0, 1: 10, 2: 20, 4: 40, 5: 50}}
    try:
        list(run_items(make, ("raise",), [0, 5, 1], workers=1))
    except KeyError as error:
        print("raised", error)
''')
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("raised"), done.stderr[-2000:]
