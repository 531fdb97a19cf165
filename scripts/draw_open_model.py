"""Draw the open model for its documentation: mean head, random heads, identity modes, actions, regions, atlas.

    python scripts/draw_open_model.py -o docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from facerecon.files import atomic_path
from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.morphable import MorphableModel, load_model
from facerecon.render import render_colour

COLOURS = {"face": (0.95, 0.85, 0.35), "skin": (0.93, 0.74, 0.62), "lips": (0.95, 0.42, 0.5), "eyes": (1.0, 1.0, 1.0),
           "mouth": (0.8, 0.1, 0.1), "ears": (0.3, 0.75, 0.35), "neck": (0.3, 0.5, 0.95), "scalp": (0.55, 0.35, 0.7)}
BACKGROUND = 0.22


def draw(vertices: torch.Tensor, faces: torch.Tensor, colour: torch.Tensor, *, size: int, yaw: float = 0.0,
         pitch: float = 0.0, width_mm: float = 265.0, middle: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """One picture (size, size, 3) uint8 of a head, lit from the upper right front; twice supersampled."""
    large = 2 * size
    scale = large / width_mm
    rotation = euler_deg_to_matrix_aflw(torch.tensor(pitch), torch.tensor(yaw), torch.tensor(0.0))
    centre = torch.tensor([large / 2 - middle[0] * scale, large / 2 + middle[1] * scale]) - 0.5
    pose = ScaledOrthographicPose(rotation=rotation.float(), translation=centre, scale=torch.tensor(scale))
    light = torch.zeros(9, 3)
    # Order 1, y, z, x: soft light from everywhere, and a lamp.
    light[0], light[1], light[2], light[3] = 2.35, 0.35, 0.75, 0.35
    picture = render_colour(vertices, faces, colour.clamp(0, 1), light, pose, (large, large), shading="pixel")
    image = torch.where(picture.mask[0][..., None], picture.image[0], torch.tensor(BACKGROUND)).clamp(0, 1)
    return cv2.resize((image.numpy() * 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)


def sheet(path: Path, tiles: list[np.ndarray], columns: int, labels: list[str] | None = None) -> None:
    """Write pictures of one size as a table."""
    size = tiles[0].shape[0]
    table = np.full((-(-len(tiles) // columns) * size, columns * size, 3), int(BACKGROUND * 255), dtype=np.uint8)
    for number, tile in enumerate(tiles):
        tile = np.ascontiguousarray(tile)
        if labels is not None:
            cv2.putText(tile, labels[number], (5, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 230, 120), 1, cv2.LINE_AA)
        row, column = divmod(number, columns)
        table[row * size:(row + 1) * size, column * size:(column + 1) * size] = tile
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), table[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 86])
    print(path, table.shape[1], "x", table.shape[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="open")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    grey = torch.full_like(model.mean, 0.72)
    views = [(0.0, 0.0), (-35.0, 0.0), (-90.0, 0.0)]
    sheet(arguments.output / "open_model_mean.jpg",
          [draw(model.mean, model.faces, colour, size=330, yaw=yaw, pitch=pitch, width_mm=270)
           for colour in (grey, model.albedo_mean) for yaw, pitch in views], 3)
    random_heads(model, arguments)
    modes = [(mode, sign) for mode in range(9) for sign in (-2.5, 2.5)]
    sheet(arguments.output / "open_model_identity.jpg",
          [draw(model.mean + sign * model.identity_basis[mode], model.faces, grey, size=180, yaw=-25.0)
           for mode, sign in modes], 6, [f"mode {mode + 1}: {sign:+}" for mode, sign in modes])
    sheet(arguments.output / "open_model_actions.jpg",
          [draw(model.mean + shape, model.faces, model.albedo_mean, size=150, width_mm=190, middle=(0, -5))
           for shape in model.expression_basis], 8, list(model.expression_names))
    regions(model, arguments)


def random_heads(model: MorphableModel, arguments: argparse.Namespace) -> None:
    """Sixteen people who do not exist."""
    generator = torch.Generator().manual_seed(arguments.seed)
    tiles = []
    for number in range(16):
        identity = torch.randn(model.sizes[0], generator=generator)
        colour = model.albedo(torch.randn(model.sizes[2], generator=generator))
        tiles.append(draw(model.vertices(identity), model.faces, colour, size=200, yaw=(-30.0, 0.0, 30.0)[number % 3]))
    sheet(arguments.output / "open_model_random.jpg", tiles, 8)


def regions(model: MorphableModel, arguments: argparse.Namespace) -> None:
    """Masks in colours, the normalised coordinate code, and the atlas with its mean texture."""
    colour = torch.full_like(model.mean, 0.3)
    for name, value in COLOURS.items():
        colour[model.masks[name]] = torch.tensor(value)
    code = torch.where(model.masks["pncc"][:, None], model.ncc, torch.tensor(0.12))
    tiles = [draw(model.mean, model.faces, part, size=330, yaw=yaw, pitch=pitch)
             for part in (colour, code) for yaw, pitch in ((0.0, 0.0), (-60.0, 0.0))]
    atlas = cv2.resize(model.albedo_texture, (660, 660), interpolation=cv2.INTER_AREA)
    lines = atlas.copy()
    place = model.uv.numpy() * [660, -660] + [0, 660]
    for corners in place[model.uv_faces.numpy()]:
        cv2.polylines(lines, [np.round(corners * 16).astype(np.int32)], True, (255, 255, 255), 1, cv2.LINE_AA, 4)
    lines = cv2.addWeighted(atlas, 0.6, lines, 0.4, 0)
    quarters = [picture[row:row + 330, column:column + 330] for row in (0, 330) for picture in (atlas, lines)
                for column in (0, 330)]
    sheet(arguments.output / "open_model_regions.jpg", tiles, 4)
    sheet(arguments.output / "open_model_atlas.jpg", quarters, 4)


if __name__ == "__main__":
    main()
