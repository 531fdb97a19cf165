"""Pass two: scores of stored predictions. It needs no network and no image, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facerecon.errors import ArgumentError, FaceReconError, ModelError
from facerecon.evaluation.placement import MeanFace
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.prediction_files import PredictionSource
from facerecon.evaluation.protocol import EvalConfig
from facerecon.evaluation.regions import Region, load_region
from facerecon.evaluation.scores import ScoreTable
from facerecon.evaluation.scoring import DENSE, SPARSE, Scorer
from facerecon.evaluation.topology import ToBasel
from facerecon.evaluation.truth import DenseTruth, FaceTruth
from facerecon.files import write_atomic
from facerecon.metrics.aggregate import yaw_bins
from facerecon.metrics.pose import within_angles

BATCH = 8


def score(predictions: PredictionSource, truths: Sequence[FaceTruth | FaceReconError], config: EvalConfig, *,
          sparse_miss: MeanFace, dense: DenseTruth | None = None, region_files: str | None = None,
          landmarks2d: Mapping[str, np.ndarray] | None = None, yaw_labels: np.ndarray | None = None, switches: bool = False,
          context: dict | None = None, threads: int = 2, log: str | os.PathLike[str] | None = None) -> ScoreTable:
    """Score predictions against truths, image by image.

    Args:
        predictions: a `PredictionStore` or what `open_predictions` gives; its names must be those of `truths`, in order.
        truths: per image the truth, or the error with which its annotation was refused.
        sparse_miss: the mean face for images without a result.
        dense: the dense truth; None leaves the dense metrics out, with the reason in the table.
        region_files: folder with the licensed index files of a region.
        landmarks2d: re-annotated landmarks by name. yaw_labels: (n,) degrees for `yaw_labels="aflw"`.
        switches: score every combination of the dense switches too.
        context: what the tables shall name.
        threads: images scored at once; the result does not depend on it.
        log: file that keeps finished rows, so that a stopped run goes on; removed by nobody but the caller.

    Raises:
        ArgumentError: when names do not match or a needed label is missing.
    """
    _check_names(predictions, truths)
    labels = _yaw(truths, config, yaw_labels)
    if config.annotation == "reannotated" and landmarks2d is None:
        raise ArgumentError("annotation=reannotated needs AFLW2000-3D-Reannotated.pts68.npy; name its folder with --labels")
    missing: dict[str, str] = {}
    region, to_basel = _dense_parts(predictions, config, dense, region_files, missing)
    if config.annotation == "reannotated":
        missing["nme3d"] = "the re-annotated landmarks are 2D"
    elif predictions.config.get("landmark_depth") is False:
        missing["nme3d"] = "the landmarks of these predictions are 2D"
    scorer = Scorer(config, sparse_miss=sparse_miss, dense=dense, region=region, to_basel=to_basel, landmarks2d=landmarks2d,
                    switches=switches)
    rows = _Log(log, {"predictions": predictions.state(), "config": config.fingerprint(), "switches": switches,
                      "truth": None if dense is None else dense.title, "n": len(truths)})
    # Threads suffice: nearly all time goes into NumPy, which lets others run meanwhile.
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for start in range(len(rows.done), len(truths), BATCH):
            indices = range(start, min(start + BATCH, len(truths)))
            present = [truths[index] for index in indices if isinstance(truths[index], FaceTruth)]
            meshes = iter(dense.vertices(present)) if scorer.scores_dense and present else None
            jobs = [(index, next(meshes) if meshes is not None and isinstance(truths[index], FaceTruth) else None)
                    for index in indices]
            for record in pool.map(lambda job: _record(scorer, predictions[job[0]], truths[job[0]], job[1]), jobs):
                rows.append(record)
    rows.close()
    names = _metric_names(rows.done, missing)
    kept = np.array([isinstance(truth, FaceTruth) and truth.name not in config.exclude_ids for truth in truths])
    near = np.array([isinstance(truth, FaceTruth) and bool(within_angles(truth.euler_deg)) for truth in truths])
    facts = dict(context or {}, region=region.name if scorer.scores_dense else None,
                 dense_truth=dense.title if scorer.scores_dense else None)
    return ScoreTable(
        config=config, context=facts, names=tuple(predictions.names), statuses=tuple(row["status"] for row in rows.done),
        codes=tuple(row["code"] for row in rows.done), true_yaw=labels,
        bins=np.where(np.isnan(labels), -1, yaw_bins(np.nan_to_num(labels))),
        pose_kept=kept & (near | (config.exclude_pose == "none")), nme_kept=kept & (near | (config.exclude_nme == "none")),
        metrics={name: np.array([row["values"].get(name, np.nan) for row in rows.done], dtype=np.float64) for name in names},
        missing=missing)


def _record(scorer: Scorer, prediction: Prediction, truth: FaceTruth | FaceReconError, mesh: np.ndarray | None) -> dict:
    if not isinstance(truth, FaceTruth):
        return {"status": "no_truth", "code": truth.code, "values": {}}
    return {"status": prediction.status, "code": prediction.code, "values": scorer.row(truth, prediction, mesh)}


def _check_names(predictions: PredictionSource, truths: Sequence[FaceTruth | FaceReconError]) -> None:
    if len(predictions) != len(truths):
        raise ArgumentError(f"predictions: wanted one for each of {len(truths)} images, got {len(predictions)}")
    for name, truth in zip(predictions.names, truths):
        if isinstance(truth, FaceTruth) and truth.name != name:
            raise ArgumentError(f"predictions: wanted the images in the order of the data set; got {name} where {truth.name} stands")


def _yaw(truths: Sequence, config: EvalConfig, labels: np.ndarray | None) -> np.ndarray:
    if config.yaw_labels == "aflw":
        if labels is None:
            raise ArgumentError("yaw_labels=aflw needs AFLW2000-3D-new.pose.npy; name its folder with --labels")
        return np.where([isinstance(truth, FaceTruth) for truth in truths], np.asarray(labels, dtype=np.float64), np.nan)
    return np.array([truth.euler_deg[1] if isinstance(truth, FaceTruth) else np.nan for truth in truths], dtype=np.float64)


def _dense_parts(predictions: PredictionSource, config: EvalConfig, dense: DenseTruth | None, region_files: str | None,
                 missing: dict[str, str]) -> tuple[Region | None, ToBasel | None]:
    topology = predictions.config.get("topology")
    reason = None
    if dense is None:
        reason = ("dense ground truth needs a Basel model: --basel MODEL.facemodel (make one with `facerecon convert-basel`; the "
                  "extra 'basel' holds 40 + 10 components)")
    elif topology is None:
        reason = "these predictions hold no mesh"
    else:
        try:
            to_basel = ToBasel(topology, region_files)
            region = load_region(config.region, region_files).restricted(to_basel.available, topology)
            return region, to_basel
        except ModelError as error:
            if error.code != "model_missing":
                raise
            reason = error.message
    missing.update(dict.fromkeys(DENSE, reason))
    return None, None


def _metric_names(rows: list[dict], missing: dict[str, str]) -> list[str]:
    names: list[str] = []
    for row in rows:
        for name in row["values"]:
            if name not in names and name not in missing:
                names.append(name)
    return names or [name for name in SPARSE if name not in missing]


class _Log:
    """Finished rows, one JSON line each, after a first line that says what they belong to.

    A line that was cut by a kill is dropped; rows of another configuration or other predictions are not used.
    """

    def __init__(self, path: str | os.PathLike[str] | None, key: dict) -> None:
        self.done: list[dict] = []
        self.stream = None
        if path is None:
            return
        path = Path(path)
        head = json.dumps(key, sort_keys=True) + "\n"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        if lines and lines[0] == head:
            for line in lines[1:]:
                if not line.endswith("\n"):
                    break
                self.done.append(json.loads(line))
        # A matrix product rounds by the shape of its batch: batches begin where they would have in a run of one piece.
        del self.done[len(self.done) // BATCH * BATCH:]
        write_atomic(path, head + "".join(json.dumps(row) + "\n" for row in self.done))
        self.stream = open(path, "a", encoding="utf-8")

    def append(self, row: dict) -> None:
        if self.stream is None:
            self.done.append(row)
            return
        line = json.dumps(row)
        self.stream.write(line + "\n")
        self.stream.flush()
        # Read back, so that a run in one piece and a resumed one hold the very same numbers and order of names.
        self.done.append(json.loads(line))

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
