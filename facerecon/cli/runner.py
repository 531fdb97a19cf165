"""A run over many photos: one process or several, every photo gets its records, in the order of the inputs."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Iterator, Sequence

from facerecon.cli.display import Display
from facerecon.cli.inputs import Input
from facerecon.cli.jobs import Outcome, PhotoJob, file_state, make_worker
from facerecon.cli.journal import Journal

EXIT_OK, EXIT_USAGE, EXIT_SOME_NOT_OK, EXIT_INTERRUPTED = 0, 2, 3, 130


def run(job: PhotoJob, inputs: Sequence[Input], journal: Journal, display: Display, *, workers: int) -> int:
    """Process the inputs and return the exit code; an interrupted run still writes its manifest.

    What the job needs (a model, a detector) is loaded before the output folder is touched, so that a wrong option leaves
    nothing behind.
    """
    start = time.perf_counter()
    with _Stop() as stop, contextlib.ExitStack() as opened:
        work_on = opened.enter_context(job.open())
        journal.start()
        results = [journal.finished(item) for item in inputs]
        todo = [index for index, records in enumerate(results) if records is None]
        for index in todo:
            journal.clear(inputs[index])
        interrupted, begun = False, time.perf_counter()
        if workers > 1:
            # The workers have their own.
            opened.close()
            work = _in_workers(job, [inputs[index] for index in todo], min(workers, len(todo)))
        else:
            work = ((index, work_on(inputs[todo[index]])) for index in range(len(todo)))
        try:
            with display.progress(len(inputs), done=len(inputs) - len(todo)):
                display.show_ready(results)
                for place, outcome in work:
                    index = todo[place]
                    with stop.held():
                        journal.add(inputs[index], outcome)
                        results[index] = outcome.records
                        display.advance()
                        display.show_ready(results)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            with stop.held():
                work.close()
                journal.close(records for records in results if records is not None)
    now = time.perf_counter()
    display.summary(job.folder, results, fresh=todo, starting=begun - start, working=now - begun, torn=journal.torn,
                    interrupted=interrupted)
    if interrupted:
        return EXIT_INTERRUPTED
    ok = all(record["status"] == "ok" for records in results for record in records)
    return EXIT_OK if ok else EXIT_SOME_NOT_OK


def _in_workers(job: PhotoJob, items: list[Input], workers: int) -> Iterator[tuple[int, Outcome]]:
    from facerecon.evaluation.workers import WorkerDied, run_items

    with contextlib.closing(run_items(functools.partial(_numbered, job), (), list(enumerate(items)), workers=workers)) as results:
        for (place, item), result in results:
            if isinstance(result, WorkerDied):
                record = {"image": item.path, "status": "failed", "code": "worker_died",
                          "message": "the process that worked on this photo died, twice; try it alone, or with fewer workers"}
                result = Outcome([record], file_state(item.path))
            yield place, result


def _numbered(job: PhotoJob):
    work = make_worker(job)
    return lambda numbered: work(numbered[1])


class _Stop:
    """Turns Ctrl-C and SIGTERM into KeyboardInterrupt, though not inside `with stop.held():`; a context manager.

    A photo's result is noted in two places; a stop between them would leave the manifest without it.
    """

    def __init__(self) -> None:
        self._held = self._asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> _Stop:
        # Only the main thread may set handlers; elsewhere signals stay with whoever runs that thread.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A block that is finished before a stop takes effect."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def _ask(self, *_: object) -> None:
        if not self._held:
            raise KeyboardInterrupt
        self._asked = True
