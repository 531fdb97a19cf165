"""Predictions made elsewhere: conventions are converted, foreign containers are refused unopened."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy

from facerecon.errors import ArgumentError, ModelError, PathError
from facerecon.evaluation.prediction_files import open_predictions
from facerecon.metrics.pose import CAMERA_FLIP

NAMES = ("a", "b", "c")


def write(path, about=None, **tensors):
    metadata = None if about is None else {"facerecon": json.dumps(about)}
    path.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata))
    return path


@pytest.fixture
def landmarks():
    return np.random.default_rng(0).normal(size=(3, 68, 3)) * 50 + 200


def test_a_plain_file_is_read_image_by_image(tmp_path, landmarks):
    vertices = np.random.default_rng(1).normal(size=(3, 53215, 3)).astype(np.float32)
    path = write(tmp_path / "p.safetensors", {"topology": "bfm53215", "method": "mine", "names": list(NAMES)},
                 landmarks68=landmarks, vertices=vertices, rotation=np.tile(np.eye(3), (3, 1, 1)), found=np.array([1, 0, 1], np.uint8))
    source = open_predictions(path, names=NAMES)
    assert [item.found for item in source] == [True, False, True] and source[1].code == "no_face"
    np.testing.assert_array_equal(source[2].landmarks68, landmarks[2])
    np.testing.assert_array_equal(source[2].vertices, vertices[2])
    assert source.config["method"] == "mine" and source.config["topology"] == "bfm53215" and len(source) == 3


def test_origin_depth_and_rotation_are_converted(tmp_path, landmarks):
    turn = np.random.default_rng(2).normal(size=(3, 3, 3))
    path = write(tmp_path / "p.safetensors", {"pixel_origin": "matlab1", "depth": "toward", "rotation": "zhu"},
                 landmarks68=landmarks, rotation=turn)
    item = open_predictions(path, names=NAMES)[0]
    np.testing.assert_allclose(item.landmarks68, landmarks[0] * [1, 1, -1] - [1, 1, 0])
    np.testing.assert_allclose(item.rotation, CAMERA_FLIP[:, None] * turn[0])


def test_arrays_of_landmarks_or_vertices(tmp_path, landmarks):
    np.save(tmp_path / "l.npy", landmarks[..., :2])
    source = open_predictions(tmp_path / "l.npy", names=NAMES, pixel_origin="matlab1")
    np.testing.assert_allclose(source[1].landmarks68[:, :2], landmarks[1, :, :2] - 1)
    assert not source.config["landmark_depth"] and source.config["topology"] is None
    vertices = np.random.default_rng(1).normal(size=(3, 53215, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", vertices)
    source = open_predictions(tmp_path / "v.npy", names=NAMES)
    # Landmarks are Basel's keypoints: the nose tip is vertex 8192.
    np.testing.assert_array_equal(source[0].landmarks68[30], vertices[0, 8192])


def test_a_row_that_is_not_finite_is_a_failed_image(tmp_path, landmarks):
    landmarks[1, 5, 0] = np.nan
    source = open_predictions(write(tmp_path / "p.safetensors", landmarks68=landmarks), names=NAMES)
    assert (source[1].status, source[1].code) == ("failed", "nonfinite") and source[0].found and source[2].found


class Marker:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickles_and_archives_are_never_opened(tmp_path, landmarks):
    marker = tmp_path / "marker"
    (tmp_path / "p.safetensors").write_bytes(pickle.dumps(Marker(marker)))
    np.save(tmp_path / "o.npy", np.array([Marker(marker)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "z.npz", landmarks)
    for name in ("p.safetensors", "o.npy", "z.npz"):
        with pytest.raises(ModelError) as caught:
            open_predictions(tmp_path / name, names=NAMES)
        assert caught.value.code == "unsafe_format", name
    assert not marker.exists()


def test_truncated_and_lying_files_are_corrupt(tmp_path, landmarks):
    whole = write(tmp_path / "w.safetensors", landmarks68=landmarks).read_bytes()
    header = struct.unpack("<Q", whole[:8])[0]
    contents = [whole[:cut] for cut in (*range(10, 8 + header, 7), len(whole) // 2, len(whole) - 1)]
    contents += [struct.pack("<Q", 2 ** 63) + whole[8:], struct.pack("<Q", header + 8) + whole[8:]]
    for content in contents:
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ModelError) as caught:
            open_predictions(tmp_path / "x.safetensors", names=NAMES)
        assert caught.value.code in ("model_corrupt", "unsafe_format")
    claim = np.lib.format.header_data_from_array_1_0(np.zeros((1, 68, 3)))
    with open(tmp_path / "x.npy", "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {**claim, "shape": (65536, 65536, 3)})
    with pytest.raises(ModelError) as caught:
        open_predictions(tmp_path / "x.npy", names=NAMES)
    assert caught.value.code == "model_corrupt"


@pytest.mark.parametrize(("about", "tensors", "match"), [
    (None, {"landmarks68": (2, 68, 3)}, "3 images"),
    (None, {"landmarks68": (3, 67, 3)}, "wanted"),
    (None, {"landmarks68": (3, 68, 4)}, "2 or 3"),
    (None, {"points": (3, 68, 3)}, "got none"),
    ({"names": ["a", "c", "b"]}, {"landmarks68": (3, 68, 3)}, "another order"),
    ({"topology": "bfm53215"}, {"landmarks68": (3, 68, 3), "vertices": (3, 100, 3)}, "vertices"),
    (None, {"landmarks68": (3, 68, 3), "rotation": (3, 9)}, "rotation"),
])
def test_wrong_content_is_named(tmp_path, about, tensors, match):
    path = write(tmp_path / "p.safetensors", about, **{name: np.zeros(shape, np.float32) for name, shape in tensors.items()})
    with pytest.raises(ModelError, match=match):
        open_predictions(path, names=NAMES)


def test_vertices_need_a_topology_and_words_must_be_known(tmp_path, landmarks):
    path = write(tmp_path / "v.safetensors", landmarks68=landmarks, vertices=np.zeros((3, 9, 3)))
    with pytest.raises(ArgumentError, match="topology"):
        open_predictions(path, names=NAMES)
    for key in ("pixel_origin", "depth", "rotation"):
        with pytest.raises(ArgumentError, match=key):
            open_predictions(write(tmp_path / "w.safetensors", {key: "x"}, landmarks68=landmarks), names=NAMES)
    said = write(tmp_path / "s.safetensors", {"depth": "away"}, landmarks68=landmarks)
    with pytest.raises(ModelError, match="drop one"):
        open_predictions(said, names=NAMES, depth="toward")
    with pytest.raises(PathError):
        open_predictions(tmp_path / "nothing", names=NAMES)


def test_state_follows_the_file(tmp_path, landmarks):
    path = write(tmp_path / "p.safetensors", landmarks68=landmarks)
    before = open_predictions(path, names=NAMES).state()
    assert before == open_predictions(path, names=NAMES).state() != open_predictions(path, names=NAMES, depth="toward").state()
