"""Face boxes from a file, for photos whose faces are known."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

from facerecon.errors import ArgumentError, PathError

_MOST_BYTES = 256 << 20
Box = tuple[float, ...]


class BoxTable:
    """Boxes by photo, from (image, box) pairs."""

    def __init__(self, pairs: list[tuple[str, Box]]) -> None:
        self._boxes: dict[tuple[str, ...], list[Box]] = {}
        for image, box in pairs:
            self._boxes.setdefault(_parts(image), []).append(box)

    def of(self, path: str) -> tuple[Box, ...]:
        """The boxes of a photo, those of the longest matching end of its path; () when none matches."""
        for whole in (_parts(os.path.abspath(path)), _parts(path)):
            for start in range(len(whole)):
                if whole[start:] in self._boxes:
                    return tuple(self._boxes[whole[start:]])
        return ()


def read_boxes(file: str | os.PathLike[str]) -> BoxTable:
    """Read a JSON lines file of face boxes.

    Each line is `{"image": "folder/photo.jpg", "box": [x0, y0, x1, y1]}`, in pixels of the upright photo. `image` is a path,
    absolute or as much of its end as tells the photos apart (`photo.jpg` means every photo of that name). A photo may have
    several lines; their order is kept. Whether a box is usable is decided when the photo is there.

    Raises:
        PathError: `path_missing`, `path_permission`. ArgumentError: a line that is not such an object.
    """
    lines = enumerate(_read(Path(file)).split("\n"), start=1)
    return BoxTable([_parse(line, f"{file}, line {number}") for number, line in lines if line.strip()])


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ArgumentError(f"boxes: wanted a file of at most {_MOST_BYTES} bytes, got {path.stat().st_size}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"boxes: {path} is not UTF-8 text") from error
    except OSError as error:
        code = "path_permission" if isinstance(error, PermissionError) else "path_missing"
        raise PathError(f"boxes: cannot read {path}: {error.strerror}", code=code) from error


def _parse(line: str, where: str) -> tuple[str, tuple[float, ...]]:
    wanted = f'{where}: wanted {{"image": "...", "box": [x0, y0, x1, y1]}}'
    try:
        record = json.loads(line)
        image, box = record["image"], record["box"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ArgumentError(f"{wanted}, got {line[:80]!r}") from error
    if not isinstance(image, str) or not image or not isinstance(box, list) or len(box) != 4 \
            or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in box):
        raise ArgumentError(f"{wanted}, got {line[:80]!r}")
    return image, tuple(float(value) for value in box)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(path.replace("\\", "/")).parts if part != ".")
