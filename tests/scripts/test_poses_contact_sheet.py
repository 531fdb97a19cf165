"""The contact sheet of held-out faces: who is chosen, and what a cell shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def test_faces_are_chosen_evenly_over_yaw():
    from poses_contact_sheet import choose_evenly

    # Most faces look at the camera, as in photos of the wild.
    yaws = np.concatenate([np.random.default_rng(0).normal(0, 8, 400), np.arange(-60, 61, 5)])
    chosen = choose_evenly(yaws, [str(index) for index in range(len(yaws))], 13)
    assert len(set(chosen)) == 13
    np.testing.assert_allclose(yaws[chosen], np.arange(-60, 61, 10), atol=1.5)
    assert choose_evenly([], [], 4) == [] and choose_evenly([3.0, -3.0], ["a", "b"], 9) == [1, 0]
    # Nobody is shown twice, however far the others are.
    assert choose_evenly([0.0, 1.0, 2.0, 100.0], ["a", "b", "c", "d"], 4) == [0, 1, 2, 3]


def test_somebody_else_goes_before_the_same_face_again():
    from poses_contact_sheet import AGAIN_DEG, choose_evenly

    yaws, subjects = [-40.0, -39.0, 39.0, 40.0, 39.0], ["a", "a", "a", "a", "b"]
    assert [subjects[index] for index in choose_evenly(yaws, subjects, 2)] == ["a", "b"]
    # Not at any price.
    yaws[4] = 39.0 - AGAIN_DEG
    assert [yaws[index] for index in choose_evenly(yaws, subjects, 2)] == [-40.0, 40.0]


def test_cells_are_laid_out_row_by_row():
    from poses_contact_sheet import GAP, PAPER, in_columns

    cells = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = in_columns(cells, 2)
    assert sheet.shape == (8, 12 + GAP, 3)
    assert (sheet[:4, :6] == 10).all() and (sheet[:4, 6 + GAP:] == 20).all() and (sheet[4:, :6] == 30).all()
    assert (sheet[4:, 6:] == PAPER).all() and (sheet[:, 6:6 + GAP] == PAPER).all()


def test_a_cell_shows_photo_overlay_mesh_and_texture():
    from poses_contact_sheet import PAPER, PICTURES, missing, named, pictures, the_face

    from facerecon.data import load_image
    from facerecon.pipeline import FaceReconstructor

    size, pixels = 96, load_image(ROOT / "assets" / "portraits" / "portrait_07.jpg").pixels
    with FaceReconstructor(method="fit", stages="landmarks", texture_size=64) as maker:
        face = the_face(maker, pixels, None)
    box = face.box.reshape(2, 2)
    assert the_face(lambda _: [face], pixels, box) is face
    assert the_face(lambda _: [face], pixels, box + 2 * (box[1] - box[0])) is None
    cell = pictures(face, pixels, 12.0, size)
    assert cell.shape == (size, PICTURES * size, 3) and cell.dtype == np.uint8
    photo, overlay, mesh, texture = (cell[:, start:start + size].astype(float) for start in range(0, PICTURES * size, size))
    # The overlay changes the face, and only it; the mesh is grey where the texture has skin.
    changed = np.abs(overlay - photo).max(2)[:-16] > 0
    assert 0.3 < changed.mean() < 0.8 and not changed[:40, [0, 1, -2, -1]].any()
    inside = np.abs(mesh - PAPER).max(2) > 20
    assert 0.2 < inside.mean() < 0.95 and np.ptp(mesh[inside], axis=1).max() < 30
    assert (texture[..., 0] - texture[..., 2])[size // 2 - 8:size // 2 + 8, size // 2 - 8:size // 2 + 8].mean() > 20
    # The yaw is written on the photo alone.
    plain = np.zeros((size, size, 3), np.uint8)
    assert named(plain, 12.0)[-16:, :32].any() and not plain.any()
    lost = missing(pixels, -3.0, size)
    assert lost.shape == cell.shape and (lost[:, size:] == PAPER).all()
