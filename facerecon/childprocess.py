"""Reading hostile files behind a process wall: a child with limits of memory and time, which answers with one line of JSON.

Large parsers in C and unpicklers were not written for files from anywhere. Whatever happens to the child, this process goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import facerecon
from facerecon import errors
from facerecon.errors import FaceReconError, ModelError


def run_child(module: str, arguments: Sequence[str], *, job: str, source: str, memory: int, seconds: float) -> dict[str, Any]:
    """Run `python -m MODULE ARGUMENTS... MEMORY SECONDS` with `job` on its input; gives its answer.

    Args:
        module: a module whose main function calls `answer`.
        source: what the child reads, for messages.
        memory: bytes of address space. seconds: of wall clock, and of processor time.

    Raises:
        ModelError: `model_corrupt` when the child dies or runs out of its limits; else whatever typed error it answered with.
    """
    root = str(Path(facerecon.__file__).resolve().parent.parent)
    searched = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(searched), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments, str(int(memory)), str(int(seconds) + 1)]
    try:
        done = subprocess.run(command, input=job.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{source}: reading it took more than {seconds:g} s; the file is damaged, or raise the limit",
                         code="model_corrupt") from error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        said = json.loads(lines[-1])
        status = said["status"]
    except (IndexError, ValueError, KeyError, TypeError):
        reason = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise ModelError(f"{source}: the process that read it ended with {reason} ({last[0][:200]}); the file is damaged, or "
                         f"the limits are too low", code="model_corrupt") from None
    if status != "ok":
        kind = getattr(errors, said["type"], ModelError)
        raise (kind if issubclass(kind, FaceReconError) else ModelError)(said["message"], code=said["code"])
    return said


def answer(work: Callable[[], dict[str, Any]], *, source: str, memory: int) -> int:
    """In the child: do the work and print what it gives, or its typed error; returns the exit status, 0 or 1."""
    try:
        said = {"status": "ok", **work()}
    except FaceReconError as error:
        said = {"status": "error", "type": type(error).__name__, "code": error.code, "message": error.message}
    except MemoryError:
        said = {"status": "error", "type": "ModelError", "code": "model_corrupt",
                "message": f"{source}: reading it needs more than {memory >> 20} MiB; the file is damaged, or raise the limit"}
    print(json.dumps(said), flush=True)
    return 0 if said["status"] == "ok" else 1


def limit_process(memory: int, seconds: int) -> None:
    """Limit address space and processor time of this process, where the system can; no core files."""
    try:
        import resource
    except ImportError:
        return
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
