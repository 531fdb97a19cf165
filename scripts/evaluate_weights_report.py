"""What `evaluate_weights` writes: tables as Markdown, and a line of figures per face and method."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from evaluate_weights_methods import LEAST_OVERLAP, TITLES
from evaluate_weights_scores import COLUMNS, METRICS, Scored, by_protocol
from evaluate_weights_sets import AFLW, PROFILED, REAL

from facerecon.metrics.aggregate import BIN_NAMES
from facerecon.metrics.bootstrap import Interval

HEADS = {**{name: f"{name}°" for name in BIN_NAMES}, "mean_of_bins": "mean of bins", "mean_all": "all"}
WHOLE = "auto"
# What the whole pipeline must be better than.
PARTS = ("mediapipe", "fit", "encoder")
# What is asked of the shipped pipeline.
FOUND_ALL, FOUND_TURNED, NME_RATIO, YAW_DEG = 0.97, 0.90, 1.5, 3.0
MOST_MS = {"encoder": 80.0, "auto": 1000.0}
# Fewer people than this give no interval worth the name.
FEW_PEOPLE = 20


def markdown(sets: Sequence[Scored], *, about: str, resamples: int) -> str:
    """The whole report."""
    parts = ["# Weights on held-out faces", "", about, "",
             f"A face is found when a method gives one whose box and that of the true 68 points have an intersection over "
             f"union of {LEAST_OVERLAP} or more; of several in a photo the one that overlaps most. A face that was not "
             f"found is in no mean, so each mean stands beside its number of faces, and, where methods missed some, once "
             f"more over the faces that all of them found. Brackets: 95 % interval, {resamples} resamples of people with "
             f"all their faces. Bins are |yaw| in degrees.", ""]
    for scored in sets:
        parts += _section(scored)
    parts += ["## What is asked for", "", *_table(["set", "what", "wanted", "got", ""], wanted(sets))]
    return "\n".join(parts).rstrip() + "\n"


def _section(scored: Scored) -> list[str]:
    faces, people = len(scored.faces.faces), int(scored.subjects.max()) + 1
    sizes = ", ".join(f"{int((scored.bins == which).sum())} of {name}°" for which, name in enumerate(BIN_NAMES))
    lines = [f"## {scored.faces.title}", "", f"{faces} faces of {people} people: {sizes}.", *scored.faces.notes]
    if scored.left_out:
        lines.append(f"Left out, since no yaw could be told: {len(scored.left_out)}.")
    if people < FEW_PEOPLE:
        lines.append(f"{people} people are too few for intervals to be trusted.")
    lines += ["", "### Faces found", "", *_found(scored)]
    for metric, errors in scored.errors.items():
        if any(np.isfinite(values).any() for values in errors.values()):
            lines += [f"### {METRICS[metric]}", "", *_errors(scored, metric)]
    if scored.faces.key == AFLW:
        lines += ["### By the evaluator, misses scored by the mean face", "", *_protocol(scored)]
    return [*lines, "### Time per face", "", *_times(scored)]


def _found(scored: Scored) -> list[str]:
    rows = []
    for key in scored.methods:
        shares = scored.share_found(key)
        reasons = Counter(answer.code for answer in scored.answers[key] if not answer.found)
        again = sum(answer.again and answer.found for answer in scored.answers[key])
        rows.append([TITLES[key], *(_share(*shares[name]) for name in (*BIN_NAMES, "mean_all")),
                     ", ".join(f"{code} {count}" for code, count in reasons.most_common()) or "-", str(again)])
    heads = [HEADS[name] for name in (*BIN_NAMES, "mean_all")]
    return _table(["method", *heads, "misses", "found, but not as the largest"], rows)


def _errors(scored: Scored, metric: str) -> list[str]:
    errors = scored.errors[metric]
    keys = [key for key in scored.methods if np.isfinite(errors[key]).any()]
    common = np.all([scored.in_common, *(np.isfinite(errors[key]) for key in keys)], axis=0)
    counts = {key: int(np.isfinite(errors[key]).sum()) for key in keys}
    rows = [[TITLES[key], "found", str(counts[key]), *(figure(scored.intervals(metric, key)[name]) for name in COLUMNS)]
            for key in keys]
    shared = int(common.sum())
    if any(count != shared for count in counts.values()):
        rows += [[TITLES[key], "found by all methods", str(shared),
                  *(figure(scored.intervals(metric, key, common=True)[name]) for name in COLUMNS)] for key in keys]
    for key in keys:
        if WHOLE in keys and key != WHOLE:
            both = np.isfinite(errors[WHOLE]) & np.isfinite(errors[key])
            found = scored.difference(metric, WHOLE, key)
            rows.append([f"(d) - {TITLES[key].split()[0]}", "found by both", str(int(both.sum())),
                         *(figure(found[name], sign=True) for name in COLUMNS)])
    note = ["\\* the interval of a difference leaves out zero.", ""] if WHOLE in keys and len(keys) > 1 else []
    return [*_table(["method", "over faces", "n", *(HEADS[name] for name in COLUMNS)], rows), *note]


def _protocol(scored: Scored) -> list[str]:
    rows = []
    for key in scored.methods:
        found = by_protocol(scored, key)
        for metric, title in (("nme2d", "NME 68, %"), ("yaw", "yaw MAE, °")):
            # A method that gives no angles has none but those of its misses.
            if metric == "nme2d" or any(answer.euler is not None for answer in scored.answers[key]):
                rows.append([TITLES[key], title, *(figure(found[metric][name]) for name in COLUMNS)])
    return _table(["method", "figure", *(HEADS[name] for name in COLUMNS)], rows)


def _times(scored: Scored) -> list[str]:
    rows = [[TITLES[key], *(_median(scored, key, name) for name in (*BIN_NAMES, "mean_all"))] for key in scored.methods]
    heads = [HEADS[name] for name in (*BIN_NAMES, "mean_all")]
    return ["Medians in ms of wall time, and in brackets of all threads together; the largest face of a decoded photo, found "
            "or not, warm, without texture and export.", "", *_table(["method", *heads], rows)]


def _median(scored: Scored, key: str, name: str) -> str:
    chosen = [answer for answer, which in zip(scored.answers[key], scored.bins) if name in ("mean_all", BIN_NAMES[which])]
    if not chosen:
        return "-"
    return f"{np.median([one.ms for one in chosen]):.0f} ({np.median([one.cpu_ms for one in chosen]):.0f})"


def wanted(sets: Sequence[Scored]) -> list[list[str]]:
    """Rows of set, claim, wanted, got, and whether it holds; only what the sets and methods can show."""
    rows = []
    for scored in sets:
        title = scored.faces.title
        if WHOLE in scored.methods:
            shares = scored.share_found(WHOLE)
            for name, least in (("mean_all", FOUND_ALL), (BIN_NAMES[-1], FOUND_TURNED)):
                found, faces = shares[name]
                if faces:
                    rows.append([title, f"faces found, {HEADS[name]}", f">= {100 * least:.0f} %", _share(found, faces),
                                 _yes(found >= least * faces)])
            rows += _better(scored)
        if scored.faces.key == PROFILED and WHOLE in scored.methods:
            nme, yaw = (scored.intervals(metric, WHOLE) for metric in ("nme68", "yaw"))
            ratio = nme[BIN_NAMES[-1]].figure / nme[BIN_NAMES[0]].figure
            for what, most, got, unit in (("NME beyond 60° over that to 30°", NME_RATIO, ratio, ""),
                                          ("yaw error", YAW_DEG, yaw["mean_all"].figure, "°")):
                if np.isfinite(got):
                    rows.append([title, what, f"<= {most}{unit}", f"{got:.2f}{unit}", _yes(got <= most)])
        for key, most in MOST_MS.items():
            if key in scored.methods:
                spent = float(np.median([answer.ms for answer in scored.answers[key]]))
                rows.append([title, f"time of {TITLES[key]}, of this run", f"<= {most:.0f} ms", f"{spent:.0f} ms",
                             _yes(spent <= most)])
    return rows


def _better(scored: Scored) -> list[list[str]]:
    rows = []
    for metric in ("nme68", "nme51") if scored.faces.key == REAL else ("nme68",):
        for key in scored.methods:
            found = scored.difference(metric, WHOLE, key)
            figures = {name: found[name] for name in BIN_NAMES if np.isfinite(found[name].figure)}
            if key in PARTS and figures:
                rows.append([scored.faces.title, f"(d) better than {TITLES[key].split()[0]} in every bin, {metric}", "< 0",
                             " / ".join(figure(one, sign=True) for one in figures.values()), verdict(figures.values())])
    return rows


def verdict(differences: Iterable[Interval]) -> str:
    """Whether all differences are below zero: "yes", "not shown" where an interval does not say so, or "no"."""
    differences = list(differences)
    if all(one.high < 0 for one in differences):
        return "yes"
    return "not shown" if all(one.figure < 0 for one in differences) else "no"


def faces_csv(sets: Sequence[Scored]) -> str:
    """One line per set, face and method, with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["set", "name", "subject", "yaw", "bin", "method", "code", "overlap", "again", "ms", "cpu_ms",
                     *METRICS])
    for scored in sets:
        for key, answers in scored.answers.items():
            for index, (face, answer) in enumerate(zip(scored.faces.faces, answers)):
                values = (scored.errors[metric][key][index] if metric in scored.errors else np.nan for metric in METRICS)
                writer.writerow([scored.faces.key, face.name, face.subject, scored.yaw[index], BIN_NAMES[scored.bins[index]],
                                 key, answer.code or "", answer.overlap, int(answer.again), answer.ms, answer.cpu_ms,
                                 *("" if np.isnan(value) else value for value in values)])
    return stream.getvalue()


def figure(interval: Interval, *, sign: bool = False) -> str:
    """As "3.21 [3.00, 3.44]"; "-" for what is not defined; with `sign` a difference, starred where its interval has no zero."""
    if not np.isfinite(interval.figure):
        return "-"
    form = "+.3f" if sign else ".2f"
    star = "*" if sign and (interval.low > 0 or interval.high < 0) else ""
    return f"{interval.figure:{form}} [{interval.low:{form}}, {interval.high:{form}}]{star}"


def _share(found: int, faces: int) -> str:
    return f"{found} / {faces} ({100 * found / faces:.1f} %)" if faces else "-"


def _yes(fine: bool) -> str:
    return "yes" if fine else "no"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(row) + " |" for row in rows), ""]
