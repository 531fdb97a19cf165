"""Random expressions that faces make: a few actions at a time, both sides mostly alike, none against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDES = ("Left", "Right")
# Moods and sounds: strength of each action, without its side; one of these, or none, is the base of an expression.
MOODS: tuple[dict[str, float], ...] = (
    {"mouthSmile": 0.7, "cheekSquint": 0.4, "eyeSquint": 0.2, "mouthDimple": 0.2},
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "eyeSquint": 0.4, "jawOpen": 0.25, "mouthUpperUp": 0.35, "mouthLowerDown": 0.3},
    {"jawOpen": 0.55, "browInnerUp": 0.6, "browOuterUp": 0.6, "eyeWide": 0.6},
    {"browDown": 0.8, "eyeSquint": 0.4, "mouthPress": 0.5, "noseSneer": 0.3},
    {"browInnerUp": 0.7, "mouthFrown": 0.6, "mouthShrugLower": 0.3},
    {"noseSneer": 0.7, "mouthUpperUp": 0.5, "browDown": 0.4, "eyeSquint": 0.3},
    {"mouthPucker": 0.8}, {"mouthFunnel": 0.6, "jawOpen": 0.25}, {"jawOpen": 0.35, "mouthLowerDown": 0.25},
    {"mouthStretch": 0.5, "jawOpen": 0.15}, {"mouthRollUpper": 0.5, "mouthRollLower": 0.6, "mouthPress": 0.4},
    {"jawOpen": 0.4, "mouthClose": 0.35, "cheekPuff": 0.3}, {"eyeBlink": 1.0}, {"eyeSquint": 0.7, "cheekSquint": 0.4},
)
# Actions that move the same skin in opposite ways: where both are there, the weaker goes.
OPPOSITES = (
    ("eyeBlink", "eyeWide"), ("eyeSquint", "eyeWide"), ("eyeLookUp", "eyeLookDown"), ("eyeLookIn", "eyeLookOut"),
    ("browDown", "browOuterUp"), ("mouthSmile", "mouthFrown"), ("mouthSmile", "mouthPucker"), ("mouthSmile", "mouthFunnel"),
    ("mouthStretch", "mouthPucker"), ("mouthStretch", "mouthFunnel"), ("mouthPress", "mouthFunnel"), ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"), ("mouthRollUpper", "mouthUpperUp"), ("mouthRollLower", "mouthLowerDown"),
    ("mouthRollLower", "mouthShrugLower"), ("mouthRollLower", "mouthFunnel"), ("mouthRollUpper", "mouthFunnel"),
    ("mouthPress", "jawOpen"), ("mouthShrugLower", "jawOpen"), ("cheekPuff", "mouthUpperUp"), ("cheekPuff", "mouthSmile"),
)
GAZE = ("eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeLookDown")
NEUTRAL_SHARE, WINK_SHARE, TONGUE_SHARE = 0.25, 0.03, 0.02


def random_expression(generator: np.random.Generator, names: Sequence[str]) -> np.ndarray:
    """Strengths (E,) float32 in [0, 1] of the ARKit actions `names`; a model without one of them loses nothing else.

    A quarter of the faces is neutral. The others have a mood or a sound at random strength, up to three further weak actions,
    and a side-to-side difference that is small for nine faces of ten. Both eyes look at one place.
    """
    actions = sorted({_without_side(name) for name in names} - {*GAZE, "tongueOut", "mouthClose"})
    drawn: dict[str, float] = {}
    if generator.uniform() >= NEUTRAL_SHARE:
        if generator.uniform() < 0.8:
            strength = generator.uniform(0.3, 1.1)
            drawn = {name: value * strength * generator.uniform(0.7, 1.15) for name, value in
                     MOODS[generator.integers(len(MOODS))].items()}
        for name in generator.choice(actions, generator.integers(0, 4), replace=False):
            drawn[str(name)] = max(drawn.get(str(name), 0.0), generator.uniform(0.05, 0.4))
    if generator.uniform() < TONGUE_SHARE:
        drawn |= {"tongueOut": generator.uniform(0.4, 0.9), "jawOpen": generator.uniform(0.4, 0.7)}
        drawn.pop("mouthClose", None)
    lopsided = 0.35 if generator.uniform() < 0.1 else 0.06
    values: dict[str, float] = {}
    for name, value in drawn.items():
        for side in SIDES:
            values[name + side] = value * (1 + lopsided * generator.normal())
        values[name] = value
    if generator.uniform() < WINK_SHARE:
        values["eyeBlink" + SIDES[generator.integers(2)]] = 1.0
    values |= _gaze(generator)
    return _settled(values, names)


def _gaze(generator: np.random.Generator) -> dict[str, float]:
    """Both eyes to one place: to the subject's left the left eye turns out and the right one in."""
    aside, up = 0.3 * generator.normal(), 0.2 * generator.normal()
    vertical = "eyeLookUp" if up > 0 else "eyeLookDown"
    turned = ("eyeLookOutLeft", "eyeLookInRight") if aside > 0 else ("eyeLookInLeft", "eyeLookOutRight")
    return {**dict.fromkeys(turned, abs(aside)), **{vertical + side: abs(up) for side in SIDES}}


def _settled(values: dict[str, float], names: Sequence[str]) -> np.ndarray:
    """Strengths in the order of `names`, clipped; of two opposites the stronger, and lips closed no further than open."""
    strength = {name: float(np.clip(values.get(name, 0.0), 0.0, 1.0)) for name in names}
    for first, second in OPPOSITES:
        for one, other in _pairs(first, second):
            if strength.get(one, 0) > 0 and strength.get(other, 0) > 0:
                strength[one if strength[one] < strength[other] else other] = 0.0
    if "mouthClose" in strength:
        strength["mouthClose"] = min(strength["mouthClose"], strength.get("jawOpen", 0.0))
    if "tongueOut" in strength and strength.get("jawOpen", 0.0) < 0.3:
        strength["tongueOut"] = 0.0
    return np.array([strength[name] for name in names], np.float32)


def _pairs(first: str, second: str) -> list[tuple[str, str]]:
    """The named actions that meet: of the same side, or where one of them has no sides."""
    found = [(first + side, second + side) for side in SIDES]
    found += [(first, second + side) for side in SIDES] + [(first + side, second) for side in SIDES] + [(first, second)]
    return found


def _without_side(name: str) -> str:
    # jawLeft and mouthLeft are directions, with no partner of the same movement.
    if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        return name
    return next((name.removesuffix(side) for side in SIDES if name.endswith(side)), name)
