"""A folder of predictions that can be filled in any order, killed, resumed, and read one image at a time.

    config.json                what made the predictions; a run with another configuration is refused
    items/000017.safetensors   the 18th image: record and arrays, written whole or not at all
    records.jsonl              one line per image in input order, written when all are there

The bytes depend on the configuration and the images only: not on the number of workers, kills, or time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from facerecon.errors import ArgumentError, ModelError, PathError
from facerecon.evaluation.prediction import Prediction, decode_prediction, encode_prediction
from facerecon.files import sweep_temporaries, write_atomic

SCHEMA = 1
CONFIG, ITEMS, RECORDS = "config.json", "items", "records.jsonl"


class PredictionStore:
    """Predictions of `names` in a folder; use `create` or `open`.

    Attributes:
        folder: where it is. config: the configuration (a JSON object). names: the images, in order.
    """

    def __init__(self, folder: Path, config: dict, names: Sequence[str]) -> None:
        self.folder, self.config, self.names = folder, config, tuple(names)

    @classmethod
    def create(cls, folder: str | os.PathLike[str], config: dict, names: Sequence[str], *,
               overwrite: bool = False) -> PredictionStore:
        """Start a store, or resume the one that is there.

        Raises:
            ArgumentError: when the folder holds predictions of another configuration or other images, unless `overwrite`,
                which removes them. PathError when it cannot be written.
        """
        folder = Path(folder)
        if len(set(names)) != len(names):
            raise ArgumentError("names: wanted every image once, got a name twice")
        content = json.dumps({"schema": SCHEMA, "config": config, "names": list(names)}, indent=1, sort_keys=True) + "\n"
        path = folder / CONFIG
        if path.is_file():
            if path.read_text(encoding="utf-8") != content:
                if not overwrite:
                    raise ArgumentError(f"{folder} holds predictions of another run: {_difference(path, config, names)}; choose "
                                        f"another folder, or --overwrite to remove them")
                _clear(folder)
            sweep_temporaries(folder)
            if (folder / ITEMS).is_dir():
                sweep_temporaries(folder / ITEMS)
        elif folder.is_dir() and any(folder.iterdir()):
            raise PathError(f"{folder} is not empty and holds no predictions; choose another folder", code="path_exists")
        write_atomic(path, content)
        (folder / ITEMS).mkdir(exist_ok=True)
        return cls(folder, config, names)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> PredictionStore:
        """Open a store for reading.

        Raises:
            PathError: `path_missing`. ModelError: `model_corrupt` for a damaged configuration.
        """
        folder = Path(folder)
        path = folder / CONFIG
        if not path.is_file():
            raise PathError(f"{folder}: no {CONFIG}; wanted a folder that `facerecon evaluate` has written", code="path_missing")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ModelError(f"{path}: schema {content['schema']}, this version reads {SCHEMA}; predict again")
            return cls(folder, dict(content["config"]), [str(name) for name in content["names"]])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: damaged ({error}); predict again into another folder", code="model_corrupt") from error

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Prediction:
        """The prediction of one image. Raises PathError `path_missing` when it is not there yet."""
        path = self.item_path(index)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise PathError(f"{path}: the prediction of {self.names[index]} is missing; run the prediction to its end",
                            code="path_missing") from error
        prediction = decode_prediction(content, source=str(path))
        if prediction.name != self.names[index]:
            raise ModelError(f"{path}: wanted the prediction of {self.names[index]}, got {prediction.name}; predict again",
                             code="model_corrupt")
        return prediction

    def item_path(self, index: int) -> Path:
        """The file of one image."""
        return self.folder / ITEMS / f"{index:06d}.safetensors"

    def put(self, index: int, prediction: Prediction) -> None:
        """Write one prediction whole or not at all; safe from several processes for different images."""
        if prediction.name != self.names[index]:
            raise ArgumentError(f"prediction: wanted {self.names[index]}, got {prediction.name}")
        write_atomic(self.item_path(index), encode_prediction(prediction))

    def missing(self) -> list[int]:
        """Indices without a prediction; a damaged one counts as missing and is removed."""
        absent = []
        for index in range(len(self)):
            try:
                self[index]
            except PathError:
                absent.append(index)
            except ModelError:
                self.item_path(index).unlink()
                absent.append(index)
        return absent

    def finish(self) -> Path:
        """Write `records.jsonl`: exactly one line per image, in order. All predictions must be there."""
        lines = [json.dumps(prediction.record(), sort_keys=True) for prediction in self]
        return write_atomic(self.folder / RECORDS, "".join(line + "\n" for line in lines))

    def state(self) -> str:
        """SHA-256 over the configuration and each item's size and time: changes when any prediction is written again."""
        digest = hashlib.sha256(json.dumps([self.config, self.names], sort_keys=True).encode())
        for index in range(len(self)):
            try:
                found = self.item_path(index).stat()
            except FileNotFoundError as error:
                raise PathError(f"the prediction of {self.names[index]} is missing; run the prediction to its end",
                                code="path_missing") from error
            digest.update(f"{found.st_size} {found.st_mtime_ns};".encode())
        return digest.hexdigest()


def _difference(path: Path, config: dict, names: Sequence[str]) -> str:
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        before, images = old["config"], old["names"]
    except (ValueError, KeyError, TypeError):
        return "its configuration cannot be read"
    changed = [f"{key} was {before.get(key)!r}, now {config.get(key)!r}" for key in sorted({*before, *config})
               if before.get(key) != config.get(key)]
    if images != list(names):
        changed.append(f"{len(images)} images, now {len(names)} or others")
    return "; ".join(changed) or "another schema"


def _clear(folder: Path) -> None:
    # Only what a store itself writes is removed, never a folder as a whole.
    for path in [*(folder / ITEMS).glob("*.safetensors"), folder / RECORDS, folder / CONFIG]:
        path.unlink(missing_ok=True)
