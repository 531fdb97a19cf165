"""A texture for the whole head from one photo."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch

from facerecon.checks import check_range, check_shape
from facerecon.errors import ArgumentError
from facerecon.fitting.texture_atlas import EYES, MOUTH, SKIN, AtlasMaps, atlas_maps, smoothstep
from facerecon.fitting.texture_colour import LOW_SIZE, broad_ratio, extend, log_ratio, reduced, unlike
from facerecon.fitting.texture_photo import PhotoSamples, sample_photo
from facerecon.geometry.normals import vertex_normals
from facerecon.morphable.model import MorphableModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.render.harmonics import sh_basis

_LEAST_KNOWN = 20.0
"""Vertices' worth of photo below which the brightness of eyes and mouth, or the hair's colour, is not read from it."""

_HAIR_HOLD = 0.3
"""How firmly the scalp keeps the hair's colour, against 1 for skin that the photo shows: low, for a soft hairline."""


@dataclasses.dataclass(frozen=True)
class TextureSources:
    """Where each texel of a texture comes from: three shares in [0, 1] that sum to 1 inside the charts and are 0 outside.

    Attributes:
        photo: (S, S) float32, from the photo at the texel's own place.
        mirrored: (S, S) float32, from the photo at the mirrored place of the face.
        model: (S, S) float32, from the model's albedo, matched in colour.
        shares: the means of the three over the model's `face` region.
    """

    photo: np.ndarray
    mirrored: np.ndarray
    model: np.ndarray
    shares: dict[str, float]


def bake_texture(model: MorphableModel, parameters: FaceParameters, pixels: np.ndarray, *, size: int = 1024, delight: bool = False,
                 facing_range: tuple[float, float] = (0.2, 0.6)) -> tuple[np.ndarray, TextureSources]:
    """Texture atlas of a face from the photo that it was fitted to.

    The photo is used where the camera sees the surface, weighted by the angle of view and kept clear of silhouettes, of the
    photo's border, and of hair and background around the face. Elsewhere its mirror image fills in, then the model's albedo;
    both are first matched to what they meet in broad colour and light.

    Args:
        model: the model of the fit; the work is done on the CPU wherever it lives.
        parameters: of the fitted face.
        pixels: uint8 (H, W, 3) RGB, the upright photo.
        size: texels on a side, 64 to 8192.
        delight: divide the photo by the fitted light, for relighting; the default keeps the look of the photo.
        facing_range: cosines between normal and view at which the photo's weight starts and is full.

    Returns:
        (texture uint8 (size, size, 3), first row at v = 1; TextureSources). Colours outside the charts repeat the nearest
        chart for some texels, so that mip-maps do not bleed.

    Raises:
        ArgumentError: a photo that is not uint8 (H, W, 3), a size out of range.
    """
    check_range("size", size, 64, 8192)
    pixels = check_shape("pixels", np.asarray(pixels), (None, None, 3))
    if pixels.dtype != np.uint8 or not pixels.size:
        raise ArgumentError(f"pixels: wanted a non-empty uint8 image, got {pixels.dtype} {pixels.shape}", code="dtype_invalid")
    start, full = (check_range("facing_range", float(value), 0.0, 1.0) for value in facing_range)
    if not start < full:
        raise ArgumentError(f"facing_range: wanted a lower and a higher cosine, got {facing_range}")
    maps = atlas_maps(model, int(size))
    with torch.no_grad():
        parameters = parameters.to(model.mean.device)
        vertices = model.vertices(parameters.identity, parameters.expression)
        normals = parameters.pose.light_frame(vertex_normals(vertices, model.faces))
        tone = (model.albedo(parameters.albedo) / model.albedo_mean.clamp_min(0.02)).clamp(0.3, 3.0).cpu().numpy()
        shading = (sh_basis(normals) @ parameters.illumination).cpu().numpy() if delight else None
        photo = sample_photo(maps, vertices.cpu(), normals.cpu(), parameters.pose.to("cpu"), pixels, facing_range=(start, full))

    # The skin takes the fitted tone as a whole; its details come from the photo, and the rest by matching to it.
    tone[maps.kind != EYES] = np.median(tone[maps.trusted > 0.5], axis=0) if (maps.trusted > 0.5).any() else 1.0
    model_layer = maps.albedo * maps.spread(tone)
    colour = photo.colour
    if shading is not None:
        colour = np.clip(colour / maps.spread(_plain_light(maps, shading)).clip(0.1), 0.0, 1.0)
    low = atlas_maps(model, min(LOW_SIZE, int(size)))
    hair = _hair_ratio(low, reduced(colour), reduced(model_layer), reduced(photo.weight * maps.skin * smoothstep(photo.clearance, 8.0, 20.0)))
    weight = _inside_face(maps, low, colour, model_layer, photo, hair)

    mirror_colour, mirror_weight = maps.mirrored(colour), maps.mirrored(weight)
    ratio, known = broad_ratio(low, reduced(colour), reduced(mirror_colour), reduced(np.minimum(weight, mirror_weight) * maps.skin))
    gain = np.exp(extend(low, np.clip(ratio, -0.7, 0.7), known))
    from_mirror = (1.0 - weight) * mirror_weight
    seen = weight + from_mirror
    colour *= weight[..., None]
    mirror_colour *= maps.spread(gain)
    mirror_colour *= from_mirror[..., None]
    # From here on `colour` is multiplied by `seen`, as layers are in compositing.
    colour += mirror_colour
    model_layer *= maps.spread(np.exp(_match(low, reduced(colour), reduced(model_layer), reduced(seen), hair)))
    model_layer *= (1.0 - seen)[..., None]
    colour += model_layer
    return _finished(maps, colour), _sources(maps, model, weight, from_mirror)


def _plain_light(maps: AtlasMaps, shading: np.ndarray) -> np.ndarray:
    """Shading (V, 3) of one hue and never dark: fitted light is uncertain where little of it falls, most of all in its hue."""
    brightness = shading.mean(axis=1)
    face = maps.trusted > 0.5 if (maps.trusted > 0.5).any() else slice(None)
    typical = max(float(np.median(brightness[face])), 0.05)
    hue = np.clip(np.median(shading[face], axis=0) / typical, 0.6, 1.6)
    return np.clip(brightness, 0.4 * typical, 2.5 * typical)[:, None] * hue


def _inside_face(maps: AtlasMaps, low: AtlasMaps, colour: np.ndarray, model_layer: np.ndarray, photo: PhotoSamples,
                 hair: np.ndarray | None) -> np.ndarray:
    """The photo's weight, without what is outside the face and what does not look like this face's skin near its border."""
    weight = photo.weight * maps.face
    low_weight, low_colour, low_layer = reduced(weight * maps.skin), reduced(colour), reduced(model_layer)
    ratio, known = broad_ratio(low, low_colour, low_layer, low_weight)
    expected = low.spread(extend(low, ratio, known * low.trusted))
    ratio = cv2.GaussianBlur(log_ratio(low_colour, low_layer), (0, 0), 1.5)
    strange = unlike(ratio, expected)
    if hair is not None:
        # At the top of the forehead hair is as welcome as skin; hair varies more in brightness.
        strange -= low.spread(low.hairy) * np.maximum(strange - unlike(ratio, hair, brightness_limit=0.9), 0.0)
    # Tested where other things than the face are expected, and close to the silhouette, where the fit may be off.
    tested = np.maximum(np.minimum(2.0 * low.spread(low.tested), 1.0), 1.0 - smoothstep(reduced(photo.clearance), 12.0, 25.0))
    strange *= tested * (low_weight > 0.02) * low.skin
    # Widened, so that its soft edge lies outside the hair.
    strange = cv2.GaussianBlur(cv2.dilate(strange.astype(np.float32), np.ones((5, 5), np.uint8)), (0, 0), 3.0)
    # Hair that hangs beside one cheek is expected beside the other, where it may have the colour of skin.
    strange = np.maximum(strange, low.mirrored(strange))
    return weight * cv2.resize(1.0 - smoothstep(strange, 0.75, 1.15), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _hair_ratio(low: AtlasMaps, colour: np.ndarray, model_layer: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """Logarithm of hair colour over the model's albedo (3,), from the band above the forehead; None when it is not seen.

    A shaved head gives its skin.
    """
    ratio, known = broad_ratio(low, colour, model_layer, weight)
    seen = low.hairline & (known > 0.25)
    return np.median(ratio[seen], axis=0) if seen.sum() >= _LEAST_KNOWN else None


def _match(low: AtlasMaps, colour: np.ndarray, model_layer: np.ndarray, seen: np.ndarray, hair: np.ndarray | None) -> np.ndarray:
    """Logarithm of the factor (V, 3) that brings the model's albedo to the colours of the photo (which come times `seen`)."""
    colour = colour / np.maximum(seen, 1e-4)[..., None]
    ratio, known = broad_ratio(low, colour, model_layer, seen * low.skin)
    # What is seen at a slant is darker than the surface around it, and would spread.
    known = smoothstep(known, 0.2, 0.9) * (low.kind == SKIN)
    shown, shown_known = broad_ratio(low, colour, model_layer, seen * (1.0 - low.skin))
    skin_brightness = float((ratio.mean(axis=1) * known).sum() / max(float(known.sum()), 1e-6))
    for kind in (EYES, MOUTH):
        # Eyes and teeth have no part in the colour of the skin: one brightness for each, from the photo if it shows enough.
        members = low.kind == kind
        level = skin_brightness
        if shown_known[members].sum() > _LEAST_KNOWN:
            level = float((shown.mean(axis=1) * shown_known)[members].sum() / shown_known[members].sum())
        ratio[members] = np.clip(level, -0.5, 0.2)
        known[members] = 1.0
    if hair is not None:
        ratio[low.scalp], known[low.scalp] = hair, _HAIR_HOLD
    return extend(low, np.clip(ratio, -2.0, 2.0), known)


def _finished(maps: AtlasMaps, colour: np.ndarray) -> np.ndarray:
    texture = (np.clip(colour, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    mean = texture[maps.skin > 0.5].mean(axis=0) if (maps.skin > 0.5).any() else texture[maps.covered].mean(axis=0)
    texture[maps.far] = np.rint(mean).astype(np.uint8)
    flat = texture.reshape(-1, 3)
    flat[maps.padding[0]] = flat[maps.padding[1]]
    return texture


def _sources(maps: AtlasMaps, model: MorphableModel, weight: np.ndarray, from_mirror: np.ndarray) -> TextureSources:
    rest = np.where(maps.covered, 1.0 - weight - from_mirror, 0.0).astype(np.float32)
    layers = {"photo": weight.astype(np.float32), "mirrored": np.where(maps.covered, from_mirror, 0.0).astype(np.float32), "model": rest}
    inside = model.masks.get("face", torch.ones(len(model.mean), dtype=torch.bool))
    face = (maps.spread(inside.float().cpu().numpy()) > 0.5) & maps.covered
    shares = {name: float(layer[face].mean()) if face.any() else 0.0 for name, layer in layers.items()}
    return TextureSources(**layers, shares=shares)
