"""The albedo of the open model: mean and named modes, all N(0,1), in sRGB values.

Tone and detail come from the skins and the human range of tones; brows, lips, beard, eyes and cheeks are painted, since the
skins have none, or too little variation of them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from open_model import brows, eyes
from open_model.skin import SkinStatistics, skin_samples, skin_statistics
from open_model.topology import Topology
from open_model.uvmaps import read_skins, sample, to_vertices

DETAIL_MODES = 16
BROW_THICKNESS = 1.45
BROW_COLOUR, BROW_OPACITY = np.array([0.20, 0.145, 0.115]), 0.62
INNER_MOUTH, TONGUE = np.array([0.25, 0.09, 0.085]), np.array([0.60, 0.31, 0.30])


@dataclasses.dataclass(frozen=True)
class Albedo:
    """mean (V,3); basis (A,V,3) times std; names of the modes; the statistics and maps that painting needs again."""

    mean: np.ndarray
    basis: np.ndarray
    names: tuple[str, ...]
    skin: SkinStatistics
    maps: dict[str, np.ndarray]


def build_albedo(topology: Topology, mean: np.ndarray, masks: dict[str, np.ndarray], region_maps: dict[str, np.ndarray],
                 landmarks: dict[str, np.ndarray], textures: Path) -> Albedo:
    """Mean albedo and modes at the fine vertices `mean` (V,3)."""
    painted = ~(masks["eyes"] | masks["mouth"])
    samples = skin_samples(read_skins(textures), topology, painted)
    maps = paint_maps(topology, mean, masks, region_maps, landmarks, textures)
    skin = skin_statistics(samples, masks["face"] & ~masks["lips"], maps["scalp"], modes=DETAIL_MODES)
    # Inside the mouth the skin's colours are continued, so the lips can fade into it instead of ending in dots of dark.
    inside = (_smooth(masks["mouth"].astype(float), topology.faces, 2) * (masks["mouth"] | masks["lips"]))[:, None]
    pattern = skin.pattern * (1 - inside) * ~masks["eyes"][:, None]

    base = skin.tone * pattern
    mouth = inside * np.where(maps["tongue"][:, None] > 0.5, TONGUE, INNER_MOUTH)
    irises, gaze = eyes.read_irises(textures), topology.gaze_directions()
    eye_colours = {name: maps["eye"][:, None] * eyes.paint_eye(picture, gaze) for name, picture in irises.items()}
    eye_mean = sum(eyes.IRIS_WEIGHTS[name] * value for name, value in eye_colours.items())
    cover = (BROW_OPACITY * maps["brow"])[:, None]
    line = maps["lashes"][:, None]
    dark = BROW_COLOUR * 0.7
    whole = base * (1 - cover) + BROW_COLOUR * cover
    whole = whole * (1 - line) + dark * line
    whole = whole + mouth + eye_mean

    modes: list[tuple[str, np.ndarray]] = []
    for index, row in enumerate(skin.tone_modes):
        modes.append((f"tone {index + 1}", row * pattern * (1 - 0.6 * cover) * (1 - line)))
    for index, row in enumerate(skin.detail):
        modes.append((f"skin {index + 1}", base * row * (1 - cover) * (1 - line)))
    add = modes.append
    brow = maps["brow"][:, None]
    add(("brow darkness", -0.30 * brow * (base - BROW_COLOUR)))
    add(("brow warmth", brow * np.array([0.040, 0.016, 0.000])))
    add(("brow thickness", -0.30 * maps["brow edge"][:, None] * (base - BROW_COLOUR)))
    add(("beard", -maps["beard"][:, None] * base * np.array([0.14, 0.135, 0.115])))
    add(("moustache", -maps["moustache"][:, None] * base * np.array([0.095, 0.092, 0.08])))
    add(("lip redness", maps["lips"][:, None] * np.array([0.035, -0.022, -0.012])))
    add(("lip darkness", -maps["lips"][:, None] * base * np.array([0.075, 0.085, 0.08])))
    add(("cheek redness", maps["cheeks"][:, None] * np.array([0.013, -0.009, -0.008])))
    add(("under-eye shade", -maps["under eye"][:, None] * base * np.array([0.065, 0.075, 0.055])))
    scalp = maps["scalp"][:, None]
    add(("scalp darkness", -scalp * base * 0.24))
    iris_modes = _iris_modes(eye_colours, eye_mean)
    for index, row in enumerate(iris_modes):
        add((f"iris {index + 1}", row))
    white = maps["eye"][:, None] * maps["white"][:, None]
    add(("white of the eye", white * np.array([0.07, 0.075, 0.08])))
    names, basis = zip(*modes)
    basis = np.stack(basis)
    basis = (basis + basis[:, topology.symmetry]) / 2
    whole = (whole + whole[topology.symmetry]) / 2
    return Albedo(mean=np.clip(whole, 0.02, 0.98), basis=basis, names=names, skin=skin, maps=maps)


def paint_maps(topology: Topology, mean: np.ndarray, masks: dict[str, np.ndarray], region_maps: dict[str, np.ndarray],
               landmarks: dict[str, np.ndarray], textures: Path) -> dict[str, np.ndarray]:
    """Soft maps (V,) in [0,1] that say where each painted thing is."""
    count = len(mean)
    uv = topology.uv_matrix @ topology.coarse_uv
    points, dense = landmarks["ibug68"], landmarks["mediapipe478"]
    left, right = dense[473], dense[468]
    middle, distance = (left + right) / 2 * [0, 1, 1], abs(left[0] - right[0])
    styles = brows.read_brows(textures)
    soft = brows.mean_brow(styles)
    face = masks["face"].astype(float)

    def brow(thickness: float) -> np.ndarray:
        return brows.brow_opacity(soft, mean, middle, distance, thickness=thickness) * face

    def blob(centre: np.ndarray, radius: tuple[float, float]) -> np.ndarray:
        mirrored = [((mean[:, 0] - side * centre[0]) / radius[0]) ** 2 for side in (1, -1)]
        up = ((mean[:, 1] - centre[1]) / radius[1]) ** 2
        return sum(np.exp(-0.5 * (across + up)) for across in mirrored) * face * (mean[:, 2] > centre[2] - 40)

    lips = to_vertices(sample(region_maps["lips"], uv), topology.uv_faces, topology.faces, count) * painted_front(masks)
    mouth_y = points[[48, 54], 1].mean()
    nose_y, chin_y = points[33, 1], points[8, 1]
    across = np.abs(mean[:, 0]) / abs(points[3, 0])
    low = np.clip((points[2, 1] - mean[:, 1]) / 25, 0, 1) * np.clip((across - 0.55) / 0.25, 0, 1)
    below = np.clip((mouth_y - 6 - mean[:, 1]) / 10, 0, 1)
    neck_fade = np.clip((mean[:, 1] - (chin_y - 28)) / 14, 0, 1)
    beard = np.maximum(low, below) * (masks["face"] | masks["neck"]) * neck_fade * (1 - lips)
    upper = (mean[:, 1] < nose_y + 1) & (mean[:, 1] > mouth_y - 2) & (np.abs(mean[:, 0]) < abs(points[54, 0]) + 6)
    moustache = _smooth(upper * face * (1 - lips) * np.clip((abs(points[54, 0]) + 6 - np.abs(mean[:, 0])) / 12, 0, 1),
                        topology.faces, 4)
    eye = masks["eyes"].astype(float)
    part_tongue = (topology.matrix @ (topology.part == 1).astype(float)) > 0.5
    angle = np.degrees(np.arccos(np.clip(topology.gaze_directions()[:, 2], -1, 1)))
    under = points[[41, 46]].mean(axis=0) * [0, 1, 1] + [abs(points[46, 0]), -9, 0]
    edge = brow(1.5 * BROW_THICKNESS) - brow(0.75 * BROW_THICKNESS)
    return {"brow": brow(BROW_THICKNESS), "brow edge": np.clip(edge, 0, 1), "lips": lips,
            "beard": _smooth(beard, topology.faces, 3), "moustache": moustache,
            "cheeks": np.clip(blob(dense[425] * [1, 1, 1], (15, 14)) + 0.8 * blob(points[30], (7, 7)), 0, 1),
            "under eye": np.clip(blob(under, (12, 4.5)), 0, 1),
            "scalp": _smooth(masks["scalp"].astype(float), topology.faces, 10),
            "eye": eye, "white": np.clip((angle - 23) / 4, 0, 1), "tongue": part_tongue.astype(float),
            "lashes": _lash_line(topology, masks, mean, landmarks)}


def painted_front(masks: dict[str, np.ndarray]) -> np.ndarray:
    """(V,) 1 on the outer skin, 0 on eyeballs and inside the mouth."""
    return (~(masks["eyes"] | masks["mouth"])).astype(float)


def _lash_line(topology: Topology, masks: dict[str, np.ndarray], mean: np.ndarray,
               landmarks: dict[str, np.ndarray]) -> np.ndarray:
    """Opacity of the lash line: the rims of the lids, strong above, faint below."""
    from open_model.regions import chart_of_uv
    from open_model.atlas import name_charts

    chart = chart_of_uv(topology)
    names = name_charts(topology, chart)
    sockets = [index for index, name in names.items() if name.startswith("socket")]
    head = [index for index, name in names.items() if name == "head"]
    rim = _vertices_of(topology, chart, sockets) & _vertices_of(topology, chart, head)
    points = landmarks["ibug68"]
    corner_height = points[[36, 39, 42, 45], 1].mean()
    line = np.where(mean[:, 1] > corner_height + 0.5, 0.75, 0.28) * rim
    return np.maximum(line, 0.55 * _smooth(line, topology.faces, 1)) * painted_front(masks)


def _vertices_of(topology: Topology, chart: np.ndarray, wanted: list[int]) -> np.ndarray:
    rows = np.isin(chart[topology.coarse_uv_faces[:, 0]], wanted)
    fine = np.repeat(rows, 4)
    mask = np.zeros(topology.matrix.shape[0], dtype=bool)
    mask[topology.faces[fine].ravel()] = True
    return mask


def _iris_modes(colours: dict[str, np.ndarray], mean: np.ndarray) -> np.ndarray:
    """Three modes times std of the weighted set of painted irises."""
    rows = np.stack([np.sqrt(eyes.IRIS_WEIGHTS[name]) * (value - mean) for name, value in colours.items()])
    _, std, modes = np.linalg.svd(rows.reshape(len(rows), -1), full_matrices=False)
    return (std[:3, None] * modes[:3]).reshape(3, *mean.shape)


def _smooth(value: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    for _ in range(rounds):
        total, number = np.zeros_like(value, dtype=float), np.zeros(len(value))
        for first, second in ((0, 1), (1, 2), (2, 0)):
            for here, there in ((first, second), (second, first)):
                np.add.at(total, faces[:, here], value[faces[:, there]])
                np.add.at(number, faces[:, here], 1)
        value = 0.5 * value + 0.5 * total / np.maximum(number, 1)
    return value
