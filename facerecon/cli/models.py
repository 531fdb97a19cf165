"""`facerecon models`: what ships, and under which licence."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Face models and weights that ship, with their licences.")

COMMERCIAL = frozenset({"CC0-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0"})


@app.callback()
def _root() -> None:
    """Face models and weights that ship, with their licences."""


@app.command("list")
def list_models(commercial_only: Annotated[bool, typer.Option("--commercial-only", help="Only what may be sold.")] = False,
                as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List models and weights: file, size, licence, source."""
    from facerecon.assets import manifest

    rows = [{"name": name, "bytes": entry["bytes"], "licence": entry["licence"], "source": entry["source"],
             "commercial": entry["licence"] in COMMERCIAL}
            for name, entry in manifest().items() if name.endswith((".facemodel", ".safetensors"))]
    rows = [row for row in rows if row["commercial"] or not commercial_only]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['name']}  {row['bytes'] / 1e6:.1f} MB  {row['licence']}\n    {row['source']}")


@app.command()
def show(model: Annotated[str, typer.Argument(help="'open', or the path of a .facemodel file.")] = "open") -> None:
    """Print what a face model holds."""
    from facerecon.morphable import load_model

    loaded = load_model(model)
    identity, expression, albedo = loaded.sizes
    print(json.dumps({
        "name": loaded.name, "licence": loaded.licence, "units": loaded.units, "vertices": len(loaded.mean),
        "faces": len(loaded.faces), "identity": identity, "expression": expression, "albedo": albedo,
        "expression_names": list(loaded.expression_names), "masks": {name: int(mask.sum()) for name, mask in loaded.masks.items()},
        "landmarks": {name: len(embedding.triangle) for name, embedding in loaded.embeddings.items()},
        "source": loaded.header.get("source")}, indent=1))
