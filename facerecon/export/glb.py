"""Binary glTF 2.0: one file with texture and named morph targets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.checks import check_choice, check_finite, check_range
from facerecon.errors import ArgumentError
from facerecon.export import arrays
from facerecon.export.glb_buffer import GlbBuffer
from facerecon.export.images import encode_image
from facerecon.export.units import units_per_mm
from facerecon.files import write_atomic

_SMALLEST_MOVE = 1e-8
"""Metres. A vertex that a morph target moves by less is left out of it: all 52 together stay below a micrometre."""


def write_glb(path: str | os.PathLike[str], vertices: Any, faces: Any, *, uv: Any, uv_faces: Any = None, texture: Any = None,
              normals: Any = None, morph_targets: Mapping[str, Any] | None = None, weights: Mapping[str, float] | None = None,
              morph_normals: bool = False, image_format: str = "jpeg", quality: int = 92, double_sided: bool = True,
              scale: float = 1.0, extras: Mapping[str, Any] | None = None) -> Path:
    """Write a GLB: metres, +y up, the face looks along +z (glTF's own axes), front faces counter-clockwise.

    The mesh holds the neutral face; viewers show neutral + sum of weight x target, so the file opens with the fitted
    expression and can be animated. Target names are in `mesh.extras.targetNames`, which Blender, three.js and glTFast read;
    weights are on the mesh and on its node. Vertices are split where the atlas has seams. Targets are sparse: they store
    only the vertices that they move.

    Args:
        path: goal.
        vertices: (V, 3) millimetres, the neutral face when there are morph targets.
        faces: (F, 3) integers from 0.
        uv: (T, 2), u right, v up (glTF's v runs down; the file has 1 - v).
        uv_faces: (F, 3) into `uv`; None when every vertex has one uv.
        texture: uint8 (H, W, 3); None gives a plain material.
        normals: (V, 3); None computes them, weighted by area.
        morph_targets: name -> (V, 3) displacement in millimetres at weight 1, in the order of the file.
        weights: name -> weight; targets that are not named get 0.
        morph_normals: also store how each target turns the normals. Without them a viewer shades the neutral face's
            normals (Blender computes its own); they double the size of the targets.
        image_format: "jpeg" or "png", of the embedded texture.
        quality: of the JPEG.
        double_sided: draw back faces too. The mouth's inside and the neck's rim are open surfaces.
        scale: extra factor on the geometry.
        extras: JSON values for `asset.extras`.

    Raises:
        ArgumentError, MeshError: arrays that do not fit each other, a weight without a target. PathError: `path_write`.
    """
    import pygltflib as gltf

    vertices, faces = arrays.mesh(vertices, faces)
    uv, uv_faces = arrays.uv_layout(uv, uv_faces, faces)
    factor = units_per_mm("m", scale)
    targets = {name: arrays.points(f"morph_targets[{name!r}]", move, 3, len(vertices)) for name, move in (morph_targets or {}).items()}
    values = _weights(targets, weights or {})
    base_normals = arrays.vertex_normals(vertices, faces) if normals is None else arrays.points("normals", normals, 3, len(vertices))

    corner_vertex, corner_uv, indices = split_seams(faces, uv_faces, len(uv))
    buffer = GlbBuffer()
    primitive = gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=buffer.vectors(vertices[corner_vertex] * factor, bounds=True),
            NORMAL=buffer.vectors(_unit(base_normals)[corner_vertex]),
            TEXCOORD_0=buffer.vectors(np.stack([uv[corner_uv, 0], 1.0 - uv[corner_uv, 1]], axis=-1)),
        ),
        indices=buffer.indices(indices), material=0,
    )
    turned = _turned_normals(vertices, faces, list(targets.values())) if morph_normals else ()
    for index, move in enumerate(targets.values()):
        target = {"POSITION": buffer.sparse_vectors((move * factor)[corner_vertex], smallest=_SMALLEST_MOVE)}
        if morph_normals:
            target["NORMAL"] = buffer.sparse_vectors(turned[index][corner_vertex], smallest=1e-3, bounds=False)
        primitive.targets.append(gltf.Attributes(**target))

    material = gltf.Material(name="face", doubleSided=bool(double_sided), alphaMode=gltf.OPAQUE, pbrMetallicRoughness=gltf.PbrMetallicRoughness(
        metallicFactor=0.0, roughnessFactor=0.8, baseColorFactor=[1.0, 1.0, 1.0, 1.0]))
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="facerecon", extras=dict(extras or {})),
        scene=0, scenes=[gltf.Scene(nodes=[0])], nodes=[gltf.Node(name="face", mesh=0)], materials=[material],
        meshes=[gltf.Mesh(name="face", primitives=[primitive])],
    )
    if targets:
        document.meshes[0].weights = values
        document.meshes[0].extras = {"targetNames": list(targets)}
    if texture is not None:
        check_choice("image_format", image_format, ("jpeg", "png"))
        data = encode_image(arrays.texture_image(texture), image_format, quality=int(check_range("quality", quality, 1, 100)))
        document.images = [gltf.Image(name="face", mimeType=f"image/{image_format}", bufferView=buffer.raw(data))]
        # The atlas is no repeating pattern: clamping keeps its borders from meeting.
        document.samplers = [gltf.Sampler(magFilter=gltf.LINEAR, minFilter=gltf.LINEAR_MIPMAP_LINEAR,
                                          wrapS=gltf.CLAMP_TO_EDGE, wrapT=gltf.CLAMP_TO_EDGE)]
        document.textures = [gltf.Texture(source=0, sampler=0)]
        material.pbrMetallicRoughness.baseColorTexture = gltf.TextureInfo(index=0)
    return write_atomic(path, buffer.finish(document, node_weights=values))


def split_seams(faces: np.ndarray, uv_faces: np.ndarray, uv_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One new vertex for each pair of position and uv that a corner has.

    Returns:
        (source vertex (N,), source uv (N,), faces (F, 3) into the N new vertices). The pairs are sorted by vertex, so that a
        mesh without seams keeps its order.
    """
    keys, inverse = np.unique(faces.reshape(-1) * np.int64(uv_count) + uv_faces.reshape(-1), return_inverse=True)
    return keys // uv_count, keys % uv_count, inverse.reshape(faces.shape)


def _turned_normals(vertices: np.ndarray, faces: np.ndarray, moves: list[np.ndarray]) -> np.ndarray:
    """What each displacement adds to the normals: (N, V, 3) float32."""
    shapes = np.stack([vertices, *(vertices + move for move in moves)]).astype(np.float32)
    normals = arrays.vertex_normals(shapes, faces)
    return normals[1:] - normals[:1]


def _weights(targets: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> list[float]:
    unknown = sorted(set(weights) - set(targets))
    if unknown:
        raise ArgumentError(f"weights: wanted names of morph targets, got {', '.join(unknown)} besides")
    values = [float(arrays.plain(weights.get(name, 0.0))) for name in targets]
    check_finite("weights", np.asarray(values))
    return values


def _unit(normals: np.ndarray) -> np.ndarray:
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
