"""What a person sees of a run: a progress bar, what went wrong, and a short account at the end."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence

from facerecon.cli.jobs import Record
from facerecon.cli.journal import ERRORS, MANIFEST, manifest_line


class Display:
    """Prints the course of a run.

    Args:
        verb: what is done, for the progress bar.
        as_json: records go to standard output as JSON lines, in the order of the inputs, and nothing else does.
        quiet: print nothing.
    """

    def __init__(self, verb: str, *, as_json: bool, quiet: bool) -> None:
        self._verb, self._as_json, self._quiet = verb, as_json, quiet
        self._shown = 0
        self._bar = None
        self._task = None

    @contextlib.contextmanager
    def progress(self, total: int, *, done: int) -> Iterator[None]:
        """A progress bar on the error stream while the block runs, if that is a terminal."""
        if self._quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        with Progress(TextColumn(self._verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                      console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False) as self._bar:
            self._task = self._bar.add_task("", total=total, completed=done)
            try:
                yield
            finally:
                self._bar, bar = None, self._bar
                bar.refresh()

    def advance(self) -> None:
        """One photo more is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def show_ready(self, results: Sequence[list[Record] | None]) -> None:
        """Print the outcome of every photo before which none is missing, once."""
        while self._shown < len(results) and results[self._shown] is not None:
            for record in results[self._shown]:
                if self._as_json:
                    sys.stdout.write(manifest_line(record))
                    sys.stdout.flush()
                elif record["status"] != "ok" and not self._quiet:
                    self._tell(_reason(record))
            self._shown += 1

    def summary(self, folder: str, results: Sequence[list[Record] | None], *, fresh: Sequence[int], starting: float,
                working: float, torn: int, interrupted: bool) -> None:
        """A short account: how many, where, how fast."""
        if self._quiet or self._as_json:
            return
        done = [records for records in results if records is not None]
        status = [record["status"] for records in done for record in records]
        counts = [f"{len(done)} of {len(results)}", f"{status.count('ok')} ok"]
        counts += [f"{status.count(name)} {name}" for name in ("refused", "failed") if name in status]
        rows = [("photos", counts[0]), ("faces", ", ".join(counts[1:])), ("results", folder), ("manifest", f"{folder}/{MANIFEST}")]
        new = sum(record["status"] == "ok" for index in fresh if results[index] is not None for record in results[index])
        if new:
            rows.append(("time", f"{working / new:.2f} s a face ({working:.1f} s for {new}, and {starting:.1f} s to start)"))
        if len(fresh) < len(results):
            rows.append(("resumed", f"{len(results) - len(fresh)} photos were done before"))
        if torn:
            rows.append(("journal", f"{torn} line{'s' * (torn != 1)} that an earlier stop had cut off dropped"))
        if "failed" in status:
            rows.append(("log", f"{folder}/{ERRORS}"))
        if interrupted:
            rows.append(("stopped", "before the end; the same command with --resume goes on"))
        print("\n".join(f"{name:>9}  {text}" for name, text in rows))

    def _tell(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr)


def _reason(record: Record) -> str:
    name = _shown(record["image"])
    face = f", face {record['face']}" if "face" in record else ""
    # Messages about the file itself name it already.
    start = "" if name in record["message"] else f"{name}{face}: "
    return f"{start}{record['message']} [{record['code']}]"


def _shown(path: str) -> str:
    """A path as text that a terminal can take: names may hold newlines and control characters."""
    return path if path.isprintable() else json.dumps(path)
