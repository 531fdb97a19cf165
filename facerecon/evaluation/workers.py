"""Run a function over items in worker processes that may die, one item at a time and nothing lost.

A pool of the standard library breaks as a whole when one of its processes is killed (out of memory, a crash in native code).
Here the item of a dead worker is tried once more in a fresh one, and reported as failed when that one dies too.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from facerecon.checks import check_range

DEATHS_ALLOWED = 1


class WorkerDied:
    """Stands for the result of an item whose workers died; `exit_code` is that of the last one."""

    def __init__(self, exit_code: int | None) -> None:
        self.exit_code = exit_code


def run_items(make_job: Callable[..., Callable[[Any], Any]], arguments: tuple, items: Sequence[Any], *,
              workers: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield (item, result) for every item, in the order in which they end.

    Args:
        make_job: called once per worker with `arguments`; gives the function that turns an item into a result. It must be
            importable (a module's function), since workers are fresh interpreters.
        items: what to work on; small and picklable, as results should be.
        workers: processes; 0 works in this process.

    Raises:
        Whatever a job raises: in a worker, an exception ends that run as it would here.
    """
    check_range("workers", workers, 0)
    if workers == 0 or not items:
        if items:
            job = make_job(*arguments)
            for item in items:
                yield item, job(item)
        return
    yield from _Pool(make_job, arguments, list(items), min(workers, len(items))).run()


class _Pool:
    def __init__(self, make_job: Callable, arguments: tuple, items: list, count: int) -> None:
        # Fresh interpreters: forking a process that runs threads of torch or a detector can hang the child.
        self.context = multiprocessing.get_context("spawn")
        self.make_job, self.arguments, self.count = make_job, arguments, count
        self.waiting = [(item, 0) for item in reversed(items)]
        self.busy: dict[Any, tuple[Any, Any]] = {}

    def run(self) -> Iterator[tuple[Any, Any]]:
        try:
            for _ in range(self.count):
                self._start()
            while self.busy:
                for connection in multiprocessing.connection.wait(list(self.busy)):
                    process, (item, deaths) = self.busy.pop(connection)
                    try:
                        outcome, value = connection.recv()
                    except (EOFError, ConnectionResetError):
                        process.join()
                        connection.close()
                        if deaths < DEATHS_ALLOWED:
                            self.waiting.append((item, deaths + 1))
                        else:
                            yield item, WorkerDied(process.exitcode)
                        self._start()
                        continue
                    if outcome == "raised":
                        raise value
                    self._give(connection, process)
                    yield item, value
        finally:
            for connection, (process, _) in self.busy.items():
                process.terminate()
                process.join()
                connection.close()

    def _start(self) -> None:
        if not self.waiting:
            return
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.make_job, self.arguments), daemon=True)
        process.start()
        theirs.close()
        self._give(ours, process)

    def _give(self, connection: Any, process: Any) -> None:
        if not self.waiting:
            connection.close()
            process.join()
            return
        item, deaths = self.waiting.pop()
        self.busy[connection] = (process, (item, deaths))
        try:
            connection.send(item)
        except (BrokenPipeError, ConnectionResetError):
            # The process is dead already; its closed pipe reports that at the next wait.
            pass


def _work(connection: Any, make_job: Callable, arguments: tuple) -> None:
    try:
        job = make_job(*arguments)
        while True:
            item = connection.recv()
            connection.send(("done", job(item)))
    except EOFError:
        return
    except KeyboardInterrupt:
        # Ctrl-C reaches every process of the terminal; the parent reports it.
        return
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent
        connection.send(("raised", error))
