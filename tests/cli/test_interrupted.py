"""Runs that are stopped, killed, or lose a worker: nothing is lost, nothing is done twice, nothing is half there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds worker processes in /proc")


@pytest.fixture(autouse=True)
def one_thread(single_thread):
    """In this process as in those that the tests start, so that results can be compared by the byte."""


def start(*words) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "facerecon", *map(str, words)], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def wait_until(condition, process: subprocess.Popen) -> None:
    """Wait for something that the process does; fail when it ends before, or after two minutes."""
    limit = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


def workers_of(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def lines(out: Path) -> int:
    path = out / ".journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture
def many(photos):
    """Nine photos, one of them broken."""
    for index in range(4):
        (photos / f"q{index}.png").write_bytes((photos / f"p{index}.png").read_bytes())
    (photos / "p1_broken.png").write_bytes(b"broken")
    return photos


def test_stopped_then_killed_then_resumed_is_as_if_nothing_had_happened(command, many, records, tmp_path):
    out, clean = tmp_path / "out", tmp_path / "clean"
    stopped = start("landmarks", many, "-o", out)
    wait_until(lambda: lines(out) >= 2, stopped)
    stopped.send_signal(signal.SIGINT)
    stdout, stderr = stopped.communicate(timeout=60)
    assert stopped.returncode == 130 and "--resume" in stdout and "Traceback" not in stderr
    before = records(out)
    assert 2 <= len(before) < 9, "an orderly stop leaves a manifest of what is done"

    killed = start("landmarks", many, "-o", out, "--resume", "--workers", "2")
    wait_until(lambda: lines(out) >= len(before) + 2, killed)
    workers = workers_of(killed)
    killed.kill()
    killed.communicate()
    limit = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < limit, "workers outlive their run"
        time.sleep(0.02)
    done = lines(out)
    ages = {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if path.name != "run.json"}
    for path in ages:
        json.loads(path.read_text())
    with open(out / ".journal.jsonl", "a") as stream:
        stream.write('{"output": "q3", "image": "torn')
    (out / ".q3_0.facerecon-part.json").write_text("half")

    finished = command("landmarks", many, "-o", out, "--resume")
    assert finished.exit_code == 3 and f"{done} photos were done before" in finished.stdout and "1 line" in finished.stdout
    again = [path for path, age in ages.items() if path.stat().st_mtime_ns != age]
    assert len(again) <= 2, "at most the photos that were under way are done again"
    assert not list(out.rglob("*facerecon-part*"))
    assert command("landmarks", many, "-o", clean).exit_code == 3
    assert (out / "manifest.jsonl").read_bytes() == (clean / "manifest.jsonl").read_bytes()
    assert len(records(out)) == 9
    for path in clean.glob("*.pts"):
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_killed_worker_loses_nothing(command, many, records, tmp_path):
    out, clean = tmp_path / "out", tmp_path / "clean"
    run = start("landmarks", many, "-o", out, "--workers", "2")
    wait_until(lambda: lines(out) >= 1, run)
    os.kill(workers_of(run)[0], signal.SIGKILL)
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 3 and "Traceback" not in stderr, stderr
    assert command("landmarks", many, "-o", clean).exit_code == 3
    assert (out / "manifest.jsonl").read_bytes() == (clean / "manifest.jsonl").read_bytes()

