"""`facerecon label`: active learning of landmarks by a person with a folder of photos and an annotation tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                  help="Choose photos to label, read the labels, train, and again: propose, import, retrain, status.")

Folder = Annotated[Path, typer.Argument(help="Folder of the labelling project.", metavar="PROJECT", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def register(parent: typer.Typer) -> None:
    """Add the verb to the command line."""
    parent.add_typer(app, name="label")


@app.callback()
def _root() -> None:
    """Choose photos to label, read the labels, train, and again: propose, import, retrain, status."""


@app.command()
def propose(
    project: Folder,
    photos: Annotated[list[str] | None, typer.Option(help="Folder, file or pattern with photos; needed once, later ones are "
                                                         "added. May be given several times.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Photos of this round [default: 10 in the first, then 40].")] = None,
    function: Annotated[str | None, typer.Option(help="nnm, entropy, k-center or random [default: nnm; random first].")] = None,
    weights: Annotated[Path | None, typer.Option(help="Network that ranks the photos and predicts their points [default: the "
                                                      "last that this project trained].")] = None,
    discard: Annotated[float | None, typer.Option(min=0, max=0.99, help="Share of the highest ranked photos to leave out as "
                                                                        "outliers [default: 0.1].")] = None,
    format: Annotated[str, typer.Option(help="Of the task: coco, cvat or pts.")] = "coco",
    scheme: Annotated[str | None, typer.Option(help="Landmarks: ibug68, wflw98, aflw19, five, or a .json of yours [default: "
                                                    "ibug68]. Fixed by the first round.")] = None,
    held_out: Annotated[float | None, typer.Option(min=0, help="Photos to measure with, drawn at random, as a share of the "
                                                               "photos to train on [default: 0.2]. Fixed by the first "
                                                               "round.")] = None,
    face_crops: Annotated[bool, typer.Option("--face-crops", help="The photos are square crops; look for no face.")] = False,
    baseline: Annotated[bool, typer.Option("--baseline", help="Instead of a new round, write the task of the random baseline: "
                                                              "its photos that have no label yet.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of every random choice [default: 0]. Fixed like the scheme.")] = None,
    as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Choose the photos to label next and write a task folder for an annotation tool.

    The folder has the pictures, and a file with points to correct: the network's, in the first round a mean face. A round that
    is not trained and has photos without label is written again, labels included.

    \b
    Examples:
      facerecon label propose project --photos photos/
      facerecon label propose project --count 40 --function nnm --format cvat
    """
    from facerecon.cli.label_tasks import propose_round

    fixed = {"scheme": scheme, "held_out_share": held_out, "seed": seed, "crops": face_crops or None}
    result = propose_round(project, photos or [], fixed, count=count, function=function, discard=discard, weights=weights,
                           format=format, baseline=baseline, quiet=quiet or as_json)
    _print(result, as_json, [
        f"round {result['round']}: {len(result['photos'])} photos to label{', as before' if result['repeated'] else ''} "
        f"({len(result['proposed'])} to train on by {result['function']}, {len(result['held_out'])} to measure with)"
        if not baseline else f"random baseline: {len(result['photos'])} photos to label",
        f"  pictures     {result['images']}", f"  annotations  {result['annotations']}",
        *([f"  label set-up {result['label_setup']}"] if result["label_setup"] else []),
        f"  then         facerecon label import {project} FILE"])


@app.command("import")
def import_labels(
    project: Folder,
    source: Annotated[Path, typer.Argument(help="What the annotation tool saved: a file, a folder, or a .zip of either.",
                                           metavar="FILE_OR_DIR", show_default=False)],
    format: Annotated[str, typer.Option(help="coco, cvat, pts, or auto: by the suffix.")] = "auto",
    origin: Annotated[str, typer.Option(help="Of COCO keypoints: centre (COCO's own: the centre of the top-left pixel is 0, 0) "
                                             "or edge (it is 0.5, 0.5: exports of CVAT).")] = "centre",
    outside: Annotated[str, typer.Option(help="A point beyond the photo's edge: refuse, absent or keep.")] = "refuse",
    held_out: Annotated[bool, typer.Option("--held-out", help="Measure with these labels, and never train on them.")] = False,
    as_json: Json = False,
) -> None:
    """Read labels, check all of them, and record them; one label that is wrong, and none is recorded.

    \b
    Examples:
      facerecon label import project project/tasks/round-00/annotations.json
      facerecon label import project export.zip --format cvat
    """
    from facerecon.cli.label_tasks import import_annotations

    result = import_annotations(project, source, format=format, origin=origin, outside=outside, held_out=held_out)
    lines = [f"{result['imported']} photos: {result['new']} new labels, {result['changed']} changed, {result['same']} the same"]
    if result["absent_points"]:
        lines.append(f"  {result['absent_points']} points are absent, in {result['photos_with_absent']} photos")
    if result["as_proposed"]:
        lines.append(f"  {len(result['as_proposed'])} photos have exactly the points that were proposed; were they looked at? "
                     f"{', '.join(result['as_proposed'][:4])}")
    lines += [f"  still without label in round {result['round']}: {len(result['missing'])}",
              f"  then  facerecon label retrain {project}"]
    _print(result, as_json, lines)


@app.command()
def retrain(
    project: Folder,
    changes: Annotated[list[str] | None, typer.Argument(help="Changes of the recipe, such as steps=3000.",
                                                        metavar="[KEY=VALUE]...", show_default=False)] = None,
    recipe: Annotated[str, typer.Option(help="Name of a landmark recipe, or a .toml of yours.")] = "landmarks-cpu-128",
    init: Annotated[Path | None, typer.Option(help="Weights of the autoencoder that is adapted; or pretrained=false.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave the training on random photos out.")] = False,
    as_json: Json = False, quiet: Quiet = False,
) -> None:
    """Train from scratch on all labels and, where the labels are there, on as many random photos beside; measure both.

    A training that was stopped goes on where it was.

    \b
    Examples:
      facerecon label retrain project --init autoencoder-128
      facerecon label retrain project pretrained=false steps=3000
    """
    from facerecon.cli.label_training import retrain_round

    result = retrain_round(project, recipe, changes or [], init=init, device=device, baseline=not no_baseline,
                           quiet=quiet or as_json)
    if result["stopped"]:
        print("facerecon: stopped; the same command goes on from here")
        raise typer.Exit(130)
    lines = [f"round {result['round']}: {_trained(result['trained'])}", f"  weights  {project / result['trained']['weights']}",
             f"  random   {_trained(result['baseline']) if result['baseline'] else result['no_baseline']}"]
    if result["left_out"]:
        lines.append(f"  {len(result['left_out'])} labelled photos were left out: none of their points is there")
    _print(result, as_json, [*lines, f"  then     facerecon label propose {project}"])


@app.command()
def status(project: Folder, as_json: Json = False) -> None:
    """What is labelled, and what each round reached.

    \b
    Example:
      facerecon label status project
    """
    from facerecon.cli.label_tasks import describe

    result = describe(project)
    lines = [f"{result['photos']} photos ({result['unusable']} not usable), {result['labelled']} labelled: "
             f"{result['training']} to train on, {result['held_out']} to measure with; {result['scheme']}, "
             f"seed {result['seed']}"]
    for step in result["rounds"]:
        lines.append(f"round {step['number']}: {step['labelled']} of {step['proposed']} labelled ({step['function']}); "
                     f"{_trained(step['trained']) if step['trained'] else 'not trained'}; random: "
                     f"{_trained(step['baseline']) if step['baseline'] else 'not trained'}")
    if result["baseline_missing"]:
        lines.append(f"{result['baseline_missing']} labels are missing for the random baseline: "
                     f"facerecon label propose {project} --baseline")
    _print(result, as_json, lines)


def _trained(found: dict) -> str:
    metrics = found["metrics"]
    if metrics is None:
        return f"trained on {found['samples']}, not measured (no label to measure with)"
    return (f"trained on {found['samples']}: NME {100 * metrics['mean']:.2f} % (median {100 * metrics['median']:.2f} %, "
            f"failures {100 * metrics['failure_rate']:.0f} %, {metrics['n']} photos, {metrics['normaliser']})")


def _print(result: dict, as_json: bool, lines: list[str]) -> None:
    if as_json:
        import json

        print(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines))
