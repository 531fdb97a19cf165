"""Hair: how far it stands off the head in a photo, and what it looks like where the photo does not show it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from facerecon.fitting.texture_atlas import smoothstep
from facerecon.morphable import MorphableModel
from facerecon.synthesis.profile_window import ProfileWindow

# The person is cut out of a small picture; hair is looked for this far around the head, and is at most so thick.
CUT_SIZE = 150
LIKELY_MM, REACH_MM = 12.0, 60.0
# Hair on the scalp: a cap or a narrow skull may also lie inside the outline of the fit, which nothing but its landmarks tells.
THICKNESS_MM = (-10.0, 40.0)
# A fit's outline is this uncertain.
RIM_MM = 10.0
# Pixels this near the edge of the cut mix the person with the background.
EDGE_MM = 1.7
RAYS = 72
ONE_SIDED_MM = 8.0
ROUNDS = 3
# From this depth of visible hair along the outline the unseen side is covered with it.
HAIR_SEEN_MM = (5.0, 14.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Hair:
    """Attributes:
        person: (N, N) bool, pixels of the window that show the person (head, hair, neck, shoulders), without their edge.
        thickness: (V,) float32 mm, how far each vertex of the scalp stands off along its normal; 0 elsewhere.
    """

    person: np.ndarray
    thickness: np.ndarray


def find_hair(model: MorphableModel, window: ProfileWindow, place: np.ndarray, mask: np.ndarray, neck: np.ndarray,
              ears: np.ndarray) -> Hair:
    """Cut the person out of the window (GrabCut, Rother et al., SIGGRAPH 2004) and measure the hair along rays from the head.

    Args:
        model: gives the scalp.
        window: the photo.
        place: (V, 3) px, the bald head in the window.
        mask: (N, N) bool, its pixels with neck.
        neck, ears: (N, N) bool, its pixels that show them.
    """
    import cv2

    person = _person(window, mask, neck, ears)
    sure = cv2.erode(person.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=round(EDGE_MM * window.px_per_mm)) > 0
    scalp = model.masks.get("scalp")
    thickness = np.zeros(len(place), np.float32)
    if scalp is None or not bool(scalp.any()):
        return Hair(sure, thickness)
    scalp = scalp.cpu().numpy()
    # Rays start at the middle of the scalp's outline, well inside the head.
    low, high = place[scalp, :2].min(axis=0), place[scalp, :2].max(axis=0)
    centre = (low + high) / 2
    ray = _ray_thickness(person, mask & ~neck, centre, window.px_per_mm)
    offset = place[scalp, :2] - centre
    angle = np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) * RAYS
    towards = np.interp(angle, np.arange(RAYS), ray, period=RAYS)
    # Near the middle of the picture a direction means nothing: front and back of the head have the mean of the upper half.
    upper = ray[RAYS // 2:].mean()
    share = np.clip(np.linalg.norm(offset, axis=1) / (0.5 * np.linalg.norm(high - low)), 0, 1)
    thickness[scalp] = (upper + share * (towards - upper)) * _scalp_depth(model, scalp)
    return Hair(sure, thickness)


def unseen_hair(model: MorphableModel, place: np.ndarray, hair: np.ndarray, rest: np.ndarray,
                unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Where in the photo to look for hair that covers the far side of the scalp: the hair along the outline, in mirror image.

    Args:
        model: gives the scalp.
        place: (V, 3) px, the head with its hair in the window.
        hair: (N, N) bool, pixels that surely show hair.
        rest: (N, N) bool, pixels that show the rest of the head.
        unit: px per mm.

    Returns:
        ((V, 2) float32 px, (V,) float32 weight in [0, 1], 0 away from the scalp and where the outline shows no hair).
    """
    from scipy.ndimage import distance_transform_edt

    scalp = model.masks.get("scalp", torch.zeros(len(place), dtype=torch.bool)).cpu().numpy()
    if not hair.any():
        return place[:, :2].astype(np.float32), np.zeros(len(place), np.float32)
    column, row = np.clip(np.rint(place[:, :2]).astype(int), 0, len(hair) - 1).T
    inside, outline = distance_transform_edt(hair | rest, return_indices=True)
    rim = outline[:, row, column]
    # Where the outline is face or ear, hair is sought nearby, but counts the less the farther it is.
    away, nearest = distance_transform_edt(~hair, return_indices=True)
    strange = away[rim[0], rim[1]]
    rim = nearest[:, rim[0], rim[1]]
    broad = distance_transform_edt(~rest)[rim[0], rim[1]]
    rim = rim[::-1].T.astype(np.float32)
    # Lookups crowd at the depth at which the face begins, so that no ear or cheek is painted on the back of the head.
    reach = np.maximum(0.7 * broad, 1.0)
    deep = reach * (1 - np.exp(-inside[row, column] / reach))
    inward = (place[:, :2] - rim) / np.maximum(np.linalg.norm(place[:, :2] - rim, axis=1, keepdims=True), 1e-6)
    weight = smoothstep(broad / unit, *HAIR_SEEN_MM) * (1 - smoothstep(strange / unit, 4.0, 14.0))
    return (rim + inward * deep[:, None]).astype(np.float32), (weight * scalp).astype(np.float32)


def _person(window: ProfileWindow, mask: np.ndarray, neck: np.ndarray, ears: np.ndarray) -> np.ndarray:
    import cv2

    factor = CUT_SIZE / window.size
    unit = window.px_per_mm * factor

    def small(picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture.astype(np.uint8), (CUT_SIZE, CUT_SIZE), interpolation=cv2.INTER_AREA)

    whole, throat = small(mask) > 0, np.flatnonzero(small(neck).any(axis=1))
    if not whole.any():
        return mask
    distance = cv2.distanceTransform((~whole).astype(np.uint8), cv2.DIST_L2, 5) / unit
    # Ears stand off, and seldom quite where a fit puts them.
    depth = cv2.distanceTransform((whole & ~(small(ears) > 0)).astype(np.uint8), cv2.DIST_L2, 5) / unit
    guess = np.full(whole.shape, cv2.GC_PR_BGD, np.uint8)
    guess[distance < LIKELY_MM] = cv2.GC_PR_FGD
    guess[distance > REACH_MM] = cv2.GC_BGD
    if len(throat):
        guess[(throat[0] + throat[-1]) // 2:] = cv2.GC_PR_FGD
    guess[depth > RIM_MM] = cv2.GC_FGD
    if not (guess == cv2.GC_FGD).any() or not (guess == cv2.GC_BGD).any():
        return mask
    # GrabCut starts from random cluster centres; the same photo shall always give the same cut.
    cv2.setRNGSeed(0)
    picture = cv2.resize(window.image, (CUT_SIZE, CUT_SIZE), interpolation=cv2.INTER_AREA)
    cv2.grabCut((picture * 255 + 0.5).clip(0, 255).astype(np.uint8), guess, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS,
                cv2.GC_INIT_WITH_MASK)
    person = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(person, window.image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5


def _ray_thickness(person: np.ndarray, head: np.ndarray, centre: np.ndarray, unit: float) -> np.ndarray:
    """(RAYS,) mm of unbroken hair outside the head in each direction, smoothed; 0 downwards, where hair hangs loose."""
    from scipy.ndimage import gaussian_filter1d, minimum_filter1d

    angle = np.arange(RAYS) / RAYS * 2 * np.pi
    steps = np.arange(0, int(220 * unit))
    column, row = (np.clip(np.rint(centre[axis] + steps * turn(angle)[:, None]).astype(int), 0, len(head) - 1)
                   for axis, turn in ((0, np.cos), (1, np.sin)))
    on_head = head[row, column]
    last = np.where(on_head.any(1), on_head.shape[1] - 1 - on_head[:, ::-1].argmax(1), 0)
    left = (steps[None] > (last - RIM_MM * unit)[:, None]) & ~person[row, column]
    end = np.where(left.any(1), left.argmax(1), last)
    found = np.clip((end - last) / unit, *THICKNESS_MM)
    # Something behind the head may pass for hair; few people have much more of it on one side.
    mirrored = found[(RAYS // 2 - np.arange(RAYS)) % RAYS]
    found = np.minimum(found, mirrored + ONE_SIDED_MM)
    downwards = smoothstep(np.sin(angle).astype(np.float32), 0.2, 0.6)
    # The thinnest of its neighbours first: a hull that is too thick carries background on its side.
    return gaussian_filter1d(minimum_filter1d(found, 3, mode="wrap"), 2.0, mode="wrap") * (1 - downwards)


def _scalp_depth(model: MorphableModel, scalp: np.ndarray) -> np.ndarray:
    """(S,) in [0, 1]: 0 at the hairline, 1 well inside it."""
    from scipy.spatial import cKDTree

    points = model.mean.detach().cpu().numpy()
    return smoothstep(cKDTree(points[~scalp]).query(points[scalp])[0], 0.0, 28.0)
