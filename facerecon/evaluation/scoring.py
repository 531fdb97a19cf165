"""Metrics of one image: a prediction against its truth under an `EvalConfig`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from facerecon.evaluation.placement import MeanFace, image_box, place_in_box
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.protocol import CHOICES, EvalConfig
from facerecon.evaluation.regions import Region
from facerecon.evaluation.topology import ToBasel
from facerecon.evaluation.truth import DenseTruth, FaceTruth
from facerecon.metrics.boxes import box_size
from facerecon.metrics.dense import dense_nme
from facerecon.metrics.pose import CAMERA_FLIP, angle_error_deg, euler_deg_from_rotation, geodesic_deg
from facerecon.metrics.reconstruction import align_points, interocular_distance, reconstruction_error
from facerecon.metrics.sparse import sparse_nme

SPARSE = ("nme2d", "nme3d")
DENSE = ("dense2d", "dense3d", "rec")
POSE = ("pitch", "yaw", "roll", "mae", "geodesic")


class Scorer:
    """Scores images one by one; build it once.

    Args:
        config: the switches.
        sparse_miss: the mean face that stands in for a missing prediction's landmarks and pose.
        dense: the dense truth, or None when there is no Basel model.
        region: the region of `config`, already restricted to what the predictions cover; None without dense scoring.
        to_basel: map of the predictions' vertices; None when predictions have no vertices.
        landmarks2d: {name: (68, 2)} re-annotated landmarks, for `annotation="reannotated"`.
        switches: also score every combination of the dense switches.
    """

    def __init__(self, config: EvalConfig, *, sparse_miss: MeanFace, dense: DenseTruth | None = None,
                 region: Region | None = None, to_basel: ToBasel | None = None,
                 landmarks2d: Mapping[str, np.ndarray] | None = None, switches: bool = False) -> None:
        self.config, self.sparse_miss, self.landmarks2d = config, sparse_miss, landmarks2d
        self.scores_dense = dense is not None and region is not None and to_basel is not None
        self.dense, self.region, self.to_basel = dense, region, to_basel
        self.variants = dense_variants(config) if switches and self.scores_dense else {}
        if self.scores_dense:
            keypoints = dense.mean[dense.keypoints]
            self.dense_miss = MeanFace(landmarks68=keypoints, vertices=dense.mean)

    def row(self, truth: FaceTruth, prediction: Prediction, truth_vertices: np.ndarray | None) -> dict[str, float]:
        """Metric name -> value (fractions; degrees for the pose); NaN for what this prediction cannot be scored by.

        A prediction that was not found is scored by the mean face in the whole image.
        """
        found = prediction.found
        stand_in = None if found else place_in_box(self.sparse_miss, image_box(truth.image_size))
        landmarks = prediction.landmarks68 if found else stand_in["landmarks68"]
        values = self._sparse(truth, np.asarray(landmarks, dtype=np.float64))
        rotation = prediction.rotation if found else stand_in["rotation"]
        vertices = None
        if self.scores_dense:
            if found and prediction.vertices is not None:
                vertices = self.to_basel(prediction.vertices)
            elif not found:
                vertices = place_in_box(self.dense_miss, image_box(truth.image_size))["vertices"]
            values.update(self._dense(truth, vertices, truth_vertices))
        if rotation is None and vertices is not None:
            rotation = self._rotation_of_mesh(vertices)
        values.update(self._pose(truth, rotation))
        return values

    def _sparse(self, truth: FaceTruth, landmarks: np.ndarray) -> dict[str, float]:
        box = self.config.bbox_size
        if self.config.annotation == "reannotated":
            again = self.landmarks2d[truth.name]
            return {"nme2d": float(sparse_nme(landmarks[:, :2], again, box=box)), "nme3d": float("nan")}
        return {"nme2d": float(sparse_nme(landmarks, truth.landmarks68, box=box)),
                "nme3d": float(sparse_nme(landmarks, truth.landmarks68, dimensions=3, box=box))}

    def _dense(self, truth: FaceTruth, vertices: np.ndarray | None, truth_vertices: np.ndarray | None) -> dict[str, float]:
        if vertices is None or truth_vertices is None:
            return dict.fromkeys([*DENSE, *self.variants], float("nan"))
        face = _DensePair(self.region, self.dense.keypoints, vertices, truth_vertices, truth)
        config = self.config
        values = {"dense2d": face.nme(config, 2), "dense3d": face.nme(config, 3), "rec": face.reconstruction(config)}
        for name, variant in self.variants.items():
            metric = name.split(" ")[0]
            values[name] = (face.reconstruction(variant) if metric == "rec"
                            else face.nme(variant, 2 if metric == "dense2d" else 3))
        return values

    def _rotation_of_mesh(self, vertices: np.ndarray) -> np.ndarray:
        # The mean shape is the canonical mesh that every prediction can be compared with.
        covered = self.to_basel.available
        return align_points(self.dense.mean[covered], vertices[covered]).rotation

    def _pose(self, truth: FaceTruth, rotation: np.ndarray | None) -> dict[str, float]:
        if rotation is None:
            return dict.fromkeys(POSE, float("nan"))
        angles = euler_deg_from_rotation(CAMERA_FLIP[:, None] * np.asarray(rotation, dtype=np.float64),
                                         extraction=self.config.yaw_from)
        errors = angle_error_deg(angles, truth.euler_deg)
        pitch, yaw, roll = (float(error) for error in errors)
        return {"pitch": pitch, "yaw": yaw, "roll": roll, "mae": float(errors.mean()),
                "geodesic": float(geodesic_deg(np.asarray(rotation, dtype=np.float64), truth.rotation))}


class _DensePair:
    """Prediction and truth over the region, with the boxes computed once."""

    def __init__(self, region: Region, keypoints: np.ndarray, vertices: np.ndarray, truth_vertices: np.ndarray,
                 truth: FaceTruth) -> None:
        self.prediction, self.truth = region(vertices), region(truth_vertices)
        self.prediction68, self.truth68 = vertices[keypoints], truth_vertices[keypoints]
        self.landmarks = truth.landmarks68
        self._boxes: dict[tuple[str, str], float] = {}

    def box(self, source: str, measure: str) -> float:
        key = source, measure
        if key not in self._boxes:
            self._boxes[key] = float(box_size(self.landmarks if source == "kpt68" else self.truth, measure=measure))
        return self._boxes[key]

    def nme(self, config: EvalConfig, dimensions: int) -> float:
        depth = {"mean_region": "mean", "mean_68": "mean", "min_region": "min", "none": "none"}[config.z_align]
        by_landmarks = config.z_align == "mean_68"
        return float(dense_nme(self.prediction, self.truth, size=self.box(config.bbox_from, config.bbox_size),
                               dimensions=dimensions, depth=depth,
                               prediction_reference=self.prediction68 if by_landmarks else None,
                               truth_reference=self.truth68 if by_landmarks else None))

    def reconstruction(self, config: EvalConfig) -> float:
        if config.rec_norm == "bbox":
            normaliser = self.box("region", config.bbox_size)
        else:
            normaliser = float(interocular_distance(self.truth68))
        return reconstruction_error(self.prediction, self.truth, normaliser=normaliser, align=config.rec_align,
                                    distance=config.rec_dist, stride=config.rec_stride)


def dense_variants(config: EvalConfig) -> dict[str, EvalConfig]:
    """Every combination of the dense switches within one region: column name -> configuration.

    ICP is driven by every 20th point here unless the configuration says otherwise, since ten of these per image would take
    minutes.
    """
    base = config.to_dict()
    stride = config.rec_stride if config.rec_stride > 1 else 20
    variants = {}
    for source in CHOICES["bbox_from"]:
        variants[f"dense2d bbox={source}"] = {"bbox_from": source}
    for source, depth in itertools.product(CHOICES["bbox_from"], CHOICES["z_align"]):
        variants[f"dense3d bbox={source} z={depth}"] = {"bbox_from": source, "z_align": depth}
    for align, distance, norm in itertools.product(CHOICES["rec_align"], CHOICES["rec_dist"], CHOICES["rec_norm"]):
        variants[f"rec align={align} dist={distance} norm={norm}"] = {
            "rec_align": align, "rec_dist": distance, "rec_norm": norm,
            "rec_stride": stride if align.startswith("icp") else 1}
    return {name: EvalConfig.from_dict({**base, **changes}) for name, changes in variants.items()}
