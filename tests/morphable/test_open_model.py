"""What the shipped open model promises."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.assets import locate
from facerecon.morphable import schemes

FLIP = np.array([-1.0, 1.0, 1.0])
ARKIT = """browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight
eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight
eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight
mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft
mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower
mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight
noseSneerLeft noseSneerRight tongueOut""".split()


@pytest.fixture(scope="module")
def action(open_data):
    names = open_data.header["expression_names"]
    return lambda name: open_data.expression_basis[names.index(name)].astype(np.float64)


@pytest.fixture(scope="module")
def points(open_data):
    mean = open_data.mean.astype(np.float64)
    return {scheme: value.locate(mean, open_data.faces) for scheme, value in open_data.embeddings.items()}


def test_sizes(open_data):
    assert locate("models/open-head.facemodel").stat().st_size < 40e6
    assert 17_000 < len(open_data.mean) < 20_000 and len(open_data.faces) > 34_000
    assert len(open_data.identity_basis) >= 80 and 20 <= len(open_data.albedo_basis) <= 64
    assert open_data.header["identity_variance_kept"] >= 0.99
    assert open_data.header["identity_variance_kept_face"] >= 0.99
    assert open_data.header["heads"] >= 3000
    assert open_data.header["units"] == "mm" and open_data.header["licence"] == "CC0-1.0"
    height = np.ptp(open_data.mean[open_data.masks["face"], 1])
    assert 140 < height < 230


def test_surface_is_one_oriented_manifold_with_one_rim(open_data):
    faces = open_data.faces
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(sides, axis=0)) == len(sides)
    undirected, count = np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)
    assert count.max() == 2
    rim = undirected[count == 1]
    # Only the neck is open: every rim vertex has two rim edges, all of them below the face.
    assert np.bincount(rim.ravel())[np.unique(rim)].tolist() == [2] * len(np.unique(rim))
    assert open_data.mean[rim.ravel(), 1].max() < open_data.mean[open_data.masks["face"], 1].min() + 40
    corners = open_data.mean[faces].astype(np.float64)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume > 1e6


def test_mean_and_albedo_are_symmetric(open_data):
    partner = open_data.symmetry
    np.testing.assert_array_equal(partner[partner], np.arange(len(partner)))
    assert np.abs(open_data.mean[partner] * FLIP - open_data.mean).max() < 0.05
    assert np.abs(open_data.albedo_mean[partner] - open_data.albedo_mean).max() < 2e-3
    for name, mask in open_data.masks.items():
        np.testing.assert_array_equal(mask[partner], mask, err_msg=name)


def test_modes_are_symmetric_or_antisymmetric(open_data):
    for mode, symmetric in zip(open_data.identity_basis, open_data.header["identity_symmetric"]):
        mirrored = mode[open_data.symmetry] * FLIP
        assert np.abs(mirrored - (mode if symmetric else -mode)).max() < 0.02


def test_identity_modes_are_principal_components(open_data):
    weights = open_data.header["identity_weights"]
    # Weights of the analysis, up to the vertices where they blend.
    metric = np.where(open_data.masks["shown"], weights["shown"], weights["other"])
    flat = open_data.identity_basis.astype(np.float64)
    gram = np.einsum("kvc,v,lvc->kl", flat, metric, flat, optimize=True)
    std = np.sqrt(np.diag(gram))
    np.testing.assert_allclose(std, open_data.header["identity_std"], rtol=0.03)
    assert (np.diff(open_data.header["identity_std"]) <= 0).all()
    correlation = gram / np.outer(std, std) - np.eye(len(std))
    assert np.abs(correlation).max() < 0.08


def test_eyeballs_stay_spheres(open_data):
    generator = np.random.default_rng(2)
    for _ in range(4):
        coefficients = generator.standard_normal(len(open_data.identity_basis))
        shape = open_data.mean + np.tensordot(coefficients, open_data.identity_basis, 1)
        for side in (1, -1):
            ball = shape[open_data.masks["eyes"] & (side * open_data.mean[:, 0] > 0)]
            system = np.c_[2 * ball, np.ones(len(ball))]
            solution, *_ = np.linalg.lstsq(system, (ball ** 2).sum(axis=1), rcond=None)
            radius = np.linalg.norm(ball - solution[:3], axis=1)
            assert 11 < radius.mean() < 21 and radius.std() < 0.05


def test_random_heads_are_heads(open_data):
    # No head of twenty turns more than a few triangles inside out, or leaves human proportions.
    generator = np.random.default_rng(4)
    corners = open_data.mean[open_data.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face = open_data.masks["face"][open_data.faces].all(axis=1)
    five = open_data.embeddings["five"]
    for _ in range(20):
        shape = open_data.mean + np.tensordot(generator.standard_normal(len(open_data.identity_basis)),
                                              open_data.identity_basis, 1)
        corners = shape[open_data.faces]
        turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        against = (np.einsum("ij,ij->i", normal, turned) < 0) & face
        assert against.sum() < 0.01 * face.sum()
        place = five.locate(shape, open_data.faces)
        assert 48 < np.linalg.norm(place[1] - place[0]) < 80
        assert place[3:, 1].max() < place[2, 1] < place[:2, 1].min()


def test_the_52_actions(open_data):
    names = open_data.header["expression_names"]
    assert sorted(names) == sorted(ARKIT) and open_data.header["expression_range"] == [0.0, 1.0]
    for name, displacement in zip(names, open_data.expression_basis):
        moved = np.linalg.norm(displacement, axis=1)
        assert moved.max() > 2.0, name
        # Local: the skull never moves, and one-sided actions stay mostly on their side (the subject's left is +x).
        assert moved[open_data.masks["scalp"]].mean() < 0.4, name
        weight = moved / moved.sum()
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            assert weight[open_data.mean[:, 0] > 0].sum() > 0.65, name


def test_left_and_right_actions_mirror_each_other(open_data, action):
    for name in ARKIT:
        partner = name[:-4] + "Right" if name.endswith("Left") else name[:-5] + "Left" if name.endswith("Right") else name
        mirrored = action(partner)[open_data.symmetry] * FLIP
        assert np.abs(mirrored - action(name)).max() < 0.05, name


def test_actions_do_what_they_say(open_data, action, points):
    def move(name: str, scheme: str, point: int) -> np.ndarray:
        return open_data.embeddings[scheme].locate(action(name), open_data.faces)[point]

    # The lower lip sinks when the jaw opens, the upper one hardly moves.
    assert move("jawOpen", "ibug68", 66)[1] < -15 and abs(move("jawOpen", "ibug68", 62)[1]) < 4
    # Point 54 is the mouth corner at +x, the subject's left.
    smile = move("mouthSmileLeft", "ibug68", 54)
    assert points["ibug68"][54, 0] > 0 and smile[0] > 2 and smile[1] > 2
    assert move("mouthFrownLeft", "ibug68", 54)[1] < -2
    # The upper lid's middle (MediaPipe 386, subject's left) meets the lower one (374).
    gap = points["mediapipe478"][386, 1] - points["mediapipe478"][374, 1]
    left = move("eyeBlinkLeft", "mediapipe478", 386)[1] - move("eyeBlinkLeft", "mediapipe478", 374)[1]
    right = move("eyeBlinkLeft", "mediapipe478", 159)[1] - move("eyeBlinkLeft", "mediapipe478", 145)[1]
    assert left < -0.6 * gap and abs(right) < 0.05 * gap
    assert move("browInnerUp", "ibug68", 21)[1] > 2 and move("browDownLeft", "ibug68", 23)[1] < -1
    assert move("eyeLookUpLeft", "mediapipe478", 473)[1] > 1.5 and move("eyeLookOutLeft", "mediapipe478", 473)[0] > 2
    assert move("eyeLookInLeft", "mediapipe478", 473)[0] < -2 and abs(move("eyeLookUpLeft", "mediapipe478", 468)[1]) < 0.1
    assert move("noseSneerLeft", "ibug68", 35)[1] > 0.5 and move("jawForward", "ibug68", 8)[2] > 4


def test_masks_do_not_overlap(open_data):
    masks = open_data.masks
    parts = ["face", "eyes", "mouth", "ears", "neck", "scalp"]
    for first in range(len(parts)):
        for second in range(first):
            assert not (masks[parts[first]] & masks[parts[second]]).any(), (parts[first], parts[second])
    assert not (masks["skin"] & ~masks["face"]).any()
    assert not (masks["pncc"] & ~(masks["face"] | masks["eyes"])).any()
    assert masks["lips"].sum() > 300 and (masks["lips"] & masks["skin"]).sum() > 0.8 * masks["lips"].sum()
    for name in parts:
        assert masks[name].any(), name


def test_code_of_the_face(open_model, open_data):
    code = open_model.ncc.numpy()
    inside = code[open_data.masks["pncc"]]
    np.testing.assert_array_equal(inside.min(axis=0), 0)
    np.testing.assert_array_equal(inside.max(axis=0), 1)
    assert code.min() >= 0 and code.max() <= 1
    # x grows to the image's right, y up, z out of the face: the nose tip is nearest, in the middle.
    tip = inside[inside[:, 2].argmax()]
    assert abs(tip[0] - 0.5) < 0.02 and 0.2 < tip[1] < 0.6


def test_embeddings(open_data, points):
    for scheme in ("ibug68", "mediapipe478", "five"):
        embedding = open_data.embeddings[scheme]
        assert len(embedding) == schemes.COUNTS[scheme]
        assert (embedding.barycentric >= -1e-6).all() and embedding.triangle.max() < len(open_data.faces)
        mirrored = points[scheme][list(schemes.FLIPS[scheme])] * FLIP
        assert np.linalg.norm(mirrored - points[scheme], axis=1)[embedding.valid].max() < 3.0, scheme
    sparse, dense = points["ibug68"], points["mediapipe478"]
    on_eye = open_data.masks["eyes"][open_data.faces[open_data.embeddings["mediapipe478"].triangle]].all(axis=1)
    assert np.flatnonzero(on_eye).tolist() == list(range(468, 478))
    # Eyes, lips and nose of both schemes are the same places.
    across = np.array(schemes.IBUG68_TO_MEDIAPIPE478)
    distance = np.linalg.norm(sparse - dense[across], axis=1)
    assert distance[36:].max() < 7.0 and np.median(distance[36:]) < 3.0
    # Brows above eyes above nose above mouth above chin.
    order = [sparse[17:27, 1].min(), sparse[36:48, 1].max(), sparse[30, 1], sparse[62, 1], sparse[8, 1]]
    assert (np.diff(order) < 0).all()
    np.testing.assert_allclose(points["five"][:2], dense[[468, 473]])


def test_evaluating_landmarks_equals_the_embedding_of_the_vertices(open_model, open_data):
    import torch

    generator = torch.Generator().manual_seed(0)
    identity = torch.randn(2, open_model.sizes[0], generator=generator)
    expression = torch.rand(2, open_model.sizes[1], generator=generator)
    vertices = open_model.vertices(identity, expression).numpy()
    for scheme, embedding in open_data.embeddings.items():
        found = open_model.landmarks(scheme, identity, expression).numpy()
        for row in range(2):
            np.testing.assert_allclose(found[row], embedding.locate(vertices[row], open_data.faces), atol=2e-3)
