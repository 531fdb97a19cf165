"""What the user named on the command line, as a list of photos with a name for each one's results."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Sequence
from pathlib import Path

from facerecon.cli.boxes import BoxTable
from facerecon.errors import PathError
from facerecon.files import safe_stem

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".heic", ".heif"})


@dataclasses.dataclass(frozen=True)
class Input:
    """One photo of a run.

    Attributes:
        path: as named, or found in a named folder; also the record's `image`.
        stem: where its results go, relative to the output folder and without a suffix: `sub/photo` for `sub/photo_0.json`.
        boxes: face boxes given for it, or None for detection.
    """

    path: str
    stem: str
    boxes: tuple[tuple[float, ...], ...] | None = None


def expand_inputs(names: Sequence[str], *, excluded: str | os.PathLike[str], boxes: BoxTable | None = None) -> list[Input]:
    """Files, folders and glob patterns to photos, in the order of `names`.

    A named file is always tried, whatever its suffix, and also when it does not exist (its record then says so). A folder
    gives every file below it with the suffix of an image format, sorted; hidden ones and the output folder are left out. A
    pattern with `*`, `?` or `[` (`**` crosses folders) gives its matches by the same rules as if they were named. A photo
    that is named twice is done once. Results of a folder keep its subfolders. Where two photos would share a name, in any
    spelling of its capitals, the later one gets `-2`, `-3` and so on.

    Args:
        names: as on the command line.
        excluded: the output folder.
        boxes: from `read_boxes`; every photo then has boxes, none where the file has no line for it.

    Raises:
        PathError: `path_missing` for a folder without photos or a pattern without a match, `path_permission` for a folder
            that cannot be listed.
    """
    found: list[tuple[str, str]] = []
    for name in names:
        if not os.path.lexists(name) and glob.has_magic(name):
            matches = sorted(glob.glob(name, recursive=True), key=_order)
            if not matches:
                raise PathError(f"no file matches {name!r}; check the pattern, and quote it so that the shell leaves it alone",
                                code="path_missing")
            for match in matches:
                # `**` also yields the folders themselves, whose files it yields by name.
                if os.path.isdir(match) and "**" in name:
                    continue
                found += _below(match, excluded) if os.path.isdir(match) else [(match, "")]
        else:
            found += _below(name, excluded) if os.path.isdir(name) else [(name, "")]
    unique: dict[str, tuple[str, str]] = {}
    for path, folder in found:
        unique.setdefault(os.path.realpath(path) if os.path.exists(path) else path, (path, folder))
    inputs = _with_stems(list(unique.values()), excluded)
    return inputs if boxes is None else [dataclasses.replace(item, boxes=boxes.of(item.path)) for item in inputs]


def _below(folder: str, out: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """(path, subfolder) of each photo below a folder."""
    def refuse(error: OSError) -> None:
        raise PathError(f"cannot list the folder {error.filename!r}: {error.strerror}", code="path_permission") from error

    found = []
    output = os.path.realpath(out)
    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not name.startswith(".")
                             and os.path.realpath(os.path.join(here, name)) != output), key=_order)
        inside = os.path.relpath(here, folder)
        found += [(os.path.join(here, name), "" if inside == "." else inside) for name in sorted(files, key=_order)
                  if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES]
    if not found:
        raise PathError(f"no photo in the folder {folder!r}; wanted files that end in {', '.join(sorted(SUFFIXES))}",
                        code="path_missing")
    return found


def _order(name: str) -> tuple[str, str]:
    return name.casefold(), name


def _with_stems(found: list[tuple[str, str]], out: str | os.PathLike[str]) -> list[Input]:
    output = os.path.realpath(out)
    # Results beside the photos must not replace one: `x.jpg` gives `x_0.png`, which may be a photo of its own.
    protected = {os.path.realpath(path).casefold() for path, _ in found}
    taken: set[str] = set()
    inputs = []
    for path, folder in found:
        parts = [safe_stem(part) for part in Path(folder).parts]
        base = "/".join([*parts, safe_stem(Path(path).stem)])
        stem, count = base, 1
        while stem.casefold() in taken or _would_replace(output, stem, protected):
            count += 1
            stem = f"{base}-{count}"
        taken.add(stem.casefold())
        inputs.append(Input(path=path, stem=stem))
    return inputs


def _would_replace(output: str, stem: str, protected: set[str]) -> bool:
    start = os.path.join(output, *stem.split("/")).casefold() + "_"
    return any(name.startswith(start) for name in protected)
