"""A mesh against a scan: known moves and offsets, units told or detected, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from facerecon.errors import ArgumentError, FitError, MeshError, PathError
from facerecon.evaluation.mesh_units import find_units
from facerecon.export.ply import write_ply
from facerecon.metrics import rotation_from_euler_deg

pytest.importorskip("open3d", exc_type=ImportError)


def bumpy_head(rows=60, columns=70, grow=0.0):
    """A face-like height field over an ellipse, mm: nothing that turns into itself."""
    v, u = np.mgrid[-1:1:rows * 1j, -1:1:columns * 1j]
    z = 60 * np.sqrt(np.clip(1.3 - 0.5 * u ** 2 - 0.45 * v ** 2, 0, None)) + 22 * np.exp(-30 * u ** 2 - 12 * (v + 0.1) ** 2)
    z += 4 * np.sin(5 * u + 1) * np.cos(4 * v)
    points = np.stack([70 * u, 90 * v, z], axis=-1).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return points + [0, 0, grow], faces


LANDMARKS = (5 * 70 + 10, 5 * 70 + 60, 30 * 70 + 35, 54 * 70 + 12, 50 * 70 + 58)
TURN, MOVE = rotation_from_euler_deg([12.0, -25.0, 8.0]), np.array([31.0, -12.0, 55.0])


@pytest.fixture
def files(tmp_path):
    """A mesh, the same surface more finely as a scan that was turned and moved, and five landmarks."""
    mesh, mesh_faces = bumpy_head()
    scan, scan_faces = bumpy_head(90, 110)
    write_ply(tmp_path / "mesh.ply", mesh, mesh_faces)
    write_ply(tmp_path / "scan.ply", scan @ TURN.T + MOVE, scan_faces)
    points = mesh[list(LANDMARKS)]
    (tmp_path / "landmarks.json").write_text(json.dumps({"mesh": points.tolist(), "scan": (points @ TURN.T + MOVE).tolist()}))
    return tmp_path


def run(folder, **more):
    from facerecon.evaluation.scan import evaluate_scan

    return evaluate_scan(folder / "mesh.ply", folder / "scan.ply", **{"landmarks": folder / "landmarks.json", **more})


def test_the_same_surface_is_near_zero_and_the_move_is_found(files):
    result = run(files)
    values = result.statistics()
    # What is left is the chord error of the coarser mesh.
    assert values["mean"] < 0.05 and values["max"] < 0.6 and values["n"] == 90 * 110
    np.testing.assert_allclose(result.transform.rotation, TURN.T, atol=2e-3)
    assert "5 landmarks" in result.facts["start"] and result.transform.scale == 1


def test_an_offset_surface_measures_its_offset(files):
    mesh, faces = bumpy_head()
    # Only the height field moves, and only on one half: the rigid alignment cannot hide all of it.
    half = mesh[:, 0] > 0
    mesh[half, 2] += 3.0
    write_ply(files / "mesh.ply", mesh, faces)
    moved = run(files).statistics()
    assert 0.4 < moved["mean"] < 3.0


def test_units_are_told_detected_and_stated(files):
    mesh, faces = bumpy_head()
    in_mm = run(files).statistics()["mean"]
    write_ply(files / "mesh.ply", mesh, faces, units="m")
    metres = run(files, landmarks=as_vertices(files))
    assert metres.facts["mesh units"] == "m (written in the file)"
    assert metres.statistics()["mean"] == pytest.approx(in_mm, abs=0.01)
    assert find_units(mesh / 10).units == "cm" and "detected" in find_units(mesh / 10).source
    assert find_units(mesh * 1000).units == "um" and find_units(mesh, given="m").to_mm == 1000
    assert find_units(mesh, comments=("units: cm",)).to_mm == 10
    with pytest.raises(ArgumentError, match="--scan-units"):
        find_units(mesh * 7e6, name="scan")


def as_vertices(folder):
    content = json.loads((folder / "landmarks.json").read_text())
    path = folder / "vertices.json"
    path.write_text(json.dumps({"mesh_vertices": list(LANDMARKS), "scan": content["scan"]}))
    return path


def test_scale_is_fitted_only_when_asked(files):
    mesh, faces = bumpy_head()
    write_ply(files / "mesh.ply", 1.08 * mesh, faces)
    path = as_vertices(files)
    metrical, free = run(files, landmarks=path), run(files, landmarks=path, scale="landmarks")
    assert metrical.statistics()["mean"] > 0.5 > 0.05 > free.statistics()["mean"]
    assert "metrical" in metrical.facts["mesh scale"] and free.facts["mesh scale"].startswith("0.9259")
    assert "0.00 mm apart" in free.facts["start"] and "0.00 mm apart" not in metrical.facts["start"]
    with pytest.raises(ArgumentError, match="needs --landmarks"):
        run(files, landmarks=None, scale="landmarks")


def test_without_landmarks_near_files_work_and_far_ones_are_refused(files):
    scan, faces = bumpy_head(90, 110)
    small = rotation_from_euler_deg([2.0, 3.0, -2.0])
    write_ply(files / "scan.ply", scan @ small.T + [2, 1, -3], faces)
    assert run(files, landmarks=None).statistics()["mean"] < 0.05
    write_ply(files / "scan.ply", scan @ TURN.T + [400, 0, 0], faces)
    with pytest.raises(FitError, match="--landmarks"):
        run(files, landmarks=None)


def test_a_crop_keeps_what_is_near(files):
    whole, cut = run(files), run(files, crop_mm=70.0)
    assert 0 < len(cut.distances) < len(whole.distances) and cut.scan_faces.max() == len(cut.scan_vertices) - 1
    with pytest.raises(ArgumentError, match="no triangle"):
        run(files, crop_mm=1.0)


def test_curve_and_colours_follow_the_distances(files):
    result = run(files)
    thresholds, share = result.curve()
    assert share[-1] == 100 and (np.diff(share) >= 0).all() and share[0] == pytest.approx(100 * (result.distances == 0).mean())
    object.__setattr__(result, "distances", np.array([0.0, 2.5, 5.0, 9.0]))
    colours = result.colours(5.0)
    assert colours[0].argmax() == 2 and colours[1].min() > 0.9 and colours[2].argmax() == 0
    np.testing.assert_array_equal(colours[2], colours[3])


def test_files_are_written_and_read_back(files, tmp_path):
    pytest.importorskip("matplotlib")
    from facerecon.evaluation.scan_report import write_scan_result
    from facerecon.export.meshfile import read_mesh

    result = run(files)
    written = write_scan_result(result, tmp_path / "out")
    mesh = read_mesh(written["ply"])
    assert mesh.colours.shape == (len(result.distances), 3)
    np.testing.assert_allclose(mesh.vertices, result.scan_vertices, atol=1e-3)
    content = json.loads(written["json"].read_text())
    assert content["statistics_mm"]["mean"] == pytest.approx(result.distances.mean()) and content["mesh units"]
    assert written["plot"].stat().st_size > 5000


@pytest.mark.parametrize("content", ['{"scan": [[0,0,0]], "mesh": [[0,0,0]]}', '{"scan": [[0,0,0],[1,1,1],[2,2,2]], "mesh": [[0,0,0],[1,1,1],[2,2,2]]}',
                                     '{"scan": [[0,0,0]]}', "[1]", "nothing", '{"scan": [[0,0,0],[1,0,0],[0,1,0]], "mesh_vertices": [0, 1, 999999]}',
                                     '{"scan": [[0,0,0],[1,0,0],[0,1,0]], "mesh": [[0,0,0],[1,0,0]]}'])
def test_bad_landmarks_are_refused(files, content):
    (files / "landmarks.json").write_text(content)
    with pytest.raises(ArgumentError):
        run(files)


def test_bad_files_are_refused(files):
    with pytest.raises(PathError):
        run(files, landmarks=files / "none.json")
    (files / "scan.ply").write_bytes(b"")
    with pytest.raises(MeshError):
        run(files)
