"""The verbs that run over photos: reconstruct, landmarks, pncc, annotate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerecon.errors import ArgumentError, PathError

if TYPE_CHECKING:
    from facerecon.cli.jobs import PhotoJob

Inputs = Annotated[list[str], typer.Argument(help="Photos, folders (searched recursively) or patterns such as 'photos/*.jpg'.",
                                             metavar="INPUT...", show_default=False)]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.", metavar="OUT")]
Model = Annotated[str, typer.Option(help="Face model: 'open', or the path of a .facemodel file.")]
Fit = Annotated[str, typer.Option(help="'full', or 'landmarks' to leave out the photometric stage (fast).")]
Faces = Annotated[str, typer.Option(help="Which faces of a photo: 'all', 'largest', or how many of the largest.")]
Boxes = Annotated[Path | None, typer.Option(help='JSON lines {"image": "x.jpg", "box": [x0, y0, x1, y1]} instead of detection.')]
Device = Annotated[str, typer.Option(help="'auto', 'cpu' or 'cuda'. Fits run on the CPU, networks on either.")]
Weights = Annotated[Path | None, typer.Option(help="A network instead of a fit: weights that `facerecon train` wrote, or the name of "
                                                        "those that ship, landmarks-128 or pncc-128.")]
Landmarker = Annotated[Path | None, typer.Option(help="Another MediaPipe face landmarker .task file.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Processes; each loads the model once, about 1 GB.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start anew where an earlier run wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print the manifest's records to standard output as they are ready.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors of usage.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random (nothing is, in a fit).")]

FORMATS, MAPS = ("obj", "glb", "ply"), ("overlay", "depth", "normals", "pncc", "albedo")
TEXTURES, UNITS, STAGES = ("uv", "vertex", "none"), ("mm", "cm", "m"), ("full", "landmarks")


def reconstruct(
    inputs: Inputs, output: Output = Path("out"),
    method: Annotated[str, typer.Option(help="'fit'; 'encoder', one pass of a network; 'auto', a fit that begins there, or "
                                             "'fit' where there are no encoder weights.")] = "auto",
    weights: Annotated[Path | None, typer.Option(help="Weights of an encoder that `facerecon train mofa-...` wrote, for "
                                                      "'encoder' and 'auto'.")] = None,
    pncc_weights: Annotated[Path | None, typer.Option("--pncc-weights", help="Weights of a PNCC network, for an encoder with "
                                                                             "PNCC input.")] = None,
    model: Model = "open", fit: Fit = "full",
    formats: Annotated[str, typer.Option("--format", help="Mesh files: of obj, glb, ply, with commas; or 'none'.")] = "obj,glb",
    texture: Annotated[str, typer.Option(help="'uv' (an image), 'vertex' (colours in OBJ and PLY) or 'none'.")] = "uv",
    texture_size: Annotated[int, typer.Option(min=64, max=8192, help="Side of the texture, px.")] = 1024,
    maps: Annotated[str, typer.Option(help="Pictures: of overlay, depth, normals, pncc, albedo; or 'none'.")] = "overlay",
    faces: Faces = "all", boxes: Boxes = None,
    units: Annotated[str, typer.Option(help="Of OBJ and PLY: mm, cm or m. GLB is in metres.")] = "mm",
    ipd_mm: Annotated[float | None, typer.Option("--ipd-mm", help="Distance between the irises' centres in mm; fixes the size, "
                                                                  "which one photo does not tell.")] = None,
    device: Device = "auto", landmarker: Landmarker = None, workers: Workers = 1, resume: Resume = False,
    overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False, seed: Seed = 0,
) -> None:
    """Turn photos into textured, animatable 3D face meshes.

    Each face gives OUT/NAME_0.obj (with .mtl and .png), NAME_0.glb and NAME_0.json, the next face NAME_1 and so on;
    OUT/manifest.jsonl lists every photo. Exit status: 0 all ok, 2 wrong usage, 3 some photos not ok.

    \b
    Examples:
      facerecon reconstruct photo.jpg -o out
      facerecon reconstruct photos/ 'more/*.png' -o out --format glb --workers 4
      facerecon reconstruct photos/ -o out --resume
      facerecon reconstruct photo.jpg -o out --maps overlay,depth,pncc --ipd-mm 63
      facerecon reconstruct photos/ -o out --method encoder --weights run/weights.safetensors --faces largest
    """
    chosen = _several("format", formats, FORMATS)
    options = {
        "model": model, "method": method, "stages": _choice("fit", fit, STAGES), "texture_size": texture_size, "ipd_mm": ipd_mm,
        # Without a mesh file nobody sees the texture.
        "texture": _choice("texture", texture, TEXTURES) if chosen else "none"}
    networks = {name: path for name, path in (("weights", weights), ("pncc_weights", pncc_weights)) if path is not None}
    options |= {name: str(path) for name, path in networks.items()}
    _run("reconstruct", inputs, output, options, formats=chosen, maps=_several("maps", maps, MAPS), texture=texture,
         units=_choice("units", units, UNITS), faces=faces, boxes=boxes, device=device, landmarker=landmarker, workers=workers,
         resume=resume, overwrite=overwrite, as_json=as_json, quiet=quiet, seed=seed, networks=networks)


def landmarks(inputs: Inputs, output: Output = Path("out"), model: Model = "open", weights: Weights = None,
              faces: Faces = "all", boxes: Boxes = None, device: Device = "auto", landmarker: Landmarker = None,
              workers: Workers = 1, resume: Resume = False, overwrite: Overwrite = False, as_json: Json = False,
              quiet: Quiet = False, seed: Seed = 0) -> None:
    """Find landmarks: OUT/NAME_0.pts and NAME_0.json for each face.

    Without --weights they are the 68 points of the fitted model with depth, so hidden ones are there too, and the JSON says how
    visible each is. With --weights a heatmap network finds the points of its own scheme, and the JSON says how sure it is of
    each.

    \b
    Examples:
      facerecon landmarks photos/ -o out
      facerecon landmarks photos/ -o out --weights landmarks-128
    """
    options = {"model": model, "method": "auto", "stages": "landmarks", "texture": "none"}
    _run("landmarks", inputs, output, options, formats=("pts",), weights=weights, faces=faces, boxes=boxes, device=device,
         landmarker=landmarker, workers=workers, resume=resume, overwrite=overwrite, as_json=as_json, quiet=quiet, seed=seed)


def pncc(inputs: Inputs, output: Output = Path("out"), model: Model = "open", fit: Fit = "full", weights: Weights = None,
         faces: Faces = "all", boxes: Boxes = None, device: Device = "auto", landmarker: Landmarker = None,
         workers: Workers = 1, resume: Resume = False, overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False,
         seed: Seed = 0) -> None:
    """Draw the projected normalised coordinate code of each face: OUT/NAME_0_pncc.png, at the photo's resolution.

    Without --weights it is drawn from the fitted mesh. With --weights a network predicts it, and OUT/NAME_0.json has the head
    pose that is recovered from it, with its error; --model is then the model that the network was trained with.

    \b
    Examples:
      facerecon pncc photos/ -o out
      facerecon pncc photos/ -o out --weights pncc-128
    """
    options = {"model": model, "method": "auto", "stages": _choice("fit", fit, STAGES), "texture": "none"}
    if weights is not None and fit != "full":
        raise ArgumentError("wanted at most one of --fit and --weights, got both")
    _run("pncc", inputs, output, options, maps=("pncc",), weights=weights, faces=faces, boxes=boxes, device=device,
         landmarker=landmarker, workers=workers, resume=resume, overwrite=overwrite, as_json=as_json, quiet=quiet, seed=seed,
         special={"model": model})


def annotate(
    folder: Annotated[Path, typer.Argument(help="Folder of photos (searched recursively).", metavar="DIR", show_default=False)],
    weights: Annotated[Path, typer.Option(help="Weights of a PNCC network: a file that `facerecon train` wrote, or those that "
                                               "ship.")] = Path("pncc-128"),
    output: Output = Path("out"), faces: Faces = "largest", boxes: Boxes = None,
    crops: Annotated[bool, typer.Option("--crops", help="The photos are face crops as in training: look for no face.")] = False,
    device: Device = "auto", landmarker: Landmarker = None, workers: Workers = 1, resume: Resume = False,
    overwrite: Overwrite = False, as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Give every photo of a folder its predicted coordinate code: OUT/NAME_0_pncc.png, to be stacked on the photo.

    Each code has its photo's size; OUT/manifest.jsonl says which belongs to which. A photo without a face does not stop the
    run.

    \b
    Examples:
      facerecon annotate celeba/ -o celeba-pncc
      facerecon annotate celeba/ -o celeba-pncc --weights pncc.safetensors
    """
    if crops and boxes is not None:
        raise ArgumentError("wanted at most one of --crops and --boxes, got both")
    if not folder.is_dir():
        raise PathError(f"{folder}: wanted a folder of photos; for single photos use `facerecon pncc`", code="path_missing")
    _run("annotate", [str(folder)], output, {"model": "open"}, weights=weights, faces=faces, boxes=boxes, device=device,
         landmarker=landmarker, workers=workers, resume=resume, overwrite=overwrite, as_json=as_json, quiet=quiet, seed=0,
         special={"crops": crops})


def _run(verb: str, inputs: list[str], output: Path, options: dict[str, Any], *, faces: str, boxes: Path | None, device: str,
         landmarker: Path | None, workers: int, resume: bool, overwrite: bool, as_json: bool, quiet: bool, seed: int,
         formats: tuple[str, ...] = (), maps: tuple[str, ...] = (), texture: str = "none", units: str = "mm",
         weights: Path | None = None, special: dict[str, Any] | None = None, networks: dict[str, Path] | None = None) -> None:
    from facerecon.assets import weights_path
    from facerecon.cli.boxes import read_boxes
    from facerecon.cli.display import Display
    from facerecon.cli.inputs import expand_inputs
    from facerecon.cli.journal import Journal
    from facerecon.cli.runner import run

    shared = {"faces": int(faces) if faces.isdecimal() else faces, "device": device,
              "landmarker": None if landmarker is None else str(landmarker)}
    items = expand_inputs(inputs, excluded=output, boxes=None if boxes is None else read_boxes(boxes))
    if weights is None:
        from facerecon.cli.jobs import Job

        options = {**options, **shared, "seed": seed}
        job = Job(str(output), options, formats, maps, texture, units)
        asked = {"verb": verb, **options, "formats": formats, "maps": maps, "texture": texture, "units": units,
                 **_fingerprints(model=options["model"], landmarker=landmarker, boxes=boxes, **(networks or {}),
                                 **_shipped_networks(options))}
    else:
        weights = weights_path(weights)
        # `special` holds what only this verb's network job takes.
        special = {} if special is None else special
        if options["model"] != special.get("model", "open"):
            raise ArgumentError("wanted at most one of --model and --weights, got both")
        job = _network_job(verb)(str(output), str(weights), **shared, **special)
        asked = {"verb": verb, **shared, **special, "weights": str(weights),
                 **_fingerprints(weights=weights, landmarker=landmarker, boxes=boxes, model=special.get("model"))}
    journal = Journal(output, asked, resume=resume, overwrite=overwrite)
    display = Display(verb, as_json=as_json, quiet=quiet)
    raise typer.Exit(run(job, items, journal, display, workers=workers))


def _network_job(verb: str) -> Callable[..., PhotoJob]:
    """The job of a verb that was given weights."""
    if verb == "landmarks":
        from facerecon.cli.landmark_job import LandmarkJob

        return LandmarkJob
    if verb in ("pncc", "annotate"):
        from facerecon.cli.pncc_job import PnccJob

        return PnccJob
    raise ArgumentError(f"{verb}: no network does this; leave --weights out")


def _shipped_networks(options: dict[str, Any]) -> dict[str, str]:
    """The networks that ship, as far as a run will use them."""
    from facerecon.assets import assets_folder
    from facerecon.pipeline.encoder_weights import ENCODER_ASSET, encoder_ships
    from facerecon.pipeline.landmark_network import LANDMARK_ASSET, landmark_network_ships

    used = {}
    if options["method"] != "fit" and "weights" not in options and encoder_ships():
        used["encoder"] = ENCODER_ASSET
    if options["method"] == "auto" and landmark_network_ships():
        used["landmarks"] = LANDMARK_ASSET
    return {name: str(assets_folder() / asset) for name, asset in used.items()}


def _fingerprints(**files: Any) -> dict[str, str]:
    """Version and hashes of what a run's results depend on besides its options."""
    from facerecon import __version__
    from facerecon.assets import manifest
    from facerecon.files import sha256_file

    found = {"facerecon": __version__}
    if files.get("model") == "open":
        found["model_sha256"] = manifest()["models/open-head.facemodel"]["sha256"]
        files.pop("model")
    for name, path in files.items():
        # A file that is not there is refused where it is read.
        with contextlib.suppress(OSError):
            if path is not None:
                found[f"{name}_sha256"] = sha256_file(path)
    return found


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ArgumentError(f"--{name}: wanted one of {', '.join(choices)}, got {value!r}")
    return value


def _several(name: str, value: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    unknown = [part for part in parts if part not in choices]
    if parts != ("none",) and unknown:
        raise ArgumentError(f"--{name}: wanted some of {', '.join(choices)}, with commas, or 'none' alone; got {value!r}")
    return () if parts == ("none",) else parts
