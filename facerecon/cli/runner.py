"""A run over many photos: one process or several, a progress bar, a record for every input, in input order."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from facerecon.cli import jobs
from facerecon.cli.inputs import Input
from facerecon.cli.journal import Journal

EXIT_OK, EXIT_USAGE, EXIT_SOME_NOT_OK, EXIT_INTERRUPTED = 0, 2, 3, 130
Records = list[dict[str, Any]]


def run(job: jobs.Job, inputs: Sequence[Input], journal: Journal, *, workers: int, quiet: bool, as_json: bool) -> int:
    """Process the inputs and return the exit code; the manifest is written even when the run is interrupted."""
    results: dict[int, Records] = {}
    for index, item in enumerate(inputs):
        if (records := journal.finished(item)) is not None:
            results[index] = records
    todo = [index for index in range(len(inputs)) if index not in results]
    start, reused, interrupted = time.perf_counter(), len(results), False
    shown = _Shown(inputs, as_json=as_json, quiet=quiet)
    try:
        with _progress(len(inputs), quiet or as_json) as advance:
            advance(reused)
            shown.update(results)
            for index, records in _process(job, inputs, todo, workers):
                _log_failures(journal, records)
                journal.add(inputs[index], records)
                results[index] = records
                advance(1)
                shown.update(results)
    except KeyboardInterrupt:
        interrupted = True
    journal.close([results[index] for index in sorted(results)], complete=not interrupted)
    if not (quiet or as_json):
        _summary(job.folder, [record for records in results.values() for record in records], len(todo), reused,
                 time.perf_counter() - start, journal.torn, interrupted)
    if interrupted:
        return EXIT_INTERRUPTED
    ok = all(record["status"] == "ok" for records in results.values() for record in records)
    return EXIT_OK if ok else EXIT_SOME_NOT_OK


def _process(job: jobs.Job, inputs: Sequence[Input], todo: Sequence[int], workers: int) -> Iterator[tuple[int, Records]]:
    if not todo:
        return
    if workers > 1:
        yield from _in_workers(job, inputs, todo, min(workers, len(todo)))
        return
    jobs.prepare(job)
    try:
        for index in todo:
            yield index, jobs.process(job, inputs[index])
    finally:
        jobs.finish()


def _in_workers(job: jobs.Job, inputs: Sequence[Input], todo: Sequence[int], workers: int) -> Iterator[tuple[int, Records]]:
    """Processes with one thread each. When one dies, its pool is lost: what was under way is tried again, one photo at a
    time, so that the photo that kills is known and the others are not punished for it."""
    queue, suspects = deque(todo), deque()
    while queue or suspects:
        alone = bool(suspects)
        source = suspects if alone else queue
        with _pool(job, 1 if alone else workers) as pool:
            under_way: dict[Future, int] = {}
            try:
                while source or under_way:
                    while source and len(under_way) < (1 if alone else 2 * workers):
                        index = source.popleft()
                        under_way[pool.submit(jobs.process, job, inputs[index])] = index
                    future = _first_done(under_way)
                    records = future.result()
                    yield under_way.pop(future), records
            except BrokenProcessPool:
                lost = sorted(under_way.values())
                if not alone:
                    suspects.extend(lost)
                    continue
                for index in lost:
                    yield index, [{"image": inputs[index].path, "output": inputs[index].stem, "bytes": None, "status": "failed", "code": "worker_died",
                                   "message": "the process that worked on this photo died, twice; try it alone"}]


def _first_done(under_way: dict[Future, int]) -> Future:
    from concurrent.futures import FIRST_COMPLETED, wait

    return next(iter(wait(under_way, return_when=FIRST_COMPLETED).done))


def _pool(job: jobs.Job, workers: int) -> ProcessPoolExecutor:
    import multiprocessing

    # Many processes with many threads each slow one another down several times over; set before the children start.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker,
                               initargs=(job,))


def _prepare_worker(job: jobs.Job) -> None:
    import signal

    # Ctrl-C reaches every process of a terminal; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs.prepare(job, threads=1)


def _log_failures(journal: Journal, records: Records) -> None:
    for record in records:
        trace = record.pop("trace", None)
        if trace:
            with open(journal.folder / "errors.log", "a", encoding="utf-8") as log:
                log.write(f"{record['image']}\n{trace}\n")


class _Shown:
    """Prints each input's outcome once, in input order: as JSON lines to stdout, or what went wrong to stderr."""

    def __init__(self, inputs: Sequence[Input], *, as_json: bool, quiet: bool) -> None:
        self._count, self._next, self._as_json, self._quiet = len(inputs), 0, as_json, quiet

    def update(self, results: dict[int, Records]) -> None:
        while self._next in results:
            for record in results[self._next]:
                if self._as_json:
                    print(json.dumps(record, ensure_ascii=False), flush=True)
                elif record["status"] != "ok" and not self._quiet:
                    print(f"{record['image']}: {record['code']}: {record['message']}", file=sys.stderr)
            self._next += 1


class _progress:
    """A progress bar on a terminal, nothing elsewhere; gives the function that moves it."""

    def __init__(self, total: int, hidden: bool) -> None:
        self._total, self._bar = total, None
        self._hidden = hidden or not sys.stderr.isatty()

    def __enter__(self):
        if self._hidden:
            return lambda steps: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(TextColumn("reconstructing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                             console=Console(stderr=True))
        self._bar.start()
        task = self._bar.add_task("", total=self._total)
        return lambda steps: self._bar.advance(task, steps)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _summary(folder: str, records: Records, fresh: int, reused: int, seconds: float, torn: int, interrupted: bool) -> None:
    ok = sum(record["status"] == "ok" for record in records)
    images = len({record["image"] for record in records})
    text = f"{ok} face{'s' * (ok != 1)} from {images} image{'s' * (images != 1)}, {len(records) - ok} not ok -> {folder}"
    if fresh:
        text += f"; {seconds / fresh:.2f} s an image, loading included"
    if reused:
        text += f"; {reused} kept from before"
    if torn:
        text += f"; {torn} torn line{'s' * (torn != 1)} dropped"
    print(text + ("; interrupted, go on with --resume" if interrupted else ""), file=sys.stderr)
