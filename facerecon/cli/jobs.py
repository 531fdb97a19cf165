"""What a run does with one photo; runs in the main process or in a worker."""

from __future__ import annotations

import dataclasses
import json
import traceback
from pathlib import Path
from typing import Any

from facerecon.cli.inputs import Input
from facerecon.cli.journal import file_bytes
from facerecon.errors import FaceReconError
from facerecon.files import write_atomic

_reconstructor = None


@dataclasses.dataclass(frozen=True)
class Job:
    """Options of a run that every photo shares; plain values, so that they travel to workers.

    Attributes:
        folder: output folder.
        reconstructor: keyword arguments of `FaceReconstructor`.
        formats: of "obj", "glb", "ply", "pts".
        maps: of `facerecon.views.MAPS`.
        texture: "uv", "vertex" or "none".
        units: of OBJ and PLY.
    """

    folder: str
    reconstructor: dict[str, Any]
    formats: tuple[str, ...]
    maps: tuple[str, ...]
    texture: str
    units: str


def prepare(job: Job, *, threads: int | None = None) -> None:
    """Load model and detector once for this process."""
    global _reconstructor
    import torch

    from facerecon.pipeline import FaceReconstructor

    if threads is not None:
        torch.set_num_threads(threads)
    _reconstructor = FaceReconstructor(**job.reconstructor)


def finish() -> None:
    """Release what `prepare` loaded."""
    global _reconstructor
    if _reconstructor is not None:
        _reconstructor.close()
        _reconstructor = None


def process(job: Job, item: Input) -> list[dict[str, Any]]:
    """Reconstruct one photo and write its files; at least one record, and never an exception.

    A record has `status` ok, refused (bad input, by a stable `code`) or failed (`internal`: a bug; the traceback is in the
    record's `trace` for the log).
    """
    common = {"image": item.path, "output": item.stem, "bytes": file_bytes(item.path)}
    try:
        outcomes = _reconstructor.attempt(item.path, boxes=item.boxes)
        several = {**common, "n_faces": len(outcomes)}
        return [_one_face(job, item, several, index, outcome) for index, outcome in enumerate(outcomes)]
    except FaceReconError as error:
        return [{**common, **_refusal(error)}]
    except Exception as error:
        # The one place where anything is caught: a bug met by one photo must not lose the others. It is logged in full.
        return [{**common, "status": "failed", "code": "internal", "message": f"{type(error).__name__}: {error}",
                 "trace": traceback.format_exc()}]


def _one_face(job: Job, item: Input, common: dict[str, Any], index: int, outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, FaceReconError):
        return {**common, "face": index, **_refusal(outcome)}
    stem = f"{item.stem}_{index}"
    files = _write_files(job, outcome, stem)
    return {**common, "face": index, "status": "ok", "confidence": round(float(outcome.confidence), 4),
            "flags": list(outcome.flags), "files": files}


def _refusal(error: FaceReconError) -> dict[str, Any]:
    return {"status": "refused", "code": error.code, "message": error.message}


def _write_files(job: Job, face: Any, stem: str) -> dict[str, str]:
    import time

    folder = Path(job.folder)
    files, start = {}, time.perf_counter()
    for kind in job.formats:
        texture = "vertex" if kind == "ply" and job.texture == "uv" else job.texture
        written = face.save(folder / f"{stem}.{kind}", units=job.units, texture=texture)
        for path in written:
            files[path.suffix[1:] if path.suffix != ".png" else "texture"] = path.relative_to(folder).as_posix()
    extra = _write_maps(job, face, stem, files)
    # The record of the face comes last: when it is there, everything that it names is.
    files["json"] = f"{stem}.json"
    record = face.to_dict(files=files)
    record.update(extra)
    record["timings_ms"]["export"] = round(1e3 * (time.perf_counter() - start), 1)
    write_atomic(folder / files["json"], json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return files


def _write_maps(job: Job, face: Any, stem: str, files: dict[str, str]) -> dict[str, Any]:
    if not job.maps:
        return {}
    from facerecon import export
    from facerecon.data import load_image

    folder, view, extra = Path(job.folder), face.photo_view(), {}
    for name in job.maps:
        files[name] = f"{stem}_{name}.{'jpg' if name == 'overlay' else 'png'}"
        goal = folder / files[name]
        if name == "overlay":
            export.write_image(goal, view.overlay(load_image(face.image).pixels))
        elif name == "depth":
            extra["depth"] = dataclasses.asdict(export.write_depth_png(goal, view.depth(), view.covered))
        elif name == "normals":
            export.write_image(goal, export.normals_to_rgb(view.normals(), view.covered))
        else:
            export.write_image(goal, view.pncc() if name == "pncc" else view.albedo())
    return extra
