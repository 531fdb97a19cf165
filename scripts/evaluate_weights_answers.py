"""Answers of a method on a set, kept line by line so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evaluate_weights_methods import LABELS, Answer, MethodSpec, build
from evaluate_weights_sets import Face, FaceSet

from facerecon import __version__
from facerecon.errors import FaceReconError, PathError
from facerecon.evaluation.workers import WorkerDied, run_items
from facerecon.files import write_atomic

SCHEMA = 1
# What went wrong in the machine, not in the face: such an answer is not kept for the next run.
BROKEN = ("internal", "worker_died")
# Faces that are tried before the clock counts, at most.
WARM_UP = 3
logger = logging.getLogger(__name__)


class AnswerFile:
    """JSON lines: what the answers depend on, then one answer per line in the order in which they came.

    A line that a kill cut off is dropped; answers of broken runs are not read.

    Attributes:
        answers: by the name of the face.

    Raises:
        PathError: `path_exists` for a file of another set, method, weights or version; the message names the difference.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path, self.answers, self._stream = path, {}, None
        self._head = json.loads(json.dumps({"schema": SCHEMA, **options}))
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        if lines[:-1]:
            self._check(lines[0])
        for line in lines[1:-1]:
            try:
                answer = Answer.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            if answer.code not in BROKEN:
                self.answers[answer.name] = answer

    def add(self, answer: Answer) -> None:
        """Keep an answer; on the disk when this returns."""
        if self._stream is None:
            # Written anew once: what a kill left at the end must not run into the next line.
            write_atomic(self.path, "".join(map(_line, [self._head, *(one.to_dict() for one in self.answers.values())])))
            self._stream = open(self.path, "a", encoding="utf-8")
        self.answers[answer.name] = answer
        self._stream.write(_line(answer.to_dict()))
        self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _check(self, line: bytes) -> None:
        try:
            before = json.loads(line)
            changed = [name for name in sorted({*before, *self._head}) if before.get(name) != self._head.get(name)]
        except (ValueError, TypeError, AttributeError):
            changed = ["format"]
        if changed:
            raise PathError(f"{self.path}: holds answers of another {', '.join(changed)}; choose another folder, or remove the "
                            "file", code="path_exists")


def answers_of(faces: FaceSet, spec: MethodSpec, folder: Path, *, workers: int = 0,
               say: Callable[[str], None] | None = None) -> list[Answer]:
    """The answers of a method about every face of a set, in their order; those that are there are not asked for again.

    Args:
        folder: of the answers. The file's name has the first digits of the hash of the weights, so that several weights can be
            compared in one folder and share the methods that use none.
        workers: processes of one thread each; 0 works in this one. Answers do not depend on it, times may.
    """
    files = spec.files()
    digits = "".join(f"-{value[:8]}" for value in files.values())
    kept = AnswerFile(folder / f"{faces.key}-{spec.key}{digits}.jsonl",
                      {"set": faces.key, "source": faces.source, "method": spec.key, **files, "facerecon": __version__})
    missing = [index for index, face in enumerate(faces.faces) if face.name not in kept.answers]
    progress = _Progress(f"{faces.key} {spec.key}", len(faces.faces), len(faces.faces) - len(missing), say)
    try:
        for answer in _ask(faces.faces, spec, missing, workers):
            kept.add(answer)
            progress.step()
    finally:
        kept.close()
    return [kept.answers[face.name] for face in faces.faces]


def make_job(faces: Sequence[Face], spec: MethodSpec) -> Job:
    """What a worker does; called in the worker."""
    return Job(faces, spec)


class Job:
    """Asks a method about the face of an index, warm."""

    def __init__(self, faces: Sequence[Face], spec: MethodSpec) -> None:
        self._faces, self._method, self._needs_pixels = faces, build(spec), spec.key != LABELS
        # The first faces load networks and compile loops.
        for index in range(min(WARM_UP, len(faces)) if self._needs_pixels else 0):
            if self(index).found:
                break

    def __call__(self, index: int) -> Answer:
        face = self._faces[index]
        try:
            return self._method(face, face.photo.read() if self._needs_pixels else None)
        except FaceReconError as error:
            return Answer(face.name, error.code)
        except Exception:  # noqa: BLE001 - one face must never stop a run; the next run asks about it again
            logger.warning("%s failed", face.name, exc_info=True)
            return Answer(face.name, "internal")

    def close(self) -> None:
        self._method.close()


def _ask(faces: Sequence[Face], spec: MethodSpec, missing: list[int], workers: int):
    if not missing:
        return
    if workers == 0:
        job = make_job(faces, spec)
        try:
            for index in missing:
                yield job(index)
        finally:
            job.close()
        return
    # Children read these when they start; processes share the cores, threads would only wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(spec.threads)
    for index, answer in run_items(make_job, (faces, spec), missing, workers=workers):
        yield Answer(faces[index].name, "worker_died") if isinstance(answer, WorkerDied) else answer


class _Progress:
    """A line every ten seconds, and one at the end."""

    def __init__(self, title: str, total: int, done: int, say: Callable[[str], None] | None) -> None:
        self._title, self._total, self._done = title, total, done
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self._last = time.monotonic()

    def step(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._done == self._total or now - self._last > 10:
            self._last = now
            self._say(f"{self._title}: {self._done} of {self._total}")


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
