"""Checks that the evaluator itself is right, on the data at hand: no peer's code is needed.

Some compare with numbers that only the full release of 2,000 images has; on fewer images they are printed as not checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from facerecon.evaluation.regions import Region
from facerecon.evaluation.truth import DenseTruth, FaceTruth
from facerecon.metrics.aggregate import bin_means, yaw_bins
from facerecon.metrics.boxes import box_size
from facerecon.metrics.dense import dense_nme
from facerecon.metrics.pose import CAMERA_FLIP, euler_deg_from_rotation, rotation_from_euler_deg, within_angles
from facerecon.metrics.reconstruction import interocular_distance, reconstruction_error
from facerecon.metrics.sparse import sparse_nme

RELEASE = 2000


@dataclasses.dataclass(frozen=True)
class Check:
    """One acceptance check: what was wanted, what was got, and `passed` (None: it needs what is not there)."""

    name: str
    wanted: str
    got: str
    passed: bool | None


def acceptance(truths: Sequence[FaceTruth], *, dense: DenseTruth | None = None, region: Region | None = None,
               aflw_yaw: np.ndarray | None = None, landmarks2d: Mapping[str, np.ndarray] | None = None) -> list[Check]:
    """Run every check that the data allow.

    Args:
        truths: all images. dense, region: the Basel truth and a region of it. aflw_yaw: AFLW's yaw labels.
        landmarks2d: the re-annotated landmarks by name.
    """
    full = len(truths) == RELEASE
    points = np.stack([truth.landmarks68 for truth in truths])
    euler = np.stack([truth.euler_deg for truth in truths])
    yaw = euler[:, 1]
    checks = [*_projection(truths, dense, points, full)]
    counts = np.bincount(yaw_bins(yaw), minlength=3)
    checks.append(_known("yaw bins by the fitted yaw", "1312 / 383 / 305", " / ".join(map(str, counts)), full))
    if aflw_yaw is None:
        checks.append(Check("yaw bins by AFLW's yaw", "1306 / 462 / 232", "needs AFLW2000-3D-new.pose.npy (--labels)", None))
    else:
        counts = np.bincount(yaw_bins(aflw_yaw), minlength=3)
        checks.append(_known("yaw bins by AFLW's yaw", "1306 / 462 / 232", " / ".join(map(str, counts)), full))
    kept = within_angles(euler)
    checks.append(_known("images beyond 99 degrees", "31", str(int((~kept).sum())), full))
    checks.append(_reannotated(truths, points, yaw, landmarks2d, full))
    checks.append(Check("NME of the truth against itself", "0", f"{100 * sparse_nme(points, points).max():g} %",
                        bool(sparse_nme(points, points).max() == 0)))
    moved = 100 * sparse_nme(points + [1, 0, 0], points).mean()
    by_hand = 100 * (1 / box_size(points)).mean()
    checks.append(Check("one pixel to the right", f"{by_hand:.4f} % = mean of 100 / sqrt(wh)"
                        + ("; 0.539 % on the release" if full else ""), f"{moved:.4f} %",
                        bool(np.isclose(moved, by_hand, rtol=1e-9) and (not full or round(moved, 3) == 0.539))))
    checks += _pose(euler, truths, kept, full)
    checks += _dense(truths, dense, region, points, full)
    return checks


def checks_text(checks: Sequence[Check]) -> str:
    """The checks for a reader."""
    marks = {True: "ok", False: "FAILED", None: "not checked"}
    return "\n".join(f"{marks[check.passed]:<12}{check.name:<56}wanted {check.wanted}; got {check.got}" for check in checks) + "\n"


def _known(name: str, wanted: str, got: str, full: bool) -> Check:
    return Check(name, f"{wanted} on the {RELEASE} images", got, got == wanted if full else None)


def _projection(truths: Sequence[FaceTruth], dense: DenseTruth | None, points: np.ndarray, full: bool) -> list[Check]:
    name = "68 vertices against pt3d_68"
    if dense is None:
        return [Check(name, "the stored landmarks", "needs a Basel model (--basel)", None)]
    projected = np.concatenate([dense.vertices(truths[start:start + 8])[:, dense.keypoints]
                                for start in range(0, len(truths), 8)])
    if dense.sizes == (199, 29):
        worst = float(np.abs(projected - points)[..., :2].max())
        return [Check(name, "below 0.01 px", f"{worst:.2g} px at most", worst < 0.01)]
    error = 100 * float(sparse_nme(projected, points).mean())
    wanted = {(40, 10): 0.88, (60, 29): 0.08, (80, 29): 0.06}.get(dense.sizes)
    text = f"{wanted:.2f} % (cost of leaving coefficients out)" if wanted else "the cost of leaving coefficients out"
    passed = bool(abs(error - wanted) < 0.03) if full and wanted else None
    return [Check(f"{name}, {dense.title}", text, f"{error:.3f} % NME over {len(truths)} images", passed)]


def _reannotated(truths: Sequence[FaceTruth], points: np.ndarray, yaw: np.ndarray,
                 landmarks2d: Mapping[str, np.ndarray] | None, full: bool) -> Check:
    name, wanted = "re-annotated against original landmarks", "2.812 3.234 4.096, mean of bins 3.381, all 3.088"
    if landmarks2d is None:
        return Check(name, f"{wanted} %", "needs AFLW2000-3D-Reannotated.pts68.npy (--labels)", None)
    again = np.stack([landmarks2d[truth.name] for truth in truths])
    # Points and box as the regression was made: the original ones are the prediction and give the box as well.
    errors = 100 * sparse_nme(points[..., :2], again, size=box_size(points))
    bins = bin_means(errors, yaw_bins(yaw))
    got = f"{' '.join(f'{mean:.3f}' for mean in bins)}, mean of bins {bins.mean():.3f}, all {errors.mean():.3f}"
    return _known(name, wanted, got, full)


def _pose(euler: np.ndarray, truths: Sequence[FaceTruth], kept: np.ndarray, full: bool) -> list[Check]:
    if not kept.any():
        return [Check("Euler angles", "images within 99 degrees", "none", None)]
    rotation = rotation_from_euler_deg(euler[kept])
    worst = float(np.abs(euler_deg_from_rotation(rotation) - euler[kept]).max())
    stored = CAMERA_FLIP[:, None] * np.stack([truth.rotation for truth in truths])[kept]
    legacy = float(np.abs(euler_deg_from_rotation(stored, extraction="legacy_R20")[:, 1] - euler[kept, 1]).mean())
    return [Check("Euler angles there and back", "below 1e-6 degrees", f"{worst:.2g} degrees", worst < 1e-6),
            Check("yaw read as asin(R[2,0])", "2.22 degrees off on the release", f"{legacy:.2f} degrees off",
                  round(legacy, 2) == 2.22 if full else None)]


def _dense(truths: Sequence[FaceTruth], dense: DenseTruth | None, region: Region | None, points: np.ndarray,
           full: bool) -> list[Check]:
    names = ("box of the region over box of the 68", "similarity of the truth, reconstruction error",
             "truth moved in depth, dense 2D and 3D")
    if dense is None or region is None:
        return [Check(name, "a dense truth and a region", "needs --basel and the region's files", None) for name in names]
    chosen = np.linspace(0, len(truths) - 1, min(len(truths), 200)).astype(int)
    ratios, similar, moved = [], [], []
    turn = rotation_from_euler_deg([20.0, -35.0, 10.0])
    for index in chosen:
        mesh = dense.vertices([truths[index]])[0]
        face = region(mesh)
        ratios.append(box_size(face) / box_size(points[index]))
        eyes = float(interocular_distance(mesh[dense.keypoints]))
        similar.append(max(reconstruction_error(1.3 * face @ turn.T + [4, 5, 6], face, normaliser=eyes, align=align)
                           for align in ("similarity", "sadrnet_closed_form")))
        moved.append(max(float(dense_nme(face + [0, 0, 25.0], face, size=1.0, dimensions=dimensions)) for dimensions in (2, 3)))
    ratio = float(np.mean(ratios))
    known = {"uv43867": 1.224, "bfm_uvmask": 1.22, "full53215": 1.354, "noneck38365": 1.168}.get(region.name)
    return [Check(names[0], f"{known} ({region.name})" if known else f"no known value for {region.name}", f"{ratio:.3f}",
                  bool(abs(ratio - known) < 0.01) if full and known else None),
            Check(names[1], "0", f"{100 * max(similar):.2g} %", max(similar) < 1e-9),
            Check(names[2], "0", f"{max(moved):.2g} px", max(moved) < 1e-9)]
