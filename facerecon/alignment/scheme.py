"""A landmark scheme: what each point is called, which points mirror each other, where the eyes end.

`left` and `right` are the subject's; the subject's right is at the image's left on a frontal face. Indices count from 0. The
file of a scheme is JSON:

    {"schema": 1, "name": "mine", "names": ["right eye", "left eye", "chin"], "flip_pairs": [[0, 1]],
     "eye_corners": [0, 1], "groups": {"eyes": [0, 1]}}

Points in no pair mirror to themselves. `eye_corners` (the outer corners of the right and of the left eye) and `groups` (points
that a drawing joins with lines, in this order) may be left out.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facerecon.assets import locate
from facerecon.errors import ArgumentError, LandmarkError, PathError

# Schemes that ship as files; `ibug68` and `five` are those that the face model's embeddings use.
_FILES = ("aflw19", "wflw98")
_MODEL = ("five", "ibug68")
_MOST_POINTS = 10_000
_MOST_BYTES = 1 << 20
_KEYS = {"schema", "name", "names", "flip_pairs", "eye_corners", "groups", "source"}


@dataclasses.dataclass(frozen=True)
class LandmarkScheme:
    """An order of landmarks.

    Attributes:
        name: such as "ibug68".
        names: of the points.
        flip: the partner of each point under a horizontal mirror: mirrored points are points[flip] with x -> W - 1 - x.
        eye_corners: indices of the outer corners of the right and of the left eye, or None when the scheme has none; the
            inter-ocular distance is between them.
        groups: points that belong together, in the order in which a drawing joins them.

    Raises:
        LandmarkError: `landmarks_invalid` when `flip` is no involution or an index is out of range.
    """

    name: str
    names: tuple[str, ...]
    flip: tuple[int, ...]
    eye_corners: tuple[int, int] | None = None
    groups: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        count = len(self.names)
        if not self.name or not 1 <= count <= _MOST_POINTS or len(set(self.names)) != count:
            raise LandmarkError(f"scheme {self.name!r}: wanted a name and 1 to {_MOST_POINTS} points with names of their own, "
                                f"got {count} points with {len(set(self.names))} names")
        if sorted(self.flip) != list(range(count)) or any(self.flip[other] != index for index, other in enumerate(self.flip)):
            raise LandmarkError(f"scheme {self.name!r}: wanted flip partners that are each other's partners, one for each of "
                                f"the {count} points, got {self.flip}")
        corners = self.eye_corners
        if corners is not None and (len(corners) != 2 or self._outside(corners) or self.flip[corners[0]] != corners[1]):
            raise LandmarkError(f"scheme {self.name!r}: wanted as eye_corners two points that mirror each other, got {corners}")
        for group, indices in self.groups.items():
            if self._outside(indices):
                raise LandmarkError(f"scheme {self.name!r}: group {group!r}: wanted indices from 0 to {count - 1}, "
                                    f"got {indices}")

    def __len__(self) -> int:
        return len(self.names)

    def _outside(self, indices: tuple[int, ...]) -> bool:
        return any(not 0 <= index < len(self.names) for index in indices)

    def to_dict(self) -> dict[str, Any]:
        """The content of a scheme file, as JSON values; `from_dict` gives the scheme back."""
        pairs = [[index, other] for index, other in enumerate(self.flip) if index < other]
        return {"schema": 1, "name": self.name, "names": list(self.names), "flip_pairs": pairs,
                "eye_corners": None if self.eye_corners is None else list(self.eye_corners),
                "groups": {name: list(indices) for name, indices in self.groups.items()}}

    @classmethod
    def from_dict(cls, record: Any, *, where: str = "scheme") -> LandmarkScheme:
        """A scheme from the content of its file; `where` names it in errors.

        Raises:
            LandmarkError: `landmarks_invalid`.
        """
        if not isinstance(record, Mapping) or not {"name", "names", "flip_pairs"} <= set(record) <= _KEYS:
            got = sorted(record) if isinstance(record, Mapping) else type(record).__name__
            raise LandmarkError(f"{where}: wanted an object with name, names, flip_pairs and perhaps {sorted(_KEYS)}, "
                                f"got {got}")
        if record.get("schema", 1) != 1:
            raise LandmarkError(f"{where}: wanted schema 1, got {record['schema']!r}; a newer facerecon may read it")
        try:
            names = tuple(_text(name) for name in record["names"])
            flip = list(range(len(names)))
            for first, second in record["flip_pairs"]:
                if flip[_index(first)] != first or flip[_index(second)] != second or first == second:
                    raise ValueError(f"flip pair {[first, second]} names a point twice")
                flip[first], flip[second] = second, first
            corners = record.get("eye_corners")
            groups = {_text(name): tuple(map(_index, indices)) for name, indices in (record.get("groups") or {}).items()}
            corners = None if corners is None else tuple(map(_index, corners))
            return cls(_text(record["name"]), names, tuple(flip), corners, groups)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise LandmarkError(f"{where}: not a landmark scheme: {error}") from error


def scheme_names() -> tuple[str, ...]:
    """The names that `load_scheme` knows without a file."""
    return tuple(sorted((*_FILES, *_MODEL)))


def load_scheme(name_or_path: str | os.PathLike[str]) -> LandmarkScheme:
    """A scheme by name ("ibug68", "wflw98", "aflw19", "five"), or from a JSON file of yours (see the module's text).

    Raises:
        ArgumentError: a name that is neither. LandmarkError: `landmarks_invalid` for a file that is no scheme. PathError.
    """
    name = os.fspath(name_or_path)
    if name in _MODEL:
        return _model_scheme(name)
    if name in _FILES:
        return _read(locate(f"schemes/{name}.json"))
    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        raise ArgumentError(f"scheme: wanted one of {', '.join(scheme_names())} or the path of a .json file, got {name!r}")
    return _read(path)


def _model_scheme(name: str) -> LandmarkScheme:
    from facerecon.morphable import schemes

    if name == "five":
        return LandmarkScheme("five", schemes.FIVE_NAMES, schemes.FIVE_FLIP, None, {"mouth": (3, 4)})
    corners = tuple(schemes.IBUG68_NAMES.index(f"{side} eye outer corner") for side in ("right", "left"))
    return LandmarkScheme("ibug68", schemes.IBUG68_NAMES, schemes.IBUG68_FLIP, corners, dict(schemes.IBUG68_GROUPS))


def _read(path: Path) -> LandmarkScheme:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LandmarkError(f"{path}: wanted a scheme file of at most {_MOST_BYTES} bytes, got {path.stat().st_size}")
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        code = "path_permission" if isinstance(error, PermissionError) else "path_missing"
        raise PathError(f"scheme: cannot read {path}: {error.strerror}", code=code) from error
    except (ValueError, RecursionError) as error:
        raise LandmarkError(f"{path}: wanted JSON in UTF-8; {error}") from error
    return LandmarkScheme.from_dict(record, where=str(path))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"wanted a name, got {value!r}")
    return value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"wanted an index from 0, got {value!r}")
    return value
