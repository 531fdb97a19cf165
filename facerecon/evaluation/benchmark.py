"""The whole evaluation on AFLW2000-3D or synthetic faces: predictions, scores, tables and plots in one folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facerecon.errors import ArgumentError, FaceReconError, ModelError
from facerecon.evaluation.acceptance import Check, acceptance
from facerecon.evaluation.basel import load_dense_truth, load_mean_face
from facerecon.evaluation.labels import AFLW_YAW, REANNOTATED, read_aflw_yaw, read_reannotated
from facerecon.evaluation.methods import MethodSpec
from facerecon.evaluation.predict import DatasetSpec, predict
from facerecon.evaluation.prediction_files import PredictionSource, open_predictions
from facerecon.evaluation.protocol import EvalConfig
from facerecon.evaluation.regions import load_region
from facerecon.evaluation.report import Report, build_report
from facerecon.evaluation.score import score
from facerecon.evaluation.scores import ScoreTable
from facerecon.evaluation.truth import DenseTruth, FaceTruth, truth_from_sample

# Beside the images of a rendered benchmark (scripts/make_synthetic_aflw.py).
SYNTHETIC = "synthetic.json"


class Benchmark:
    """A benchmark in a folder, ready to score any number of methods.

    Args:
        dataset: the folder.
        basel: a converted Basel model for the dense truth; None scores landmarks and pose only. Synthetic archives have the
            truth of the open model and need none.
        labels: folder with 3DDFA's label files; region_files: folder with licensed index files; both optional.
    """

    def __init__(self, dataset: DatasetSpec, *, basel: str | os.PathLike[str] | None = None, labels: str | None = None,
                 region_files: str | None = None) -> None:
        self.spec, self.labels, self.region_files = dataset, labels, region_files
        self.samples = dataset.open()
        self.truths: list[FaceTruth | FaceReconError] = []
        for index in range(len(self.samples)):
            try:
                self.truths.append(truth_from_sample(self.samples[index]))
            except FaceReconError as error:
                self.truths.append(error)
        self.dense: DenseTruth | None = None
        if dataset.kind == "synthetic":
            from facerecon.evaluation.synthetic import open_dense_truth

            self.dense = open_dense_truth()
        elif basel is not None:
            self.dense = load_dense_truth(basel)
        self._sparse_miss = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.samples.names

    def predict(self, method: MethodSpec, folder: str | os.PathLike[str], *, workers: int = 0, overwrite: bool = False,
                on_done: Callable[[int, int], None] | None = None) -> PredictionSource:
        """Pass one; see `evaluation.predict.predict`."""
        return predict(self.spec, method, folder, workers=workers, overwrite=overwrite, on_done=on_done)

    def open(self, path: str | os.PathLike[str], *, pixel_origin: str | None = None, depth: str | None = None) -> PredictionSource:
        """Stored predictions; see `open_predictions`."""
        return open_predictions(path, names=self.names, pixel_origin=pixel_origin, depth=depth)

    def score(self, predictions: PredictionSource, config: EvalConfig, *, switches: bool = False,
              log: str | os.PathLike[str] | None = None) -> ScoreTable:
        """Pass two; see `evaluation.score.score`."""
        if self._sparse_miss is None:
            self._sparse_miss = load_mean_face("open", dense=False)[0]
        keys = ("method", "model", "crop_from")
        context = {"dataset": self.title, **{key: predictions.config.get(key) for key in keys}}
        return score(predictions, self.truths, config, sparse_miss=self._sparse_miss, dense=self.dense,
                     region_files=self.region_files, landmarks2d=self._landmarks2d(config.annotation == "reannotated"),
                     yaw_labels=self._aflw_yaw(config.yaw_labels == "aflw"), switches=switches, context=context, log=log)

    def acceptance(self, config: EvalConfig) -> list[Check]:
        """The evaluator's own checks on this data, with what labels and files are there."""
        truths = [truth for truth in self.truths if isinstance(truth, FaceTruth)]
        if not truths:
            raise ArgumentError(f"{self.spec.folder}: no image with a readable annotation")
        region = None
        if self.dense is not None:
            try:
                region = load_region(config.region, self.region_files)
            except ModelError as error:
                if error.code != "model_missing":
                    raise
        return acceptance(truths, dense=self.dense, region=region, aflw_yaw=self._aflw_yaw(False),
                          landmarks2d=self._landmarks2d(False))

    @property
    def title(self) -> str:
        """Name and completeness for tables: "AFLW2000-3D, 16 of 2000 images"."""
        if (Path(self.spec.folder) / SYNTHETIC).is_file():
            return f"synthetic faces in AFLW2000-3D's layout, {len(self.samples)} images"
        inventory = self.samples.inventory
        expected = sum(wanted or 0 for _, _, wanted in inventory.parts)
        return f"{inventory.dataset}, {len(self.samples)}" + (f" of {expected} images" if expected else " images")

    def _landmarks2d(self, needed: bool) -> dict[str, np.ndarray] | None:
        if self.labels is None or (not needed and not (Path(self.labels) / REANNOTATED).is_file()):
            return None
        return read_reannotated(self.labels, self.names)

    def _aflw_yaw(self, needed: bool) -> np.ndarray | None:
        if self.labels is None or (not needed and not (Path(self.labels) / AFLW_YAW).is_file()):
            return None
        return read_aflw_yaw(self.labels, self.names)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A report, the files it was written to, and whether every image had a result."""

    report: Report
    files: dict[str, Path]

    @property
    def complete(self) -> bool:
        return all(status == "ok" for status in self.report.table.statuses)


def write_outcome(table: ScoreTable, folder: str | os.PathLike[str], *, plots: bool = True) -> Outcome:
    """Report, CSV, JSON, and with `plots` the CED curve and the error against the yaw, into a folder."""
    report = build_report(table)
    files = report.write(folder)
    if plots:
        from facerecon.evaluation.plots import plot_ced, plot_error_by_yaw

        folder = Path(folder)
        for metric in ("nme2d", "dense3d", "yaw"):
            if metric in table.metrics and np.isfinite(table.metrics[metric]).any():
                files[f"ced {metric}"] = plot_ced([table], folder / f"ced_{metric}.png", metric=metric)
                files[f"yaw {metric}"] = plot_error_by_yaw([table], folder / f"by_yaw_{metric}.png", metric=metric)
    return Outcome(report, files)
