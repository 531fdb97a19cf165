"""Colours and texture atlas of the shipped open model."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from facerecon.render import rasterize

# The ten Monk Skin Tone swatches.
TONES = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
SIZE = 512


@pytest.fixture(scope="module")
def texels(open_data):
    """Triangle (S,S) and barycentrics (S,S,3) of the atlas."""
    uv = open_data.uv.astype(np.float64)
    place = np.stack([uv[:, 0] * SIZE - 0.5, (1 - uv[:, 1]) * SIZE - 0.5, np.zeros(len(uv))], axis=1)
    fragments = rasterize(torch.from_numpy(place), torch.from_numpy(open_data.uv_faces), (SIZE, SIZE))
    return fragments.face_index[0].numpy(), fragments.barycentric[0].numpy()


def test_mean_colours(open_data):
    mean, masks = open_data.albedo_mean, open_data.masks
    assert mean.min() >= 0 and mean.max() <= 1
    skin, lips = mean[masks["skin"] & ~masks["lips"]].mean(axis=0), mean[masks["lips"]].mean(axis=0)
    assert skin[0] > skin[1] > skin[2]
    # Lips are redder than skin, the mouth is dark, the pupil black, the white of the eye nearly grey.
    assert lips[0] / lips[1] > 1.1 * skin[0] / skin[1]
    assert mean[masks["mouth"]].mean() < 0.35
    eyes = mean[masks["eyes"]]
    assert eyes.min() < 0.1 and np.ptp(eyes[eyes.mean(axis=1).argsort()[-50:]].mean(axis=0)) < 0.12


def test_brows_are_darker_than_the_forehead(open_data):
    points = open_data.embeddings["ibug68"].locate(open_data.albedo_mean, open_data.faces)
    dense = open_data.embeddings["mediapipe478"].locate(open_data.albedo_mean, open_data.faces)
    forehead = dense[[151, 108, 337]].mean()
    between_rows = np.mean([dense[[105, 52]].mean(), dense[[66, 65]].mean(), dense[[296, 295]].mean()])
    assert between_rows < 0.85 * forehead and points[17:27].mean() < forehead


def test_every_human_tone_is_inside(open_data):
    names = open_data.header["albedo_names"]
    skin = open_data.masks["skin"] & ~open_data.masks["lips"]
    tone = [row for row, name in enumerate(names) if name.startswith("tone")]
    directions = np.stack([open_data.albedo_basis[row][skin].mean(axis=0) for row in tone])
    middle = open_data.albedo_mean[skin].mean(axis=0)
    for code in TONES:
        wanted = np.array([int(code[place:place + 2], 16) for place in (0, 2, 4)]) / 255
        # Within three standard deviations of each tone mode, to a twentieth of the range.
        fit = scipy.optimize.lsq_linear(directions.T, wanted - middle, bounds=(-3, 3))
        assert np.abs(fit.fun).max() < 0.05, (code, fit.x, fit.fun)


def test_names_of_the_modes(open_data):
    names = open_data.header["albedo_names"]
    assert len(names) == len(open_data.albedo_basis) == len(set(names))
    eyes, face = open_data.masks["eyes"], open_data.masks["face"]
    for name, mode in zip(names, open_data.albedo_basis):
        inside = np.abs(mode[eyes]).max() if name.startswith(("iris", "white")) else np.abs(mode[face]).max()
        assert inside > 0.005, name
        if name.startswith(("iris", "white")):
            assert np.abs(mode[~eyes]).max() < 1e-3, name


def test_random_colours_are_plausible(open_data):
    generator = np.random.default_rng(6)
    skin = open_data.masks["skin"]
    outside = []
    for _ in range(40):
        colour = open_data.albedo_mean + np.tensordot(generator.standard_normal(len(open_data.albedo_basis)),
                                                      open_data.albedo_basis, 1)
        outside.append(((colour[skin] < -0.05) | (colour[skin] > 1.05)).mean())
        tone = np.median(colour[skin], axis=0)
        assert tone[2] < tone[0] + 0.06, "no blue people"
    assert np.mean(outside) < 0.02


def test_atlas_is_inside_and_never_folds(open_data, texels):
    uv = open_data.uv
    assert uv.min() >= 0 and uv.max() <= 1
    assert open_data.uv_faces.shape == open_data.faces.shape
    a, b, c = (uv[open_data.uv_faces[:, corner]].astype(np.float64) for corner in range(3))
    area = ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / 2
    assert (area > 0).all()
    # Without overlap the triangles' areas add up to the covered part.
    covered = (texels[0] >= 0).mean()
    assert area.sum() > 0.6 and abs(covered - area.sum()) < 0.004


def test_texture_vertices_belong_to_one_vertex(open_data):
    pairs = np.unique(np.stack([open_data.uv_faces.ravel(), open_data.faces.ravel()], axis=1), axis=0)
    assert len(pairs) == len(open_data.uv)


def test_atlas_shows_the_face_upright_and_large(open_data):
    rows = open_data.masks["face"][open_data.faces].all(axis=1)
    uv = open_data.uv[open_data.uv_faces[rows]].reshape(-1, 2)
    position = open_data.mean[open_data.faces[rows]].reshape(-1, 3)
    assert np.ptp(uv[:, 0]) > 0.45
    assert np.corrcoef(uv[:, 0], position[:, 0])[0, 1] > 0.9
    assert np.corrcoef(uv[:, 1], position[:, 1])[0, 1] > 0.9


def test_texture_shows_the_mean_albedo(open_data, texels):
    texture = open_data.albedo_texture
    assert texture.shape == (1024, 1024, 3)
    small = texture.reshape(SIZE, 2, SIZE, 2, 3).mean(axis=(1, 3)) / 255
    index, weights = texels
    faces = open_data.faces[np.maximum(index, 0)]
    expected = np.einsum("hwk,hwkc->hwc", weights, open_data.albedo_mean[faces])
    skin = (index >= 0) & open_data.masks["skin"][faces].all(axis=-1)
    difference = (small - expected)[skin]
    assert np.abs(difference.mean(axis=0)).max() < 0.02
    assert np.sqrt((difference ** 2).mean()) < 0.06
    # Pores and hairs: the picture is rougher than what vertices can show.
    assert np.abs(np.diff(texture[350:500, 350:650].astype(float), axis=1)).mean() > 0.8
