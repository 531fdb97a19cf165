"""The memory of a run: what was asked, what is done, and the manifest.

`run.json` holds the options. Each finished photo is one line in `.journal.jsonl`, appended and flushed to the disk in the
order of finishing. At the end, and on an orderly stop, the records go into `manifest.jsonl` in the order of the inputs.
`--resume` trusts a line of the journal when the photo and the files that it names are still there; a line that a kill cut off is
dropped. The manifest holds no times, so a resumed run ends with the same bytes as one that was never stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from facerecon.cli.inputs import Input
from facerecon.cli.jobs import Outcome, Record, file_state
from facerecon.errors import ArgumentError, PathError
from facerecon.files import TEMPORARY_SUFFIX, sweep_temporaries, write_atomic

MANIFEST, JOURNAL, RUN, ERRORS = "manifest.jsonl", ".journal.jsonl", "run.json", "errors.log"


class Journal:
    """Looks into a run's folder; changes nothing before `start`.

    Args:
        folder: the run's output folder.
        options: everything that changes results, as JSON values.
        resume: go on with what is there.
        overwrite: start anew over what is there.

    Attributes:
        torn: lines that a kill left incomplete and that were dropped.

    Raises:
        PathError: `path_exists` when the folder holds a run and neither is asked for, `path_not_file` for a path that is
            no folder.
        ArgumentError: both are asked for, or `resume` with other options; the message names them.
    """

    def __init__(self, folder: str | os.PathLike[str], options: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = Path(folder)
        self.torn = 0
        self._options, self._resume = json.loads(json.dumps(options)), resume
        self._done: dict[str, dict[str, Any]] = {}
        self._stream = None
        if resume and overwrite:
            raise ArgumentError("wanted at most one of --resume and --overwrite, got both")
        if self.folder.exists() and not self.folder.is_dir():
            raise PathError(f"{self.folder} is a file; name a folder for the results", code="path_not_file")
        # After a kill the manifest is not there yet, but run.json is.
        if any((self.folder / name).exists() for name in (RUN, MANIFEST)):
            if not (resume or overwrite):
                raise PathError(f"{self.folder} holds the results of an earlier run; add --resume to go on with it, --overwrite to "
                                "start anew, or choose another folder", code="path_exists")
            if resume:
                self._check_options()
            self._read()

    def start(self) -> None:
        """Make the folder ready: old results go (unless the run is resumed), and what a killed run left half-written.

        Raises:
            PathError: `path_write`.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for place in {self.folder, *(path.parent for path in self.folder.rglob(f".*{TEMPORARY_SUFFIX}*"))}:
                sweep_temporaries(place)
            if not self._resume:
                for stem in list(self._done):
                    self._discard(stem)
                for name in (MANIFEST, JOURNAL, ERRORS):
                    (self.folder / name).unlink(missing_ok=True)
            text = json.dumps({"schema": 1, "options": self._options}, indent=1, sort_keys=True, ensure_ascii=False)
            write_atomic(self.folder / RUN, text + "\n")
            write_atomic(self.folder / JOURNAL, "".join(map(_line, self._done.values())))
            self._stream = open(self.folder / JOURNAL, "ab")
        except OSError as error:
            raise PathError(f"cannot write into {self.folder}: {error.strerror}; choose another output folder",
                            code="path_write") from error

    def finished(self, item: Input) -> list[Record] | None:
        """The records of a photo that needs no more work: the same file as then, no unexpected failure, all results there."""
        entry = self._done.get(item.stem)
        if entry is None or entry["image"] != item.path or entry["state"] != file_state(item.path):
            return None
        records = entry["records"]
        if any(record["status"] == "failed" for record in records):
            return None
        return records if all((self.folder / name).is_file() for name in _files(entry)) else None

    def add(self, item: Input, outcome: Outcome) -> None:
        """Note a photo as finished; on the disk when this returns. Tracebacks go to errors.log."""
        if outcome.trace is not None:
            with open(self.folder / ERRORS, "a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{item.path}\n{outcome.trace}\n")
        entry = {"output": item.stem, "image": item.path, "state": outcome.state, "records": outcome.records}
        self._stream.write(_line(entry).encode("ascii"))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def clear(self, item: Input) -> None:
        """Remove what an earlier run wrote for a photo that is about to be done again."""
        self._discard(item.stem)

    def close(self, groups: Iterable[list[Record]]) -> None:
        """Write the manifest: the records of each finished photo, in the order of the inputs."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        write_atomic(self.folder / MANIFEST, "".join(manifest_line(record) for group in groups for record in group))

    def _check_options(self) -> None:
        try:
            before = json.loads((self.folder / RUN).read_text(encoding="utf-8"))["options"]
            names = sorted({*before, *self._options})
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ArgumentError(f"{self.folder / RUN} cannot be read; start anew with --overwrite") from error
        changed = [f"{name}: was {before.get(name)!r}, now {self._options.get(name)!r}" for name in names
                   if before.get(name) != self._options.get(name)]
        if changed:
            raise ArgumentError(f"--resume: the options differ from the run in {self.folder} ({'; '.join(changed)}); use the same "
                                "options, or --overwrite")

    def _read(self) -> None:
        try:
            content = (self.folder / JOURNAL).read_bytes()
        except FileNotFoundError:
            return
        lines = content.split(b"\n")
        self.torn += bool(lines.pop())
        for line in lines:
            try:
                entry = json.loads(line)
                kept = {name: entry[name] for name in ("output", "image", "state", "records")}
                _files(kept)
                if not all(isinstance(record["status"], str) for record in kept["records"]):
                    raise ValueError(line)
                self._done[kept["output"]] = kept
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.torn += 1

    def _discard(self, stem: str) -> None:
        for name in _files(self._done.pop(stem, {"records": []})):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()


def manifest_line(record: Record) -> str:
    """A record as a line of JSON, readable where the file system's names allow it."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A name that is no valid text: its bytes survive as escapes.
        text = json.dumps(record, allow_nan=False)
    return text + "\n"


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False) + "\n"


def _files(entry: dict[str, Any]) -> list[str]:
    """The files that an entry names; names that lead out of the folder are left out, since they may be deleted."""
    names = {name for record in entry["records"] for name in record.get("files", {}).values()}
    paths = [PurePosixPath(name) for name in sorted(names)]
    return [str(path) for path in paths if not path.is_absolute() and ".." not in path.parts and ":" not in str(path)]
