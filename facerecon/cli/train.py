"""`facerecon train`: one of the package's networks, by a recipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from facerecon.errors import ArgumentError, BackendError

EXIT_STOPPED = 130


def train(
    recipe: Annotated[str | None, typer.Argument(help="Name of a recipe (see --list), or the path of a .toml file.")] = None,
    changes: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Keys of the recipe to change, such as "
                                                                                       "batch_size=16 augmentation.flip=0.")] = None,
    data: Annotated[list[str] | None, typer.Option(metavar="PATH[=SHARE]", help="Crop archive (faces.jsonl with its shards), folder of "
                                                   "face crops, or, for PNCC, folder of training pairs. For MoFA also photos and "
                                                   "synthetic archives; several mix, each with its share of every batch.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for checkpoints, weights and logs.")] = None,
    init: Annotated[Path | None, typer.Option(help="Weights to start from: a file, or autoencoder-128, which ships.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that holds a run.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that share each batch, with a device each.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="Threads of a process on a CPU; 0: the cores that there are, divided among the "
                                                     "processes.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")] = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Refuse what is not repeatable on an accelerator.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the data, written into the weights.")] = "not stated",
    listing: Annotated[bool, typer.Option("--list", help="Print the recipes and what each reproduces.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe with the changes, and do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train an autoencoder, a landmark network, a PNCC network or a MoFA encoder. Needs: pip install facerecon[train]

    facerecon train --list

    facerecon train landmarks-cpu-128 kind=two_flow_sum samples=50 --data faces --init autoencoder-128 -o run

    facerecon train landmarks-cpu-128 kind=two_flow_sum samples=50 --data faces --init autoencoder-128 -o run --resume

    facerecon train mofa-cpu-128 --data faces --data synthetic=0.5 -o run

    Scalars and pictures are for TensorBoard: tensorboard --logdir run
    """
    try:
        from facerecon.training.recipe import load_recipe, recipe_names
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    if listing:
        for name in recipe_names():
            print(f"{name:24} {load_recipe(name).reproduces}")
        return
    if recipe is None:
        raise ArgumentError(f"wanted a recipe: {', '.join(recipe_names())}")
    chosen = load_recipe(recipe, changes or ())
    if show:
        _show(chosen.to_dict())
        return
    if not data or output is None:
        raise ArgumentError("wanted --data PATH and --output FOLDER")
    try:
        import torch

        from facerecon.training.material import load_material
        from facerecon.training.run import train as run
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    torch.set_num_threads(threads or max(1, _cores() // devices))
    first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    material = load_material(chosen, data, seed=seed, licence=licence, cache=output / "landmarks.jsonl")
    if first and not quiet:
        validation = 0 if material.validation is None else len(material.validation)
        steps = chosen.total_steps(len(material.training), material.full or len(material.training))
        print(f"{chosen.name}: {steps} steps of {chosen.batch_size} with {len(material.training)} samples, {validation} to validate",
              file=sys.stderr)
        dropped = getattr(material.training, "dropped", {})
        if dropped:
            print(f"left out: {', '.join(f'{count} {code}' for code, count in dropped.items())}", file=sys.stderr)
    result = run(chosen, material, output, init=init, resume=resume, overwrite=overwrite, device=device, devices=devices, seed=seed,
                 deterministic=deterministic, progress=False if quiet else None)
    if first and not quiet:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in sorted(result.metrics.items()))
        print(f"{result.steps} steps{f', {result.skipped} skipped' if result.skipped else ''}: {figures}")
        print(f"written to {result.folder}" if result.finished else f"stopped; the same command with --resume goes on in {result.folder}")
    if not result.finished:
        raise typer.Exit(EXIT_STOPPED)


def _missing(error: ModuleNotFoundError) -> BackendError:
    return BackendError(f"training needs the package {error.name}, which is not installed: pip install facerecon[train]",
                        code="backend_missing")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show(values: dict, prefix: str = "") -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _show(value, f"{prefix}{key}.")
        else:
            print(f"{prefix}{key} = {','.join(map(str, value)) if isinstance(value, list) else value}")
