"""Stages of a long command: each leaves its result whole, and is not done again with the same options."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from facerecon.errors import FaceReconError, PathError
from facerecon.files import sweep_temporaries, write_atomic

SCHEMA = 1
EXIT_REFUSED, EXIT_STOPPED = 2, 130


class Interrupted(Exception):
    """A stage was asked to stop; the same command goes on with it."""


def exit_status(work: Callable[[], Any]) -> int:
    """Do the work of a command line: 0 when it is done, 2 after an error that names its mend, 130 when it was stopped."""
    try:
        work()
    except FaceReconError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return EXIT_REFUSED
    except (Interrupted, KeyboardInterrupt):
        print("stopped; the same command goes on", file=sys.stderr)
        return EXIT_STOPPED
    return 0


class Stages:
    """Results of stages, `FOLDER/stages/NAME.json`, written when a stage is done.

    A stage that was killed has no such file and is called again: it must itself go on from what it left, or start anew.

    Attributes:
        done: name -> record of the stages that this run has seen: "options", "result", "seconds" and "cpu_seconds" of the call
            that ended it.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None] | None = None) -> None:
        self._folder = folder / "stages"
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self.done: dict[str, dict[str, Any]] = {}
        if self._folder.is_dir():
            sweep_temporaries(self._folder)

    def run(self, name: str, options: Mapping[str, Any], work: Callable[[], Any]) -> Any:
        """The result of a stage (plain JSON): that of `work`, or the one that is there for the same options.

        Raises:
            PathError: `path_exists` when the stage was done with other options: half a table with one setting and half with
                another says nothing.
        """
        # As JSON gives it back: lists for tuples, texts for keys.
        options = json.loads(json.dumps(options))
        path = self._folder / f"{name}.json"
        record = _read(path)
        if record is not None:
            changed = [key for key in sorted({*record["options"], *options}) if record["options"].get(key) != options.get(key)]
            if changed:
                raise PathError(f"{path.parent.parent}: stage {name} was done with another {', '.join(changed)}; repeat those "
                                "options, or choose another folder", code="path_exists")
            self.done[name] = record
            return record["result"]
        self._say(f"{name} ...")
        clock, processor = time.perf_counter(), _processor()
        result = work()
        record = {"schema": SCHEMA, "options": options, "result": result, "seconds": round(time.perf_counter() - clock, 1),
                  "cpu_seconds": round(_processor() - processor, 1)}
        write_atomic(path, json.dumps(record, indent=1) + "\n")
        self.done[name] = record
        self._say(f"{name}: {record['seconds']:.0f} s, {record['cpu_seconds']:.0f} s of processor time")
        return json.loads(json.dumps(result))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PathError(f"{path}: not the record of a stage ({error}); remove it to do the stage again",
                        code="path_exists") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise PathError(f"{path}: not the record of a stage of this version; remove it to do the stage again",
                        code="path_exists")
    return record


def _processor() -> float:
    # Worker processes count too, once they have ended.
    import resource

    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in spent)
