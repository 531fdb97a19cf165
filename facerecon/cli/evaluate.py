"""`facerecon evaluate`: benchmarks and scans, with tables that say what they measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Score reconstructions: on AFLW2000-3D, against scans, one method against another.")

EXIT_SOME_NOT_OK = 3


def register(parent: typer.Typer) -> None:
    """Add the verb to the command line."""
    parent.add_typer(app, name="evaluate")


@app.callback()
def _root() -> None:
    """Score reconstructions: on AFLW2000-3D, against scans, one method against another."""


@app.command()
def aflw2000(
    folder: Annotated[Path, typer.Argument(help="AFLW2000-3D as it unpacks: imageNNNNN.jpg with imageNNNNN.mat.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for predictions, scores, tables and plots.")] = Path("evaluation"),
    method: Annotated[str, typer.Option(help="fit, encoder, mean-face or ground-truth.")] = "fit",
    weights: Annotated[Path | None, typer.Option(help="Of --method encoder.")] = None,
    pncc: Annotated[str | None, typer.Option(help="Of an encoder with PNCC input: weights of a PNCC network, or truth (needs --basel).")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Score these instead: a folder of predictions, or a .safetensors or .npy "
                                                          "file as docs/evaluation.md describes.")] = None,
    model: Annotated[str, typer.Option(help="Model of the method: open, or a .facemodel file.")] = "open",
    basel: Annotated[Path | None, typer.Option(help="Basel .facemodel for the dense ground truth (facerecon convert-basel).")] = None,
    crop_from: Annotated[str, typer.Option(help="Where the face is looked for: detector, or gt68 (box of the true landmarks).")] = "detector",
    pose: Annotated[str, typer.Option(help="Of the mean face: frontal, or truth.")] = "frontal",
    stages: Annotated[str, typer.Option(help="Of the fit: full, or landmarks (fast).")] = "full",
    preset: Annotated[str, typer.Option(help="sadrnet, 2dasl or kpt68_box.")] = "sadrnet",
    region: Annotated[str | None, typer.Option(help="uv43867, bfm_uvmask, noneck38365, front35709 (need --region-files), full53215 or "
                                                    "open_face.")] = None,
    bbox_from: Annotated[str | None, typer.Option(help="Box of dense errors: region or kpt68.")] = None,
    bbox_size: Annotated[str | None, typer.Option(help="sqrt_wh or diag.")] = None,
    z_align: Annotated[str | None, typer.Option(help="mean_region, mean_68, min_region or none.")] = None,
    rec_align: Annotated[str | None, typer.Option(help="similarity, rigid, sadrnet_closed_form, icp_rigid, icp_similarity or none.")] = None,
    rec_dist: Annotated[str | None, typer.Option(help="index or nearest.")] = None,
    rec_norm: Annotated[str | None, typer.Option(help="interocular3d_outer or bbox.")] = None,
    annotation: Annotated[str | None, typer.Option(help="original, or reannotated (needs --labels).")] = None,
    yaw_from: Annotated[str | None, typer.Option(help="zhu_exact or legacy_R20.")] = None,
    yaw_labels: Annotated[str | None, typer.Option(help="fitted, or aflw (needs --labels).")] = None,
    exclude_pose: Annotated[str | None, typer.Option(help="angle99 or none.")] = None,
    exclude_nme: Annotated[str | None, typer.Option(help="none or angle99.")] = None,
    exclude_ids: Annotated[Path | None, typer.Option(help="Text file with names of images that no metric counts.")] = None,
    all_switches: Annotated[bool, typer.Option("--all-switches", help="Dense figures under every combination of their switches.")] = False,
    region_files: Annotated[Path | None, typer.Option(help="Folder with your licensed index files (docs/evaluation.md).")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder with 3DDFA's label files (test.configs).")] = None,
    pixel_origin: Annotated[str | None, typer.Option(help="Of --predictions, where the file does not say: zero or matlab1.")] = None,
    depth: Annotated[str | None, typer.Option(help="Of --predictions, where the file does not say: away or toward.")] = None,
    compare_with: Annotated[Path | None, typer.Option("--compare", help="Other predictions: print the paired difference.")] = None,
    acceptance: Annotated[bool, typer.Option("--acceptance", help="Check the evaluator on this data instead.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="The first images only.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes for the predictions; 0: this one.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove predictions of another configuration.")] = False,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="CED curves and error against yaw as PNG.")] = True,
    seed: Annotated[int, typer.Option(help="Of the method and of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Predict, then score, on AFLW2000-3D; both go on where they were stopped.

    facerecon evaluate aflw2000 AFLW2000 --method fit -o out

    facerecon evaluate aflw2000 AFLW2000 --method fit --basel basel40.facemodel --region open_face -o out

    facerecon evaluate aflw2000 AFLW2000 --predictions mine.safetensors -o mine

    Exit status: 0 all images have a result, 3 some have not, 2 a request that cannot be carried out.
    """
    from facerecon.errors import ArgumentError
    from facerecon.evaluation.acceptance import checks_text
    from facerecon.evaluation.benchmark import Benchmark, write_outcome
    from facerecon.evaluation.compare import compare
    from facerecon.evaluation.methods import MethodSpec
    from facerecon.evaluation.predict import DatasetSpec
    from facerecon.evaluation.protocol import preset as make_config

    config = make_config(preset, region=region, bbox_from=bbox_from, bbox_size=bbox_size, z_align=z_align, rec_align=rec_align,
                         rec_dist=rec_dist, rec_norm=rec_norm, annotation=annotation, yaw_from=yaw_from, yaw_labels=yaw_labels,
                         exclude_pose=exclude_pose, exclude_nme=exclude_nme, bootstrap_seed=seed,
                         exclude_ids=None if exclude_ids is None else _names(exclude_ids))
    benchmark = Benchmark(DatasetSpec(str(folder), limit=limit), basel=basel, labels=_text(labels), region_files=_text(region_files))
    if not quiet:
        print(benchmark.samples.inventory.describe(), file=sys.stderr)
    if acceptance:
        checks = benchmark.acceptance(config)
        print(json.dumps([check.__dict__ for check in checks], indent=1) if as_json else checks_text(checks), end="" if not as_json else "\n")
        raise typer.Exit(EXIT_SOME_NOT_OK if any(check.passed is False for check in checks) else 0)
    if predictions is not None:
        made = benchmark.open(predictions, pixel_origin=pixel_origin, depth=depth)
    else:
        if pixel_origin is not None or depth is not None:
            raise ArgumentError("--pixel-origin and --depth describe --predictions; give them together")
        if method == "ground-truth" and model == "open" and basel is not None:
            # The truth as a prediction needs the truth's own model.
            model = str(basel)
        spec = MethodSpec(kind=method, model=model, crop_from=crop_from, pose=pose, stages=stages, seed=seed,
                          weights=_text(weights), pncc=pncc, basel=_text(basel) if pncc == "truth" else None)
        with _progress(quiet or as_json) as step:
            made = benchmark.predict(spec, output / "predictions", workers=workers, overwrite=overwrite, on_done=step)
    outcome = _scored(benchmark, made, config, all_switches, output, plots, write_outcome)
    if compare_with is None:
        print(json.dumps(outcome.report.to_dict(), indent=1, ensure_ascii=False) if as_json else outcome.report.to_text(),
              end="\n" if as_json else "")
    else:
        other = _scored(benchmark, benchmark.open(compare_with, pixel_origin=pixel_origin, depth=depth), config, all_switches,
                        output / "compared_with", plots, write_outcome)
        over = "all" if not (outcome.complete and other.complete) else "found"
        comparison = compare(outcome.report.table, other.report.table, over=over)
        _write_comparison(comparison, output)
        if plots:
            _plot_comparison(outcome.report.table, other.report.table, output)
        print(json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False) if as_json else comparison.to_text(),
              end="\n" if as_json else "")
    if not quiet:
        print(f"written: {', '.join(str(path) for path in outcome.files.values())}", file=sys.stderr)
    raise typer.Exit(0 if outcome.complete else EXIT_SOME_NOT_OK)


@app.command()
def scan(
    mesh: Annotated[Path, typer.Option(help="The reconstruction: OBJ or PLY.")],
    scan_file: Annotated[Path, typer.Option("--scan", help="The scan: OBJ or PLY with triangles.")],
    landmarks: Annotated[Path | None, typer.Option(help='JSON {"scan": [[x,y,z],...], "mesh": [[x,y,z],...]} or "mesh_vertices": [...].')] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the result.")] = Path("evaluation-scan"),
    mesh_units: Annotated[str | None, typer.Option(help="mm, cm, m or um; default: as the file says, else by its size.")] = None,
    scan_units: Annotated[str | None, typer.Option(help="mm, cm, m or um; default: as the file says, else by its size.")] = None,
    scale: Annotated[str, typer.Option(help="none (metrical), or landmarks: they set the mesh's size first.")] = "none",
    crop_mm: Annotated[float | None, typer.Option(help="Measure only scan points this near to the landmarks' centre.")] = None,
    limit_mm: Annotated[float, typer.Option(help="Red end of the coloured error mesh.")] = 5.0,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="The cumulative curve as PNG.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Distance from a scan to a mesh in millimetres, after landmark alignment and rigid ICP.

    facerecon evaluate scan --mesh out/photo_0.obj --scan scan.ply --landmarks points.json --scale landmarks
    """
    from facerecon.evaluation.scan import evaluate_scan
    from facerecon.evaluation.scan_report import write_scan_result

    result = evaluate_scan(mesh, scan_file, landmarks=landmarks, mesh_units=mesh_units, scan_units=scan_units, scale=scale,
                           crop_mm=crop_mm)
    files = write_scan_result(result, output, limit_mm=limit_mm, plot=plots)
    print(json.dumps(result.to_dict(), indent=1) if as_json else result.to_text(), end="\n" if as_json else "")
    print(f"written: {', '.join(str(path) for path in files.values())}", file=sys.stderr)


def _scored(benchmark, predictions, config, switches: bool, folder: Path, plots: bool, write_outcome):
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "scores.part.jsonl"
    table = benchmark.score(predictions, config, switches=switches, log=log)
    outcome = write_outcome(table, folder, plots=plots)
    # Only now is everything that the rows were kept for on the disk.
    log.unlink()
    return outcome


def _write_comparison(comparison, output: Path) -> None:
    from facerecon.files import write_atomic

    write_atomic(output / "comparison.txt", comparison.to_text())
    write_atomic(output / "comparison.json", json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False) + "\n")


def _plot_comparison(first, second, output: Path) -> None:
    from facerecon.evaluation.plots import plot_ced, plot_error_by_yaw

    for metric in ("nme2d", "dense3d", "yaw"):
        if metric in first.metrics and metric in second.metrics:
            plot_ced([first, second], output / f"compared_ced_{metric}.png", metric=metric)
            plot_error_by_yaw([first, second], output / f"compared_by_yaw_{metric}.png", metric=metric)


def _names(path: Path) -> tuple[str, ...]:
    from facerecon.errors import PathError

    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise PathError(f"{path}: cannot read the names of excluded images ({error})", code="path_missing") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


class _progress:
    """A progress bar on a terminal, nothing elsewhere; gives the function that moves it."""

    def __init__(self, hidden: bool) -> None:
        self._hidden, self._bar, self._task = hidden or not sys.stderr.isatty(), None, None

    def __enter__(self):
        return None if self._hidden else self._step

    def _step(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                                 console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
