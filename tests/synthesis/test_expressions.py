"""Random expressions are ones that a face can make."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.morphable import load_model
from facerecon.synthesis.expressions import OPPOSITES, SIDES, _settled, random_expression


@pytest.fixture(scope="module")
def names():
    return load_model().expression_names


@pytest.fixture(scope="module")
def drawn(names):
    generator = np.random.default_rng(0)
    return np.stack([random_expression(generator, names) for _ in range(700)])


def column(drawn, names, name):
    return drawn[:, names.index(name)]


def test_strengths_are_strengths(drawn, names):
    assert drawn.dtype == np.float32 and drawn.shape == (700, len(names)) and drawn.min() == 0 and drawn.max() <= 1
    # Every action occurs; few of the 52 at a time.
    assert (drawn > 0).any(0).all()
    assert 4 < (drawn > 0.02).sum(1).mean() < 16


def test_no_action_works_against_another(drawn, names):
    met = 0
    for first, second in OPPOSITES:
        for one in {first, *(first + side for side in SIDES)} & set(names):
            for other in {second, *(second + side for side in SIDES)} & set(names):
                if one[-4:] in ("Left", "ight") and other[-4:] in ("Left", "ight") and one[-4:] != other[-4:] and \
                        first not in names:
                    continue
                assert not ((column(drawn, names, one) > 0) & (column(drawn, names, other) > 0)).any(), (one, other)
                met += 1
    assert met > 30
    assert (column(drawn, names, "mouthClose") <= column(drawn, names, "jawOpen")).all()
    tongue = column(drawn, names, "tongueOut") > 0
    assert tongue.any() and (column(drawn, names, "jawOpen")[tongue] >= 0.3).all()


def test_the_weaker_of_two_opposites_goes(names):
    asked = {"eyeBlinkLeft": 0.4, "eyeWideLeft": 0.6, "eyeBlinkRight": 0.9, "eyeWideRight": 0.2, "mouthClose": 0.5}
    settled = _settled(asked, names)
    values = {name: value for name, value in zip(names, settled) if value}
    assert values == {"eyeWideLeft": np.float32(0.6), "eyeBlinkRight": np.float32(0.9)}


def test_both_sides_do_nearly_the_same(drawn, names):
    sided = [name[:-4] for name in names if name.endswith("Left") and name[:-4] + "Right" in names
             and name[:-4] not in ("jaw", "mouth") and not name.startswith("eyeLook")]
    assert len(sided) == 14
    for name in sided:
        left, right = column(drawn, names, name + "Left"), column(drawn, names, name + "Right")
        assert abs(left.mean() - right.mean()) < 0.02
        both = (left > 0.1) & (right > 0.1)
        assert (np.abs(left - right)[both] < 0.25 * np.maximum(left, right)[both] + 0.02).mean() > 0.8, name


def test_both_eyes_look_at_one_place(drawn, names):
    for one, other in (("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight"),
                       ("eyeLookUpLeft", "eyeLookUpRight")):
        np.testing.assert_array_equal(column(drawn, names, one), column(drawn, names, other))
