"""A reconstruction against a 3D scan: align by landmarks, refine by rigid ICP, measure from the scan to the mesh.

As the NoW challenge does (Sanyal et al., CVPR 2019): every point of the scan is compared with its closest point on the surface
of the mesh, so the two need no common topology, and a mesh may cover more than the scan.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from facerecon.checks import check_choice, check_range, check_shape
from facerecon.errors import ArgumentError, BackendError, FitError, PathError
from facerecon.evaluation.mesh_units import MeshUnits, find_units
from facerecon.export.meshfile import MeshData, read_mesh
from facerecon.metrics.reconstruction import SimilarityTransform, align_points

SCALES = ("none", "landmarks")
# Correspondences of the ICP, coarse to fine, mm; samples on the mesh it runs against.
REACH_MM = (20.0, 5.0)
SAMPLES = 120_000
LEAST_OVERLAP = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class ScanResult:
    """Distances from a scan to a mesh, in millimetres.

    Attributes:
        distances: (N,) of every scan vertex. scan_vertices: (N, 3) mm, moved onto the mesh; scan_faces: (M, 3).
        transform: from the scan's millimetres to the mesh's frame. scale: factor on the scan's size that the landmarks gave.
        facts: what the report states: units and how they are known, alignment, overlap.
    """

    distances: np.ndarray
    scan_vertices: np.ndarray
    scan_faces: np.ndarray
    transform: SimilarityTransform
    facts: dict

    def statistics(self) -> dict[str, float]:
        """n, mean, median, std, rms, p90, max; all but n in mm."""
        d = self.distances
        return {"n": len(d), "mean": float(d.mean()), "median": float(np.median(d)), "std": float(d.std()),
                "rms": float(np.sqrt((d ** 2).mean())), "p90": float(np.quantile(d, 0.9)), "max": float(d.max())}

    def curve(self, limit: float = 7.0, steps: int = 141) -> tuple[np.ndarray, np.ndarray]:
        """Cumulative curve: thresholds (steps,) mm and the percentage of points at or below each."""
        thresholds = np.linspace(0, limit, steps)
        ordered = np.sort(self.distances)
        return thresholds, 100 * np.searchsorted(ordered, thresholds, side="right") / len(ordered)

    def to_text(self) -> str:
        """The result for a reader."""
        lines = [f"{name + ':':<16}{value}" for name, value in self.facts.items()]
        values = self.statistics()
        lines.append(f"scan to mesh:   mean {values['mean']:.3f} mm, median {values['median']:.3f} mm, std {values['std']:.3f} mm, "
                     f"rms {values['rms']:.3f} mm, 90 % below {values['p90']:.3f} mm, max {values['max']:.3f} mm over {values['n']} points")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict:
        """Plain JSON types."""
        thresholds, share = self.curve()
        return {"schema": 1, **self.facts, "statistics_mm": self.statistics(),
                "curve": {"threshold_mm": thresholds.tolist(), "percent": share.tolist()},
                "transform": {"scale": self.transform.scale, "rotation": self.transform.rotation.tolist(),
                              "translation": self.transform.translation.tolist()}}

    def colours(self, limit: float = 5.0) -> np.ndarray:
        """(N, 3) RGB in [0, 1] of the scan's vertices: blue at 0, white at limit / 2, red at the limit and beyond."""
        place = np.clip(self.distances / limit, 0, 1)[:, None] * 2
        blue, white, red = np.array([[0.13, 0.25, 0.69], [0.97, 0.97, 0.95], [0.75, 0.08, 0.11]])
        return np.where(place <= 1, blue + (white - blue) * place, white + (red - white) * (place - 1))


def evaluate_scan(mesh: str | os.PathLike[str], scan: str | os.PathLike[str], *, landmarks: str | os.PathLike[str] | None = None,
                  mesh_units: str | None = None, scan_units: str | None = None, scale: str = "none",
                  crop_mm: float | None = None) -> ScanResult:
    """Measure a mesh against a scan.

    Args:
        mesh, scan: OBJ or PLY files with triangles.
        landmarks: JSON {"scan": [[x, y, z], ...], "mesh": [[x, y, z], ...]}, each in its file's own unit and frame, three pairs
            or more; "mesh_vertices": [indices] may stand for "mesh". Without it the files must lie near each other already.
        mesh_units, scan_units: "mm", "cm", "m", "um"; None: as the file says, or by the size of a head; the result states it.
        scale: "none" is metrical; "landmarks" lets the landmarks set the mesh's size first, for a method that cannot know it.
        crop_mm: measure only scan points within this distance of the centre of the scan's landmarks.

    Raises:
        MeshError, PathError: files that cannot be read. ArgumentError: units or landmarks. FitError: `fit_failed` when the two
            do not come to lie on each other. BackendError: `backend_missing` without Open3D.
    """
    check_choice("scale", scale, SCALES)
    o3d = _open3d()
    mesh_data, scan_data = read_mesh(mesh), read_mesh(scan)
    unit_of_mesh = find_units(mesh_data.vertices, given=mesh_units, comments=mesh_data.comments, name="mesh")
    unit_of_scan = find_units(scan_data.vertices, given=scan_units, comments=scan_data.comments, name="scan")
    target, points = mesh_data.vertices * unit_of_mesh.to_mm, scan_data.vertices * unit_of_scan.to_mm
    faces = scan_data.faces
    facts = {"mesh": Path(mesh).name, "scan": Path(scan).name, "mesh units": unit_of_mesh.source,
             "scan units": unit_of_scan.source}
    pairs = None if landmarks is None else _read_landmarks(landmarks, mesh_data, unit_of_mesh, unit_of_scan)
    if scale == "landmarks" and pairs is None:
        raise ArgumentError("scale=landmarks needs --landmarks")
    if crop_mm is not None:
        if pairs is None:
            raise ArgumentError("crop_mm needs --landmarks, whose centre it is measured from")
        points, faces = _cropped(points, faces, pairs[0].mean(axis=0), check_range("crop_mm", float(crop_mm), 1.0))
        facts["scan crop"] = f"within {crop_mm:g} mm of the landmarks' centre, {len(points)} points"
    start = SimilarityTransform(1.0, np.eye(3), np.zeros(3))
    factor = 1.0
    if pairs is not None:
        if scale == "landmarks":
            # The scan keeps its true size: the mesh is brought to it.
            factor = align_points(pairs[1], pairs[0], mode="similarity").scale
        start = align_points(pairs[0], factor * pairs[1], mode="rigid")
        residual = np.linalg.norm(start(pairs[0]) - factor * pairs[1], axis=1)
        facts["start"] = f"{len(residual)} landmarks, {residual.mean():.2f} mm apart after the alignment"
    else:
        facts["start"] = "as the files lie (no landmarks given)"
    target = factor * target
    facts["mesh scale"] = f"{factor:.4f} (from the landmarks)" if scale == "landmarks" else "1 (metrical: no scale is fitted)"
    transform, overlap, rms = _icp(o3d, points, target, mesh_data.faces, start)
    facts["ICP"] = f"rigid, point to plane, {100 * overlap:.1f} % of the scan within {REACH_MM[-1]:g} mm, rms {rms:.3f} mm"
    if overlap < LEAST_OVERLAP:
        raise FitError(f"after the alignment only {100 * overlap:.0f} % of the scan lie within {REACH_MM[-1]:g} mm of the mesh; give "
                       f"--landmarks, check the units ({unit_of_mesh.source}; {unit_of_scan.source}), or crop the scan")
    moved = transform(points)
    return ScanResult(_distances(o3d, moved, target, mesh_data.faces), moved, faces, transform, facts)


def _open3d():
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise BackendError("scans need Open3D: pip install 'facerecon[open3d]'; on Debian and Ubuntu also the system library "
                           f"libusb-1.0-0 ({error})", code="backend_missing") from error
    return open3d


def _read_landmarks(path: str | os.PathLike[str], mesh: MeshData, mesh_units: MeshUnits,
                    scan_units: MeshUnits) -> tuple[np.ndarray, np.ndarray]:
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        on_scan = np.asarray(content["scan"], dtype=np.float64)
        if "mesh_vertices" in content:
            index = np.asarray(content["mesh_vertices"], dtype=np.int64)
            if index.min() < 0 or index.max() >= len(mesh.vertices):
                raise ArgumentError(f"{path}: mesh_vertices: wanted indices below {len(mesh.vertices)}, got {index.min()} to "
                                    f"{index.max()}")
            on_mesh = mesh.vertices[index]
        else:
            on_mesh = np.asarray(content["mesh"], dtype=np.float64)
    except FileNotFoundError as error:
        raise PathError(f"{path}: no such file", code="path_missing") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f'{path}: wanted JSON {{"scan": [[x, y, z], ...], "mesh": [[x, y, z], ...]}} ({error})') from error
    check_shape("scan landmarks", on_scan, (None, 3))
    check_shape("mesh landmarks", on_mesh, (len(on_scan), 3))
    if not (np.isfinite(on_scan).all() and np.isfinite(on_mesh).all()):
        raise ArgumentError(f"{path}: wanted finite coordinates", code="nonfinite")
    spread = np.linalg.svd(on_scan - on_scan.mean(axis=0), compute_uv=False)
    if len(on_scan) < 3 or spread[1] < 1e-3 * max(spread[0], 1e-12):
        raise ArgumentError(f"{path}: wanted at least three landmarks that are not on one line, got {len(on_scan)}")
    return on_scan * scan_units.to_mm, on_mesh * mesh_units.to_mm


def _cropped(points: np.ndarray, faces: np.ndarray, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    kept = np.linalg.norm(points - centre, axis=1) <= radius
    faces = faces[kept[faces].all(axis=1)]
    if not len(faces):
        raise ArgumentError(f"crop_mm: no triangle of the scan lies within {radius:g} mm of the landmarks' centre")
    used, faces = np.unique(faces, return_inverse=True)
    return points[used], faces.reshape(-1, 3)


def _icp(o3d, points: np.ndarray, target: np.ndarray, faces: np.ndarray,
         start: SimilarityTransform) -> tuple[SimilarityTransform, float, float]:
    # The mesh becomes evenly spread points with normals: its own vertices may be few and uneven.
    samples, normals = _sample_surface(target, faces, SAMPLES)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(samples))
    cloud.normals = o3d.utility.Vector3dVector(normals)
    source = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.ascontiguousarray(points)))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = start.rotation, start.translation
    registration = o3d.pipelines.registration
    result = None
    for reach in REACH_MM:
        result = registration.registration_icp(
            source, cloud, reach, matrix, registration.TransformationEstimationPointToPlane(),
            registration.ICPConvergenceCriteria(relative_fitness=1e-9, relative_rmse=1e-9, max_iteration=100))
        matrix = result.transformation
    return SimilarityTransform(1.0, np.array(matrix[:3, :3]), np.array(matrix[:3, 3])), float(result.fitness), float(result.inlier_rmse)


def _sample_surface(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(cross, axis=1)
    whole = doubled.sum()
    if not whole > 0:
        raise ArgumentError("mesh: wanted triangles with an area, got none")
    # Seeded, so that one pair of files gives one result.
    generator = np.random.default_rng(0)
    chosen = np.searchsorted(np.cumsum(doubled / whole), generator.random(count)).clip(0, len(faces) - 1)
    chosen = chosen[doubled[chosen] > 0]
    u, v = generator.random((2, len(chosen), 1))
    folded = u + v > 1
    u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
    a, b, c = np.moveaxis(corners[chosen], 1, 0)
    return a + u * (b - a) + v * (c - a), cross[chosen] / doubled[chosen, None]


def _distances(o3d, points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    scene = o3d.t.geometry.RaycastingScene()
    # The tree works in single precision; about the mesh's centre that is a ten-thousandth of a millimetre.
    centre = vertices.mean(axis=0)
    scene.add_triangles(o3d.core.Tensor((vertices - centre).astype(np.float32)),
                        o3d.core.Tensor(np.ascontiguousarray(faces).astype(np.uint32)))
    return scene.compute_distance(o3d.core.Tensor((points - centre).astype(np.float32))).numpy().astype(np.float64)
