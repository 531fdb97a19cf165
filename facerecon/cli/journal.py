"""The memory of a run: what was asked, what is done, and the manifest.

`run.json` holds the options. Each finished input is one line in `.journal.jsonl`, appended and flushed to the disk in the
order of finishing. At the end, and on an orderly stop, the records go into `manifest.jsonl` in input order, and the
journal goes. After a kill the journal is still there, and `--resume` reads it; a torn last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from facerecon.cli.inputs import Input
from facerecon.errors import ArgumentError, PathError
from facerecon.files import sweep_temporaries, write_atomic

MANIFEST, JOURNAL, RUN = "manifest.jsonl", ".journal.jsonl", "run.json"


class Journal:
    """Opens a run's folder; see the module text.

    Args:
        folder: the run's output folder; made when missing.
        options: everything that changes results, as JSON values.
        resume: go on with what is there.
        overwrite: start anew over what is there.

    Attributes:
        torn: lines that a kill left incomplete and that were dropped.

    Raises:
        PathError: `path_exists` when the folder holds a run and neither is asked for, `path_write`.
        ArgumentError: `--resume` with other options; the message names them.
    """

    def __init__(self, folder: str | os.PathLike[str], options: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = Path(folder)
        self.torn = 0
        self._done: dict[str, dict[str, Any]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PathError(f"cannot make {self.folder}: {error.strerror}; choose another output folder", code="path_write") from error
        exists = (self.folder / RUN).exists()
        if exists and not (resume or overwrite):
            raise PathError(f"{self.folder} holds the results of an earlier run; add --resume to go on with it, --overwrite to "
                            "start anew, or choose another folder", code="path_exists")
        if exists and resume:
            self._check_options(options)
            self._read()
        else:
            for name in (MANIFEST, JOURNAL):
                (self.folder / name).unlink(missing_ok=True)
        for place in {self.folder, *(path.parent for path in self.folder.rglob(".*.facerecon-part*"))}:
            sweep_temporaries(place)
        write_atomic(self.folder / RUN, json.dumps({"schema": 1, "options": options}, indent=1, sort_keys=True) + "\n")
        self._stream = None

    def _check_options(self, options: dict[str, Any]) -> None:
        try:
            before = json.loads((self.folder / RUN).read_text(encoding="utf-8"))["options"]
        except (ValueError, KeyError, OSError) as error:
            raise ArgumentError(f"{self.folder / RUN} is damaged; start anew with --overwrite") from error
        wanted = json.loads(json.dumps(options))
        changed = [f"{name}: was {before.get(name)!r}, now {wanted.get(name)!r}" for name in sorted({*before, *wanted})
                   if before.get(name) != wanted.get(name)]
        if changed:
            raise ArgumentError(f"--resume: the options differ from the run in {self.folder} ({'; '.join(changed)}); use the same "
                                "options, or --overwrite")

    def _read(self) -> None:
        for name in (MANIFEST, JOURNAL):
            path = self.folder / name
            if not path.exists():
                continue
            for line in path.read_bytes().split(b"\n"):
                try:
                    entry = json.loads(line) if line.strip() else None
                except ValueError:
                    self.torn += 1
                    continue
                if entry is None:
                    continue
                if name == JOURNAL:
                    self._done[entry["output"]] = entry
                else:
                    known = self._done.setdefault(entry["output"], {"output": entry["output"], "records": []})
                    known["records"].append(entry)

    def finished(self, item: Input) -> list[dict[str, Any]] | None:
        """The records of an input that needs no more work: same file as then, and every file of the records there."""
        entry = self._done.get(item.stem)
        if entry is None or not entry["records"]:
            return None
        first = entry["records"][0]
        if first["image"] != item.path or first.get("bytes") != file_bytes(item.path):
            return None
        names = [name for record in entry["records"] for name in record.get("files", {}).values()]
        return entry["records"] if all((self.folder / name).is_file() for name in names) else None

    def add(self, item: Input, records: list[dict[str, Any]]) -> None:
        """Note an input as finished; on the disk when this returns."""
        if self._stream is None:
            self._stream = open(self.folder / JOURNAL, "ab")
            if self._stream.tell():
                # A torn line from a kill must not swallow the next one.
                self._stream.write(b"\n")
        line = json.dumps({"output": item.stem, "records": records}, ensure_ascii=False) + "\n"
        self._stream.write(line.encode("utf-8"))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self, records: Iterable[list[dict[str, Any]]], *, complete: bool) -> None:
        """Write the manifest in input order; when all inputs are in it, the journal goes."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for group in records for record in group]
        write_atomic(self.folder / MANIFEST, "".join(lines))
        if complete:
            (self.folder / JOURNAL).unlink(missing_ok=True)


def file_bytes(path: str) -> int | None:
    """Size of a file, None when there is none."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None
