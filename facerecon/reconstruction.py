"""One reconstructed face, as a value that can be saved, drawn and written as JSON."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facerecon.checks import check_choice
from facerecon.files import write_atomic
from facerecon.geometry import ScaledOrthographicPose
from facerecon.morphable import FaceParameters, MorphableModel

SCHEMA = 1
SUFFIXES = (".obj", ".glb", ".ply", ".json", ".pts")


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstruction:
    """A textured, posed, animatable face mesh from one photo. Arrays are NumPy and must not be changed.

    Attributes:
        vertices: (V, 3) float32 mm, model space, with identity and expression.
        neutral: (V, 3) float32 mm, the same head without expression.
        texture: (T, T, 3) uint8, or None.
        parameters: identity, expression, albedo, illumination and pose as the model takes them.
        model: the face model; `faces`, `uv`, `uv_faces` and names come from it.
        landmarks68: (68, 3) float32: x, y px in the upright photo, and depth in px growing away from the camera.
        visibility: (68,) float32 in [0, 1].
        pose: projects `vertices` into the photo. The same as `parameters.pose` unless the size was fixed by `ipd_mm`.
        metric_scale: factor on the model's millimetres, 1 unless `ipd_mm` was given.
        box: (4,) x0, y0, x1, y1 px, of the detector.
        confidence: of the detection, in [0, 1].
        image: name of the photo, or None.
        image_size: (width, height).
        face: index of the face in the photo, largest first.
        method: "fit"; "encoder" for a network's answer as it is; "auto" for a fit that an encoder started.
        fit: what the fit reached: `landmark_nme_percent`, and `photometric_rmse`, `photometric_rmse_all`, `covered_share`, which are
            None without the photometric stage; see `facerecon.fitting.FitResult`.
        timings_ms: by stage.
        flags: warnings such as `low_quality`, `pose_out_of_range`, `no_dense_landmarks`, `poor_fit`; `encoder_unused` when
            a fit was to begin at an encoder's answer and did better without.
    """

    vertices: np.ndarray
    neutral: np.ndarray
    texture: np.ndarray | None
    parameters: FaceParameters
    model: MorphableModel
    landmarks68: np.ndarray
    visibility: np.ndarray
    pose: ScaledOrthographicPose
    metric_scale: float
    box: np.ndarray
    confidence: float
    image: str | None
    image_size: tuple[int, int]
    face: int
    method: str
    fit: dict[str, float | None]
    timings_ms: dict[str, float]
    flags: tuple[str, ...] = ()

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) int64, counter-clockwise seen from outside."""
        return self.model.faces.numpy()

    @property
    def uv(self) -> np.ndarray:
        """(T, 2) texture coordinates, u right, v up; indexed by `uv_faces`."""
        return self.model.uv.numpy()

    @property
    def uv_faces(self) -> np.ndarray:
        """(F, 3) int64 into `uv`."""
        return self.model.uv_faces.numpy()

    @property
    def identity(self) -> np.ndarray:
        """(K,) identity coefficients, N(0,1)."""
        return self.parameters.identity.numpy()

    @property
    def expression(self) -> dict[str, float]:
        """Expression coefficients by name; of the open model the 52 ARKit actions in [0, 1]."""
        return dict(zip(self.model.expression_names, map(float, self.parameters.expression)))

    @property
    def albedo(self) -> np.ndarray:
        """(A,) albedo coefficients, N(0,1)."""
        return self.parameters.albedo.numpy()

    @property
    def vertex_albedo(self) -> np.ndarray:
        """(V, 3) fitted albedo, RGB in [0, 1]."""
        return self.model.albedo(self.parameters.albedo).clamp(0, 1).numpy()

    @property
    def illumination(self) -> np.ndarray:
        """(9, 3) spherical harmonics coefficients."""
        return self.parameters.illumination.numpy()

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds by stage; same as `timings_ms`."""
        return self.timings_ms

    @property
    def camera(self) -> ScaledOrthographicPose:
        """The projection into the photo; same as `pose`."""
        return self.pose

    def vertex_colours(self) -> np.ndarray:
        """(V, 3) float32 RGB in [0, 1]: the texture at the vertices, or the fitted albedo when there is no texture."""
        if self.texture is None:
            return self.vertex_albedo
        corner = np.zeros(len(self.vertices), dtype=np.int64)
        corner[self.faces.reshape(-1)] = self.uv_faces.reshape(-1)
        height, width = self.texture.shape[:2]
        u, v = self.uv[corner].T
        rows = np.clip(((1 - v) * height).astype(int), 0, height - 1)
        columns = np.clip((u * width).astype(int), 0, width - 1)
        return self.texture[rows, columns].astype(np.float32) / 255

    def to_dict(self, *, files: dict[str, str] | None = None) -> dict[str, Any]:
        """Plain JSON values; the schema is in docs/cli.md."""
        fit = {name: None if value is None else round(float(value), 4) for name, value in self.fit.items()}
        return {
            "schema": SCHEMA, "image": self.image, "image_size": list(self.image_size), "face": self.face, "status": "ok",
            "box": _numbers(self.box, 2), "confidence": round(float(self.confidence), 4), "model": self.model.name,
            "method": self.method, "flags": list(self.flags), "units": "mm", "metric_scale": self.metric_scale,
            "pose": self.pose.to_dict(), "landmarks68": _numbers(self.landmarks68, 3),
            "visibility": _numbers(self.visibility, 3), "identity": _numbers(self.identity, 5),
            "expression": {name: round(value, 5) for name, value in self.expression.items()},
            "albedo": _numbers(self.albedo, 5), "illumination": _numbers(self.illumination, 5), "fit": fit,
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()}, "files": dict(files or {}),
        }

    def save(self, path: str | os.PathLike[str], *, units: str = "mm", texture: str = "uv") -> list[Path]:
        """Write the face in the format of the suffix: .obj (with .mtl and .png), .glb, .ply, .json or .pts.

        Args:
            path: goal; appears whole or not at all.
            units: "mm", "cm" or "m", for OBJ and PLY; GLB is in metres.
            texture: "uv"; "vertex" for colours at the vertices of an OBJ instead; or "none". PLY has no textures: it gets
                colours unless "none". GLB has a texture unless "none".

        Returns:
            The files written.

        Raises:
            ArgumentError: another suffix, unit or texture. PathError: `path_write`.
        """
        import json

        from facerecon import export

        path = Path(path)
        check_choice("suffix", path.suffix.lower(), SUFFIXES)
        check_choice("texture", texture, ("uv", "vertex", "none"))
        notes = ("Size is a prior: one photo does not tell it.",) if self.metric_scale == 1 else ()
        image = self.texture if texture == "uv" else None
        kind = path.suffix.lower()
        if kind == ".obj":
            written = export.write_obj(path, self.vertices, self.faces, uv=self.uv, uv_faces=self.uv_faces, texture=image,
                                       units=units, colours=self.vertex_colours() if texture == "vertex" else None, comments=notes)
            return [file for file in dataclasses.astuple(written) if file is not None]
        if kind == ".glb":
            basis = self.model.expression_basis.numpy()
            targets = {name: basis[index] * self.metric_scale for index, name in enumerate(self.model.expression_names)}
            export.write_glb(path, self.neutral, self.faces, uv=self.uv, uv_faces=self.uv_faces,
                             texture=None if texture == "none" else self.texture,
                             morph_targets=targets, weights=self.expression)
        elif kind == ".ply":
            export.write_ply(path, self.vertices, self.faces, units=units, comments=notes,
                             colours=None if texture == "none" else self.vertex_colours())
        elif kind == ".pts":
            export.write_pts(path, self.landmarks68[:, :2])
        else:
            write_atomic(path, json.dumps(self.to_dict(), indent=1) + "\n")
        return [path]

    def render(self, *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, size: int = 512,
               style: str | None = None) -> np.ndarray:
        """Draw the mesh from any side: (size, size, 4) uint8 RGBA; see `facerecon.views.render_view` for the angles.

        `style` is "texture", "colours" (albedo) or "clay"; by default the texture when there is one.
        """
        from facerecon.views import render_view

        return render_view(self.vertices, self.faces, yaw=yaw, pitch=pitch, roll=roll, size=size, uv=self.uv,
                           uv_faces=self.uv_faces, texture=self.texture, colours=self.vertex_albedo,
                           style=style or ("colours" if self.texture is None else "texture"))

    def photo_view(self):
        """The mesh as the photo sees it, as a `facerecon.views.PhotoView` that gives overlay, depth, normals, PNCC, albedo."""
        from facerecon.views import PhotoView

        with torch.no_grad():
            albedo = self.model.albedo(self.parameters.albedo)
        return PhotoView(self.model, torch.from_numpy(self.vertices), albedo, self.parameters.illumination, self.pose,
                         (self.image_size[1], self.image_size[0]))


def _numbers(array: Any, digits: int) -> list:
    return np.asarray(array, dtype=np.float64).round(digits).tolist()
