"""What exactly is measured: every choice on which published evaluations of AFLW2000-3D differ, as one frozen value.

A figure is comparable only with figures of the same `EvalConfig`; every table prints it. The names of the choices and the
methods that made them are in docs/evaluation.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

from facerecon.checks import check_choice, check_range
from facerecon.errors import ArgumentError

REGIONS = ("uv43867", "bfm_uvmask", "full53215", "noneck38365", "front35709", "open_face")

CHOICES = {
    "region": REGIONS,
    "bbox_from": ("region", "kpt68"),
    "bbox_size": ("sqrt_wh", "diag"),
    "z_align": ("mean_region", "mean_68", "min_region", "none"),
    "rec_align": ("similarity", "rigid", "sadrnet_closed_form", "icp_rigid", "icp_similarity", "none"),
    "rec_dist": ("index", "nearest"),
    "rec_norm": ("interocular3d_outer", "bbox"),
    "annotation": ("original", "reannotated"),
    "pixel_origin": ("zero", "matlab1"),
    "yaw_from": ("zhu_exact", "legacy_R20"),
    "yaw_labels": ("fitted", "aflw"),
    "exclude_pose": ("angle99", "none"),
    "exclude_nme": ("none", "angle99"),
}


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """The switches of an evaluation; the defaults are the `sadrnet` reading.

    Attributes:
        preset: the name that tables print; `changed` is added to it when a switch differs from the preset's.
        region: which points of the mesh count (`regions.load_region`).
        bbox_from: whose 2D box normalises the dense errors: the region's, or that of the 68 landmarks. The sparse error always
            takes the 68.
        bbox_size: sqrt(w h) or the diagonal.
        z_align: the one shift of depth before dense 3D: mean over the region, mean over the 68, minimum over the region, none.
        rec_align, rec_dist, rec_norm: alignment, correspondence and normaliser of the reconstruction error; "bbox" is the 2D
            box of the region. rec_stride: every how many-th point drives an ICP.
        annotation: original landmarks, or the re-annotated 2D ones of LS3D-W.
        pixel_origin: the pixel convention in which truth and prediction are compared; both are converted to it.
        yaw_from: how angles are read from a rotation. yaw_labels: which yaw decides the bin: the fitted one, or AFLW's own.
        exclude_pose, exclude_nme: "angle99" leaves out images with an angle beyond 99 degrees. exclude_ids: image names
            that no metric counts.
        thresholds: NME thresholds of AUC and failure rate, as fractions.
        balanced_seeds: seeds of the balanced subsets. bootstrap_resamples, bootstrap_seed, bootstrap_level: the intervals.
    """

    preset: str = "sadrnet"
    region: str = "uv43867"
    bbox_from: str = "region"
    bbox_size: str = "sqrt_wh"
    z_align: str = "mean_region"
    rec_align: str = "similarity"
    rec_dist: str = "index"
    rec_norm: str = "interocular3d_outer"
    rec_stride: int = 1
    annotation: str = "original"
    pixel_origin: str = "zero"
    yaw_from: str = "zhu_exact"
    yaw_labels: str = "fitted"
    exclude_pose: str = "angle99"
    exclude_nme: str = "none"
    exclude_ids: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (0.07, 0.10)
    balanced_seeds: tuple[int, ...] = tuple(range(10))
    bootstrap_resamples: int = 2000
    bootstrap_seed: int = 0
    bootstrap_level: float = 0.95

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        check_range("rec_stride", self.rec_stride, 1)
        check_range("bootstrap_resamples", self.bootstrap_resamples, 1)
        check_range("bootstrap_level", self.bootstrap_level, 0.0, 1.0)
        for threshold in self.thresholds:
            check_range("thresholds", threshold, 0.0)
        # JSON gives lists back; a frozen value must be hashable and compare equal.
        for name in ("exclude_ids", "thresholds", "balanced_seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict:
        """Plain JSON types; `from_dict` gives the value back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> EvalConfig:
        """Inverse of `to_dict`; unknown names are refused."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ArgumentError(f"EvalConfig has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return cls(**values)

    def fingerprint(self) -> str:
        """SHA-256 over all values: equal exactly when two evaluations measure the same."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The preset's name, with what was changed: "sadrnet (region=full53215)"."""
        base = PRESETS.get(self.preset)
        if base is None:
            return self.preset
        shown = [name for name in (*CHOICES, "rec_stride") if getattr(self, name) != getattr(base, name)]
        return self.preset + (f" ({', '.join(f'{name}={getattr(self, name)}' for name in shown)})" if shown else "")


PRESETS = {
    # SADRNet (Ruan et al., TIP 2021) as its code computes it; its alignment is a closed form of its own.
    "sadrnet": EvalConfig(preset="sadrnet", rec_align="sadrnet_closed_form"),
    # 2DASL (Tu et al., TMM 2020): all vertices, box of the 68 points, nearest depth to zero, rigid ICP on every 50th vertex.
    "2dasl": EvalConfig(preset="2dasl", region="full53215", bbox_from="kpt68", z_align="min_region", rec_align="icp_rigid",
                        rec_norm="bbox", rec_stride=50),
    # The reading under which outsiders measured PRNet: the region of its UV mask, but the box of the 68 points.
    "kpt68_box": EvalConfig(preset="kpt68_box", bbox_from="kpt68"),
}


def preset(name: str = "sadrnet", **changes) -> EvalConfig:
    """A preset with some switches changed; a change of None keeps the preset's value.

    Raises:
        ArgumentError: for an unknown preset, switch or value.
    """
    check_choice("preset", name, PRESETS)
    given = {key: value for key, value in changes.items() if value is not None}
    return EvalConfig.from_dict({**PRESETS[name].to_dict(), **given})
