"""What a run does with one photo, in this process or in a worker."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from facerecon.cli.inputs import Input
from facerecon.errors import FaceReconError
from facerecon.files import write_atomic

if TYPE_CHECKING:
    from facerecon.data import LoadedImage
    from facerecon.reconstruction import Reconstruction

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        records: its lines of the manifest, at least one.
        state: size and time of change of the file that was read, see `file_state`.
        trace: traceback of an unexpected error, for the log; or None.
    """

    records: list[Record]
    state: list[int] | None = None
    trace: str | None = None


Work = Callable[[Input], Outcome]


class PhotoJob(Protocol):
    """What a run asks of a verb: options that every photo shares, as plain values, so that they travel to workers.

    Attributes:
        folder: output folder.
    """

    folder: str

    def open(self) -> contextlib.AbstractContextManager[Work]:
        """Load what the work needs; gives the function that does one photo, and releases what it holds at the end."""


@dataclasses.dataclass(frozen=True)
class Job:
    """The job of the verbs that reconstruct.

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

    @contextlib.contextmanager
    def open(self):
        """Model and detector, see `PhotoJob.open`."""
        from facerecon.pipeline import FaceReconstructor

        with FaceReconstructor(**self.reconstructor) as reconstructor:
            def reconstruct(item: Input, photo: LoadedImage, loaded_ms: float) -> list[Record]:
                return _save_photo(self, item, photo, reconstructor.attempt(photo, boxes=item.boxes), loaded_ms)

            yield functools.partial(attempt_photo, reconstruct)


def make_worker(job: PhotoJob) -> Work:
    """Load what a job needs in a worker process, once for its life; gives the function that does one photo."""
    import signal

    # Ctrl-C reaches every process of a terminal; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Processes that have several threads each slow one another down several times over. Read when the libraries load.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    opened = job.open()
    work = opened.__enter__()
    # Held by the function: it must not be closed, nor collected, before the process ends.
    return functools.partial(_call, opened, work)


def _call(_held: Any, work: Work, item: Input) -> Outcome:
    return work(item)


def attempt_photo(work: Callable[[Input, LoadedImage, float], list[Record]], item: Input) -> Outcome:
    """Load one photo and work on it; never raises.

    A record has `status` ok, refused (bad input, by a stable `code`) or failed (`internal`: a bug, `oom`: no memory).

    Args:
        work: gives the photo's records from the input, the loaded photo and the milliseconds that loading took; it may raise.
        item: the photo.
    """
    from facerecon.data import load_image

    state, common = file_state(item.path), {"image": item.path}
    try:
        start = time.perf_counter()
        photo = load_image(item.path)
        return Outcome(work(item, photo, 1e3 * (time.perf_counter() - start)), state)
    except FaceReconError as error:
        return Outcome([{**common, **refusal(error)}], state)
    except MemoryError:
        return Outcome([{**common, "status": "failed", "code": "oom", "message": "out of memory; use fewer workers, or a smaller photo"}],
                       state, traceback.format_exc())
    except Exception as error:
        # The one place where anything is caught: a bug met by one photo must not lose the others. It is logged in full.
        return Outcome([{**common, "status": "failed", "code": "internal", "message": f"{type(error).__name__}: {error}"}],
                       state, traceback.format_exc())


def file_state(path: str) -> list[int] | None:
    """[bytes, time of change in ns] of a file, by which a resumed run knows that it is the same; None when it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _save_photo(job: Job, item: Input, photo: LoadedImage, outcomes: list[Reconstruction | FaceReconError],
                loaded_ms: float) -> list[Record]:
    shared = _write_overlay(job, item, photo, outcomes) if "overlay" in job.maps else {}
    records = []
    for index, outcome in enumerate(outcomes):
        record: Record = {"image": item.path, "face": index, "n_faces": len(outcomes)}
        if isinstance(outcome, FaceReconError):
            records.append({**record, **refusal(outcome)})
            continue
        files = {**_write_face(job, outcome, f"{item.stem}_{index}", shared, loaded_ms)}
        box = [round(float(value), 2) for value in outcome.box]
        records.append({**record, "status": "ok", "box": box, "confidence": round(float(outcome.confidence), 4),
                        "flags": list(outcome.flags), "files": files})
    return records


def refusal(error: FaceReconError) -> Record:
    """How a record tells of an error."""
    # A full disk is no fault of the photo: a resumed run tries it again.
    status = "failed" if error.code == "path_write" else "refused"
    return {"status": status, "code": error.code, "message": error.message}


def _write_overlay(job: Job, item: Input, photo: LoadedImage, outcomes: list[Reconstruction | FaceReconError]) -> dict[str, str]:
    """One picture of the photo with all its faces."""
    from facerecon import export
    from facerecon.reconstruction import Reconstruction

    faces = [outcome for outcome in outcomes if isinstance(outcome, Reconstruction)]
    if not faces:
        return {}
    pixels = photo.pixels
    # The largest face, most likely the nearest, is laid on last.
    for face in sorted(faces, key=lambda face: float(face.pose.scale)):
        pixels = face.photo_view().overlay(pixels)
    name = f"{item.stem}_overlay.jpg"
    export.write_image(Path(job.folder) / name, pixels)
    return {"overlay": name}


def _write_face(job: Job, face: Reconstruction, stem: str, shared: dict[str, str], loaded_ms: float) -> dict[str, str]:
    folder = Path(job.folder)
    files, start = {}, time.perf_counter()
    for kind in job.formats:
        for path in face.save(folder / f"{stem}.{kind}", units=job.units, texture=job.texture):
            files[path.suffix[1:] if path.suffix != ".png" else "texture"] = path.relative_to(folder).as_posix()
    about_maps = _write_maps(job, face, stem, files)
    files.update(shared)
    # The record of the face comes last: when it is there, everything that it names is.
    files["json"] = f"{stem}.json"
    record = {**face.to_dict(files={kind: Path(name).name for kind, name in files.items()}), **about_maps}
    record["timings_ms"] = {**record["timings_ms"], "load": round(loaded_ms, 1),
                            "export": round(1e3 * (time.perf_counter() - start), 1)}
    write_atomic(folder / files["json"], json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return files


def _write_maps(job: Job, face: Reconstruction, stem: str, files: dict[str, str]) -> dict[str, Any]:
    """Write the maps of one face and name them in `files`; returns what their readers need to know."""
    from facerecon import export

    chosen = [name for name in job.maps if name != "overlay"]
    folder, about = Path(job.folder), {}
    view = face.photo_view() if chosen else None
    for name in chosen:
        files[name] = f"{stem}_{name}.png"
        goal = folder / files[name]
        if name == "depth":
            about["depth"] = export.write_depth_png(goal, view.depth(), view.covered).to_dict()
        elif name == "normals":
            export.write_image(goal, export.normals_to_rgb(view.normals(), view.covered))
        else:
            export.write_image(goal, view.pncc() if name == "pncc" else view.albedo())
    return about
