"""The tables of docs/results.md from the runs that `gmda_experiments.py` left in a folder."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

COUNTS = (10, 50, 200, 0)
BEST = "GMDA-R hybrid + SC"
PLAIN = "same encoder, plain decoder"
# An adaptation, and what was trained on the same samples without it.
PAIRS = ((BEST, "hybrid + SC, random weights"), (BEST, PLAIN), ("GMDA-R hybrid", "hybrid, random weights"), ("GMDA-R hybrid", PLAIN))
BASELINES = tuple(dict.fromkeys(baseline for _, baseline in PAIRS))


def tables(folder: Path) -> str:
    """Markdown: error by samples, transfer kinds, encoder fine-tuning, acquisition; whatever runs are there."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    cells: dict[tuple[str, int, str], list[dict]] = defaultdict(list)
    for run in runs:
        cells[run["row"], run["samples"], run["acquisition"]].append(run)
    names = sorted({row for row, _, _ in cells}, key=lambda row: (row in BASELINES, "w/o" in row, "+ SC" in row, row))
    parts = [_by_samples(cells, names), _at_fifty(cells, names), _against(cells), _acquisition(cells)]
    return "\n\n".join(part for part in parts if part)


def _cell(runs: list[dict]) -> str:
    if not runs:
        return ""
    means = [np.mean(run["nme"]) for run in runs]
    if len(runs) == 1:
        return f"{means[0]:.2f} (1 seed)"
    return f"{np.mean(means):.2f} ± {np.std(means):.2f}" + (f" ({len(runs)} seeds)" if len(runs) != 3 else "")


def _by_samples(cells: dict, names: list[str]) -> str:
    rows = [row for row in names if any(cells.get((row, count, "")) for count in COUNTS if count != 50)]
    lines = ["| network | " + " | ".join(str(count or "all") for count in COUNTS) + " |", "|---|" + "---|" * len(COUNTS)]
    lines += [f"| {row} | " + " | ".join(_cell(cells.get((row, count, ""), [])) for count in COUNTS) + " |" for row in rows]
    return "\n".join(lines) if rows else ""


def _at_fifty(cells: dict, names: list[str]) -> str:
    lines = ["| network, 50 samples | mean NME % | median NME % | failures above 10 % | test images |", "|---|---|---|---|---|"]
    for row in names:
        runs = cells.get((row, 50, ""), [])
        if runs:
            medians = np.mean([np.median(run["nme"]) for run in runs])
            failures = np.mean([np.mean(np.array(run["nme"]) > 10) for run in runs])
            lines.append(f"| {row} | {_cell(runs)} | {medians:.2f} | {100 * failures:.1f} % | {runs[0]['test_images']} |")
    return "\n".join(lines)


def _against(cells: dict) -> str:
    """The adaptations against their baselines on the same samples and test images, with a bootstrap interval over images."""
    lines = ["| samples | adaptation | baseline | NME of the baseline % | of the adaptation % | lower by | 95 % interval | seeds |",
             "|---|---|---|---|---|---|---|---|"]
    generator = np.random.default_rng(0)
    for count in COUNTS:
        for best, row in PAIRS:
            ours, theirs = ({run["seed"]: np.array(run["nme"]) for run in cells.get((name, count, ""), [])} for name in (best, row))
            seeds = sorted(set(ours) & set(theirs))
            if not seeds:
                continue
            a, b = (np.mean([kind[seed] for seed in seeds], axis=0) for kind in (ours, theirs))
            drawn = generator.integers(0, len(a), (2000, len(a)))
            spread = np.percentile(100 * (1 - a[drawn].mean(1) / b[drawn].mean(1)), (2.5, 97.5))
            lines.append(f"| {count or 'all'} | {best} | {row} | {b.mean():.2f} | {a.mean():.2f} | "
                         f"{100 * (1 - a.mean() / b.mean()):.1f} % | {spread[0]:.1f} to {spread[1]:.1f} % | {len(seeds)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _acquisition(cells: dict) -> str:
    lines = ["| final samples | random | NNM, 10 % discarded |", "|---|---|---|"]
    for count in COUNTS:
        runs = cells.get((BEST, count, "nnm10"), [])
        if runs:
            lines.append(f"| {count} | {_cell(cells.get((BEST, count, ''), []))} | {_cell(runs)} |")
    return "\n".join(lines) if len(lines) > 2 else ""
