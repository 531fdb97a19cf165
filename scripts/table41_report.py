"""Stage 6 of `table41`: the tables as Markdown, and what they say of the thesis' claim."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from table41_evaluate import METRICS, Results
from table41_plan import ROWS, Plan, Row

from facerecon.evaluation.compare import compare
from facerecon.evaluation.report import build_report
from facerecon.evaluation.scores import ScoreTable, is_pose
from facerecon.metrics.bootstrap import Interval, resampling_counts

TITLES = {"dense2d": "Dense 2D %", "dense3d": "Dense 3D %", "rec": "3D rec. %", "yaw": "Yaw MAE °"}
BASELINE = ROWS[0]
CAUTION = ("Intervals are over the images. Each network was trained once: how far two trainings with other seeds lie apart is not "
           "in them, and repeating the command with another seed (and folder) tells.")
# What the thesis says of the rows that use the PNCC they were trained with, against MoFa (sections 4.3.2 and 4.3.3).
CLAIMED = {
    ROWS[1]: {"dense3d": "falls by 3 %", "yaw": "falls by 0.4 %", "rec": "does not fall"},
    ROWS[2]: {"dense3d": "falls by 6 %", "yaw": "falls by 6 %", "rec": "does not fall"},
}


@dataclasses.dataclass(frozen=True)
class Change:
    """A row against MoFa on the same images: difference in the unit of the table, and in percent of MoFa's figure."""

    difference: Interval
    relative: Interval

    @property
    def verdict(self) -> str:
        """"falls" or "rises" where the 95 % interval of the difference leaves out zero, else "no difference shown"."""
        if self.difference.high < 0:
            return "falls"
        return "rises" if self.difference.low > 0 else "no difference shown"


def changes(table: ScoreTable, baseline: ScoreTable) -> dict[str, Change]:
    """Paired changes of the mean over all images, with bootstrap intervals, by metric; misses count as the mean face."""
    over = "found" if table.found.all() and baseline.found.all() else "all"
    differences = compare(table, baseline, over=over).differences
    return {metric: Change(differences[metric]["mean_all"], relative_change(table, baseline, metric, over=over))
            for metric in METRICS if metric in differences}


def relative_change(table: ScoreTable, baseline: ScoreTable, metric: str, *, over: str) -> Interval:
    """100 (mean of the row / mean of MoFa - 1) over images that both have, with the percentile interval of the ratio."""
    both = table.has_truth & baseline.has_truth
    a, b = (one.values(metric, over=over) for one in (table, baseline))
    both &= np.isfinite(a) & np.isfinite(b)
    counts = resampling_counts(table.bins[both], resamples=table.config.bootstrap_resamples, seed=table.config.bootstrap_seed)
    drawn = 100 * ((counts @ a[both]) / (counts @ b[both]) - 1)
    tail = (1 - table.config.bootstrap_level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(100 * (a[both].mean() / b[both].mean() - 1)), float(low), float(high))


def markdown(results: Results, plan: Plan, records: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole of `table41.md`.

    Args:
        records: of the stages, `Stages.done`.
    """
    parts = ["# Table 4.1: MoFA with PNCC", "", _trained(plan, records), CAUTION, ""]
    for title, tables in results.tables.values():
        parts += [f"## {title}", "", _about(tables[BASELINE]), "", _figures(tables), "",
                  "Change against MoFa on the same images, with what it is of MoFa's figure; * where the 95 % interval leaves out "
                  "zero.", "", _differences(tables), "", _claim(tables), ""]
    parts += [f"Left out: {name}: {reason}.\n" for name, reason in results.left_out.items()]
    parts += [_stages(records)]
    return "\n".join(parts).rstrip() + "\n"


def _trained(plan: Plan, records: Mapping[str, Mapping[str, Any]]) -> str:
    known = "learnt from without their parameters" if plan.self_supervised else "whose known parameters the recipe uses too"
    lines = [f"Seed {plan.seed}. Encoders: ResNet-18, 128 px, {plan.steps} steps of {plan.batch}, the same pictures, order and seed for "
             f"all three; {100 * plan.share:.0f} % of each batch are synthetic heads, {known}. PNCC networks: {plan.few} samples, "
             f"{plan.few_steps} steps (few); all samples, {plan.full_steps} steps (full).", "",
             "| network | samples | steps | validation |", "|---|---|---|---|"]
    for name in ("pncc-few", "pncc-full", "mofa", "mofa-few", "mofa-full"):
        result = records.get(name, {}).get("result")
        if result:
            scores = ", ".join(f"{key.removeprefix('validation_')} {value:.4f}"
                               for key, value in sorted(result["metrics"].items()) if key.startswith("validation_"))
            lines.append(f"| {name} | {result['samples']} | {result['steps']} | {scores or '-'} |")
    return "\n".join([*lines, ""])


def _about(table: ScoreTable) -> str:
    facts = table.context
    return (f"{facts.get('dataset')}; found {int(table.found.sum())} / {len(table)}; preset {table.config.title}; crops by "
            f"{facts.get('crop_from')}; dense truth {facts.get('dense_truth') or 'none'}; mean over all images "
            f"[95 % interval, {table.config.bootstrap_resamples} resamples].")


def _figures(tables: Mapping[Row, ScoreTable]) -> str:
    lines = ["| method | " + " | ".join(TITLES[metric] for metric in METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for row, table in tables.items():
        report = build_report(table)
        found = {line.metric: line.intervals["mean_all"] for line in report.lines["all" if "all" in report.lines else "found"]
                 if line.kept}
        cells = (f"{found[metric].figure:.2f} [{found[metric].low:.2f}, {found[metric].high:.2f}]" if metric in found else "-"
                 for metric in METRICS)
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _differences(tables: Mapping[Row, ScoreTable]) -> str:
    lines = ["| method | " + " | ".join(TITLES[metric] for metric in METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for row, table in tables.items():
        if row == BASELINE:
            continue
        found = changes(table, tables[BASELINE])
        lines.append(f"| {row.title} | " + " | ".join(_change(found.get(metric), metric) for metric in METRICS) + " |")
    return "\n".join(lines)


def _change(change: Change | None, metric: str) -> str:
    if change is None:
        return "-"
    a, b = change.difference, change.relative
    star = "" if change.verdict == "no difference shown" else "*"
    unit = "°" if is_pose(metric) else ""
    return f"{a.figure:+.2f}{unit} [{a.low:+.2f}, {a.high:+.2f}]{star}, {b.figure:+.1f} % [{b.low:+.1f}, {b.high:+.1f}]"


def _claim(tables: Mapping[Row, ScoreTable]) -> str:
    """The thesis' claim beside what came out."""
    lines = ["| method | figure | the thesis (on AFLW2000-3D) | here |", "|---|---|---|---|"]
    for row, claims in CLAIMED.items():
        found = changes(tables[row], tables[BASELINE]) if row in tables else {}
        lines += [f"| {row.title} | {TITLES[metric].rstrip(' %°')} | {claim} | {_outcome(found[metric])} |"
                  for metric, claim in claims.items() if metric in found]
    return "\n".join(lines)


def _outcome(change: Change) -> str:
    if change.verdict == "no difference shown":
        return change.verdict
    return f"{change.verdict} by {abs(change.relative.figure):.1f} %"


def _stages(records: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["## Time by stage", "", "| stage | s | processor s |", "|---|---|---|"]
    lines += [f"| {name} | {record['seconds']:.0f} | {record['cpu_seconds']:.0f} |" for name, record in records.items()]
    return "\n".join(lines)
