"""The verbs that run over photos: reconstruct, landmarks, pncc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from facerecon.errors import ArgumentError

Inputs = Annotated[list[str], typer.Argument(help="Photos, folders (searched recursively) or globs.", metavar="INPUT...")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
Model = Annotated[str, typer.Option(help="'open', or the path of a .facemodel file.")]
Faces = Annotated[str, typer.Option(help="'all', 'largest', or how many of the largest.")]
Boxes = Annotated[Optional[Path], typer.Option(help='JSON lines {"image": ..., "box": [x0, y0, x1, y1]} instead of detection.')]
Device = Annotated[str, typer.Option(help="'auto' or 'cpu'.")]
Landmarker = Annotated[Optional[Path], typer.Option(help="Another MediaPipe face landmarker .task file.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Processes; each loads the model once.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew where an earlier run wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print the manifest's records to standard output as they are ready.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors of usage.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]

FORMATS, MAPS, TEXTURES, UNITS = ("obj", "glb", "ply"), ("overlay", "depth", "normals", "pncc", "albedo"), (
    "uv", "vertex", "none"), ("mm", "cm", "m")


def reconstruct(inputs: Inputs, output: Output = Path("out"),
                method: Annotated[str, typer.Option(help="'auto', 'fit' or 'encoder'.")] = "auto",
                model: Model = "open",
                fit: Annotated[str, typer.Option(help="'full', or 'landmarks' to leave out the photometric stage.")] = "full",
                format: Annotated[str, typer.Option(help="Of obj, glb, ply; comma-separated; or 'none'.")] = "obj,glb",
                texture: Annotated[str, typer.Option(help="'uv', 'vertex' (colours) or 'none'.")] = "uv",
                texture_size: Annotated[int, typer.Option(min=64, max=8192, help="Side of the texture, px.")] = 1024,
                maps: Annotated[str, typer.Option(help="Of overlay, depth, normals, pncc, albedo; or 'none'.")] = "overlay",
                faces: Faces = "all", boxes: Boxes = None,
                units: Annotated[str, typer.Option(help="Of OBJ and PLY: mm, cm or m. GLB is in metres.")] = "mm",
                ipd_mm: Annotated[Optional[float], typer.Option(help="Distance between the irises; fixes the size.")] = None,
                device: Device = "auto", landmarker: Landmarker = None, workers: Workers = 1, resume: Resume = False,
                overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False, seed: Seed = 0) -> None:
    """Turn photos into textured 3D face meshes.

    Each face gives OUT/NAME_0.obj (with .mtl and .png), .glb, .json and maps; OUT/manifest.jsonl lists every input. Exit
    status: 0 all ok, 2 wrong usage, 3 some inputs not ok.

    Examples:

      facerecon reconstruct photo.jpg -o out

      facerecon reconstruct photos/ 'more/*.png' -o out --format glb --workers 4 --resume

      facerecon reconstruct photo.jpg -o out --maps overlay,depth,pncc --units m --ipd-mm 63
    """
    options = _reconstructor_options(method=method, model=model, stages=_choice("fit", fit, ("full", "landmarks")), faces=faces,
                                     texture=_choice("texture", texture, TEXTURES), texture_size=texture_size, ipd_mm=ipd_mm,
                                     device=device, landmarker=landmarker, seed=seed)
    formats, chosen = _several("format", format, FORMATS), _several("maps", maps, MAPS)
    if not formats:
        options["texture"] = "none"
    _run(inputs, output, options, formats, chosen, texture, _choice("units", units, UNITS), boxes, workers, resume, overwrite,
         as_json, quiet)


def landmarks(inputs: Inputs, output: Output = Path("out"), model: Model = "open", faces: Faces = "all", boxes: Boxes = None,
              device: Device = "auto", landmarker: Landmarker = None, workers: Workers = 1, resume: Resume = False,
              overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False, seed: Seed = 0) -> None:
    """Find 68 landmarks with depth and visibility: OUT/NAME_0.pts and .json for each face.

    Example: facerecon landmarks photos/ -o out --json
    """
    options = _reconstructor_options(method="fit", model=model, stages="landmarks", faces=faces, texture="none", texture_size=64,
                                     ipd_mm=None, device=device, landmarker=landmarker, seed=seed)
    _run(inputs, output, options, ("pts",), (), "none", "mm", boxes, workers, resume, overwrite, as_json, quiet)


def pncc(inputs: Inputs, output: Output = Path("out"), model: Model = "open", faces: Faces = "all", boxes: Boxes = None,
         device: Device = "auto", landmarker: Landmarker = None, workers: Workers = 1, resume: Resume = False,
         overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False, seed: Seed = 0) -> None:
    """Write the projected normalised coordinate code of each face, drawn from its fit: OUT/NAME_0_pncc.png.

    Example: facerecon pncc photos/ -o out
    """
    options = _reconstructor_options(method="fit", model=model, stages="landmarks", faces=faces, texture="none", texture_size=64,
                                     ipd_mm=None, device=device, landmarker=landmarker, seed=seed)
    _run(inputs, output, options, (), ("pncc",), "none", "mm", boxes, workers, resume, overwrite, as_json, quiet)


def _reconstructor_options(**options: Any) -> dict[str, Any]:
    faces = options["faces"]
    options["faces"] = int(faces) if faces.isdecimal() else faces
    options["landmarker"] = None if options["landmarker"] is None else str(options["landmarker"])
    return options


def _run(inputs: list[str], output: Path, options: dict[str, Any], formats: tuple[str, ...], maps: tuple[str, ...],
         texture: str, units: str, boxes: Path | None, workers: int, resume: bool, overwrite: bool, as_json: bool,
         quiet: bool) -> None:
    from facerecon.cli.inputs import expand_inputs, read_boxes
    from facerecon.cli.journal import Journal
    from facerecon.cli.jobs import Job
    from facerecon.cli.runner import run

    items = expand_inputs(inputs, boxes=None if boxes is None else read_boxes(boxes), excluded=output)
    job = Job(str(output), options, formats, maps, texture, units)
    _check_early(options)
    asked = {**options, "formats": formats, "maps": maps, "units": units, "texture": texture,
             "boxes": None if boxes is None else str(boxes)}
    journal = Journal(output, asked, resume=resume, overwrite=overwrite)
    raise typer.Exit(run(job, items, journal, workers=workers, quiet=quiet, as_json=as_json))


def _check_early(options: dict[str, Any]) -> None:
    """Refuse what cannot work before the output folder is touched and before workers start."""
    from facerecon.pipeline import FaceReconstructor

    FaceReconstructor(**options).close()


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ArgumentError(f"--{name}: wanted one of {', '.join(choices)}, got {value!r}")
    return value


def _several(name: str, value: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    return () if chosen == ("none",) else tuple(_choice(name, part, choices) for part in chosen)
