"""Laws of the landmark schemes."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.morphable import schemes


@pytest.mark.parametrize("scheme", sorted(schemes.FLIPS))
def test_flips_are_involutions(scheme):
    flip = np.array(schemes.FLIPS[scheme])
    assert len(flip) == schemes.COUNTS[scheme]
    np.testing.assert_array_equal(flip[flip], np.arange(len(flip)))


def test_names_and_flips_agree():
    swap = str.maketrans({"<": "left", ">": "right"})
    assert len(schemes.IBUG68_NAMES) == 68
    for index, partner in enumerate(schemes.IBUG68_FLIP[36:48], start=36):
        name = schemes.IBUG68_NAMES[index].replace("left", "<").replace("right", ">")
        mirrored = name.replace("<", "#").replace(">", "<").replace("#", ">").translate(swap)
        assert schemes.IBUG68_NAMES[partner] == mirrored


def test_known_mediapipe_pairs():
    flip = schemes.MEDIAPIPE478_FLIP
    # Eye corners, mouth corners, upper and lower lid, temple, irises; nose tip, lips' middle and chin stay.
    for first, second in [(33, 263), (133, 362), (61, 291), (159, 386), (145, 374), (127, 356), (468, 473), (469, 476)]:
        assert flip[first] == second
    assert all(flip[index] == index for index in (1, 4, 0, 17, 10, 152, 168))


def test_groups_partition_and_mirror():
    members = [point for group in schemes.IBUG68_GROUPS.values() for point in group]
    assert sorted(members) == list(range(68))
    for groups, flip in ((schemes.IBUG68_GROUPS, schemes.IBUG68_FLIP),
                         (schemes.MEDIAPIPE478_GROUPS, schemes.MEDIAPIPE478_FLIP)):
        for name, points in groups.items():
            partner = name.replace("left", "#").replace("right", "left").replace("#", "right")
            assert {flip[point] for point in points} == set(groups[partner]), name


def test_map_between_schemes_commutes_with_the_mirror():
    across = schemes.IBUG68_TO_MEDIAPIPE478
    assert len(across) == 68 and len(set(across)) == 68
    for index in range(68):
        assert schemes.MEDIAPIPE478_FLIP[across[index]] == across[schemes.IBUG68_FLIP[index]], index
