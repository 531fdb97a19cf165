"""One head as a photo would show it: skin, eyes, hair, body and glasses under one light, before a background."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from facerecon.geometry.cameras import ScaledOrthographicPose
from facerecon.geometry.normals import vertex_normals
from facerecon.morphable.model import MorphableModel
from facerecon.render.fragments import Fragments
from facerecon.render.harmonics import shade
from facerecon.render.interpolation import interpolate
from facerecon.render.rasterizer import rasterize
from facerecon.synthesis.body import Neck, glasses, upper_teeth
from facerecon.synthesis.hair import Cranium, add_hair
from facerecon.synthesis.heads import Head
from facerecon.synthesis.layers import lay_over
from facerecon.synthesis.pieces import Piece, joined
from facerecon.synthesis.surface import ambient_occlusion, texture_detail

SUPERSAMPLING = 2
# Masks of a whole head with eyes, neck and hairline; a model without them is drawn as it is, before a ball of hair.
WHOLE_HEAD = ("ears", "eyes", "face", "mouth", "neck", "scalp")
GLASSES_SHARE = 0.13
SHININESS = 14
# Lips closer than this hide the teeth.
PARTED_MM = 4.0


class Painter:
    """Draws heads of one model.

    Args:
        model: open or Basel.
    """

    def __init__(self, model: MorphableModel) -> None:
        self._model = model
        self._whole = all(name in model.masks for name in WHOLE_HEAD) and "ibug68" in model.embeddings
        if self._whole:
            masks = {name: mask.numpy() for name, mask in model.masks.items()}
            occlusion = ambient_occlusion(model)
            # The learned albedo has some of the shade in it already; inside the mouth nothing is known but darkness.
            self._occlusion = np.where(masks["mouth"], 0.7 * np.clip(occlusion, 0.06, 1) ** 1.3, 0.25 + 0.75 * occlusion**0.7)
            # Light comes from above: the chin's shadow lies on the neck.
            self._occlusion[masks["neck"]] = np.clip(occlusion[masks["neck"]], 0.15, 1) ** 1.1
            self._occlusion[masks["eyes"]] = 0.9
            self._detail = texture_detail(model)
            height, width = self._detail.shape
            self._atlas_px = torch.stack([model.uv[:, 0] * width - 0.5, (1 - model.uv[:, 1]) * height - 0.5], -1).float()
            self._cranium, self._neck = Cranium(model), Neck(model)
            # A dry forehead shines less than eyes and lips.
            self._gloss = np.where(masks["mouth"], 0.02, np.where(masks["eyes"], 0.25, np.where(masks["lips"], 0.14, 0.07)))
            self._gloss *= self._occlusion
            self._eye_faces = masks["eyes"][model.faces.numpy()].all(-1)
            left = model.mean[:, 0].numpy() > 0
            self._eyes = [np.flatnonzero(masks["eyes"] & side) for side in (~left, left)]

    def draw(self, generator: np.random.Generator, head: Head, vertices: torch.Tensor, behind: np.ndarray) -> np.ndarray:
        """The picture (S, S, 3) float32 of a head with vertices (V, 3) before a background (S, S, 3) of that size."""
        size, pose = len(behind), head.parameters.pose
        albedo = self._model.albedo(head.parameters.albedo).clamp(0.02, 1).numpy()
        if not self._whole:
            if generator.uniform() < 0.8:
                behind = add_hair(behind, generator, pose.project(vertices.mean(0, keepdim=True))[0, :2].numpy(),
                                  100 * float(pose.scale))
            piece = Piece(vertices.numpy(), self._model.faces.numpy(), albedo)
            return self._compose([(piece, np.zeros(len(albedo)))], head, behind)
        bare = Piece(vertices.numpy(), self._model.faces.numpy(), albedo * self._occlusion[:, None])
        identity, expression = head.parameters.identity, head.parameters.expression
        neutral = self._model.landmarks("ibug68", identity, torch.zeros_like(expression)).numpy()
        around = [self._neck.shoulders(generator, bare.vertices, bare.albedo, pose)]
        lips = self._model.landmarks("ibug68", identity, expression).numpy()
        if np.linalg.norm(lips[62] - lips[66]) > PARTED_MM:
            around.append(upper_teeth(generator, neutral[48:68]))
        hair = self._cranium.style(generator, bare.vertices, head.hair)
        layers = [(bare, generator.uniform(0.3, 1.4) * self._gloss), joined([*around, hair] if hair is not None else around)]
        if generator.uniform() < GLASSES_SHARE:
            worn = glasses(generator, neutral)
            layers.append((worn, np.full(len(worn.vertices), worn.gloss)))
        return self._compose(layers, head, behind)

    def _compose(self, layers: list[tuple[Piece, np.ndarray]], head: Head, behind: np.ndarray) -> np.ndarray:
        """Draw each layer, let the nearest win, and lay the whole over the background with smooth outlines."""
        side = SUPERSAMPLING * len(behind)
        pose = head.parameters.pose.scaled_image(SUPERSAMPLING)
        colour = cover = nearest = None
        for piece, gloss in layers:
            fragments, drawn, depth = self._layer(piece, gloss, head, pose, side)
            if colour is None:
                colour, nearest, cover = drawn, depth, np.isfinite(depth).astype(np.float32)
                if self._whole:
                    self._add_pores(colour, fragments)
                    self._add_catchlights(colour, piece.vertices, fragments.face_index[0].numpy(), head, pose)
                continue
            lay_over(colour, cover, nearest, drawn, depth)
        # Where nothing is drawn the colour is 0, so that its mean over a pixel is weighted by what covers the pixel.
        target = behind.shape[1::-1]
        clear = 1 - cv2.resize(cover, target, interpolation=cv2.INTER_AREA)
        return cv2.resize(colour, target, interpolation=cv2.INTER_AREA) + clear[..., None] * behind

    def _layer(self, piece: Piece, gloss: np.ndarray, head: Head, pose: ScaledOrthographicPose,
               side: int) -> tuple[Fragments, np.ndarray, np.ndarray]:
        points, faces = torch.from_numpy(np.asarray(piece.vertices, np.float32)), torch.from_numpy(piece.faces)
        normals = pose.light_frame(vertex_normals(points, faces))
        # Open pieces are seen from both sides; light falls on the one that is seen.
        turned = torch.where(normals[:, 2:] < 0, -normals, normals) if piece.opacity is not None else normals
        light = shade(torch.from_numpy(np.asarray(piece.albedo, np.float32)), turned, head.parameters.illumination).clamp_min(0)
        shine = (turned @ torch.from_numpy(_halfway(head.key).astype(np.float32))).clamp_min(0) ** SHININESS
        colours = light + (torch.from_numpy(gloss.astype(np.float32)) * shine)[:, None]
        if piece.opacity is not None:
            colours = torch.cat([colours, torch.from_numpy(piece.opacity.astype(np.float32))[:, None]], -1)
        fragments = rasterize(pose.project(points), faces, (side, side))
        depth = torch.where(fragments.mask[0], fragments.depth[0], torch.inf).numpy()
        return fragments, interpolate(fragments, colours, faces)[0].numpy(), depth

    def _add_pores(self, colour: np.ndarray, fragments: Fragments) -> None:
        place = interpolate(fragments, self._atlas_px, self._model.uv_faces)[0].numpy()
        colour *= cv2.remap(self._detail, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[..., None]

    def _add_catchlights(self, colour: np.ndarray, vertices: np.ndarray, shown: np.ndarray, head: Head,
                         pose: ScaledOrthographicPose) -> None:
        """The lamp's reflection in each eye, where the eyeball is seen."""
        half = _halfway(head.key)
        radius = max(1.1 * float(pose.scale), 0.6)
        reach = int(np.ceil(radius)) + 2
        for eye in self._eyes:
            ball = vertices[eye]
            centre = (ball.min(axis=0) + ball.max(axis=0)) / 2
            place = pose.project(torch.from_numpy(centre[None]).float())[0, :2].numpy()
            place = place + np.ptp(ball[:, 1]) / 2 * float(pose.scale) * half[:2] * [1, -1]
            x, y = np.rint(place).astype(int) - reach
            if min(x, y) < 0 or max(x, y) + 2 * reach + 1 > len(colour):
                continue
            window = np.s_[y:y + 2 * reach + 1, x:x + 2 * reach + 1]
            spot = np.zeros((2 * reach + 1,) * 2, np.float32)
            middle = tuple(np.rint(16 * (place - [x, y])).astype(int).tolist())
            cv2.circle(spot, middle, round(16 * radius), 1.0, -1, cv2.LINE_AA, 4)
            spot *= (shown[window] >= 0) & self._eye_faces[shown[window]]
            colour[window] += 0.75 * spot[..., None] * (1 - colour[window])


def _halfway(key: np.ndarray) -> np.ndarray:
    """Unit vector between the lamp and the viewer: the normal that shines."""
    half = key + [0, 0, 1]
    return half / np.linalg.norm(half)
