"""GLB: the standard's rules on layout, and the geometry that a viewer shows."""

from __future__ import annotations

import json
import struct

import cv2
import numpy as np
import pygltflib
import pytest
import trimesh

from facerecon.errors import ArgumentError
from facerecon.export import write_glb

_SIZES = {5121: ("<u1", 1), 5123: ("<u2", 2), 5125: ("<u4", 4), 5126: ("<f4", 4)}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


class Reader:
    """A second reader of GLB, straight from the standard."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = struct.unpack("<4sII", data[:12])
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack("<I4s", data[12:20])
        assert kind == b"JSON" and size % 4 == 0
        self.json = json.loads(data[20:20 + size])
        binary, kind = struct.unpack("<I4s", data[20 + size:28 + size])
        assert kind == b"BIN\0" and binary % 4 == 0 and 28 + size + binary == len(data)
        self.blob = data[28 + size:]

    def view(self, index: int) -> bytes:
        view = self.json["bufferViews"][index]
        return self.blob[view.get("byteOffset", 0):view.get("byteOffset", 0) + view["byteLength"]]

    def accessor(self, index: int) -> np.ndarray:
        entry = self.json["accessors"][index]
        kind, _ = _SIZES[entry["componentType"]]
        width = _WIDTHS[entry["type"]]
        out = np.zeros((entry["count"], width), kind)
        if "bufferView" in entry:
            out[:] = np.frombuffer(self.view(entry["bufferView"]), kind, entry["count"] * width, entry.get("byteOffset", 0)).reshape(-1, width)
        if "sparse" in entry:
            sparse = entry["sparse"]
            rows = np.frombuffer(self.view(sparse["indices"]["bufferView"]), _SIZES[sparse["indices"]["componentType"]][0], sparse["count"])
            assert (np.diff(rows.astype(int)) > 0).all() and rows.max() < entry["count"]
            out[rows] = np.frombuffer(self.view(sparse["values"]["bufferView"]), kind, sparse["count"] * width).reshape(-1, width)
        return out


@pytest.fixture(scope="module")
def actions(head):
    rng = np.random.default_rng(3)
    moves = {}
    for name in ("jawOpen", "mouthSmileLeft", "tongueOut"):
        move = rng.normal(size=head.vertices.shape)
        move[rng.random(len(move)) < 0.7] = 0.0
        moves[name] = move
    moves["eyeBlinkLeft"] = np.zeros_like(head.vertices)
    return moves


@pytest.fixture(scope="module")
def written(head, actions, tmp_path_factory):
    weights = {"jawOpen": 0.5, "tongueOut": 0.25}
    path = write_glb(tmp_path_factory.mktemp("glb") / "a.glb", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces,
                     texture=head.texture, morph_targets=actions, weights=weights, morph_normals=True, image_format="png")
    return path, Reader(path.read_bytes()), weights


def test_weights_give_the_fitted_face(head, actions, written):
    _, reader, weights = written
    mesh = reader.json["meshes"][0]
    primitive = mesh["primitives"][0]
    shown = reader.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
    for weight, target in zip(mesh["weights"], primitive["targets"], strict=True):
        shown = shown + weight * reader.accessor(target["POSITION"])
    wanted = (head.vertices + sum(weight * actions[name] for name, weight in weights.items())) / 1000.0
    corners = reader.accessor(primitive["indices"])[:, 0].reshape(-1, 3)
    np.testing.assert_allclose(shown[corners], wanted[head.faces], atol=1e-6)
    assert np.abs(shown[corners] - head.vertices[head.faces] / 1000.0).max() > 1e-4


def test_names_and_weights_are_where_viewers_look(actions, written):
    _, reader, weights = written
    mesh = reader.json["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(actions)
    expected = [weights.get(name, 0.0) for name in actions]
    assert mesh["weights"] == expected and reader.json["nodes"][0]["weights"] == expected


def test_layout_follows_the_standard(written):
    _, reader, _ = written
    document = reader.json
    primitive = document["meshes"][0]["primitives"][0]
    assert document["asset"]["version"] == "2.0" and document["buffers"][0]["byteLength"] <= len(reader.blob) < document["buffers"][0]["byteLength"] + 4
    ends = 0
    for view in document["bufferViews"]:
        # Views follow each other at multiples of four, inside the buffer.
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] >= ends and view["byteLength"] > 0 and "byteStride" not in view
        ends = view["byteOffset"] + view["byteLength"]
    assert ends <= document["buffers"][0]["byteLength"]
    targets = {document["accessors"][index]["bufferView"]: 34962 for index in primitive["attributes"].values()}
    targets[document["accessors"][primitive["indices"]]["bufferView"]] = 34963
    for index, view in enumerate(document["bufferViews"]):
        assert view.get("target") == targets.get(index), "attributes and indices have a target, images and sparse data none"
    count = document["accessors"][primitive["attributes"]["POSITION"]]["count"]
    positions = [primitive["attributes"]["POSITION"], *(target["POSITION"] for target in primitive["targets"])]
    for index in positions:
        entry, values = document["accessors"][index], reader.accessor(index)
        assert (entry["componentType"], entry["type"], entry["count"]) == (5126, "VEC3", count)
        np.testing.assert_allclose(entry["min"], values.min(axis=0), atol=1e-9)
        np.testing.assert_allclose(entry["max"], values.max(axis=0), atol=1e-9)
    indices = document["accessors"][primitive["indices"]]
    assert indices["componentType"] == 5123 and reader.accessor(primitive["indices"]).max() == count - 1
    for target in primitive["targets"]:
        assert set(target) == {"POSITION", "NORMAL"} and document["accessors"][target["NORMAL"]]["count"] == count
    np.testing.assert_allclose(np.linalg.norm(reader.accessor(primitive["attributes"]["NORMAL"]), axis=1), 1.0, atol=1e-5)


def test_texture_and_uv_survive_with_v_downwards(head, written):
    _, reader, _ = written
    image = cv2.imdecode(np.frombuffer(reader.view(reader.json["images"][0]["bufferView"]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(image, head.texture)
    primitive = reader.json["meshes"][0]["primitives"][0]
    corners = reader.accessor(primitive["indices"])[:, 0].reshape(-1, 3)
    uv = reader.accessor(primitive["attributes"]["TEXCOORD_0"])[corners]
    np.testing.assert_allclose(uv * [1, -1] + [0, 1], head.uv[head.uv_faces], atol=1e-6)


def test_seams_split_as_little_as_needed(head, written):
    _, reader, _ = written
    count = reader.json["accessors"][reader.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["count"]
    pairs = {(int(v), int(t)) for v, t in zip(head.faces.ravel(), head.uv_faces.ravel())}
    assert count == len(pairs) > len(np.unique(head.faces))


def test_pygltflib_and_trimesh_read_it(head, written):
    path, _, weights = written
    document = pygltflib.GLTF2().load(str(path))
    assert document.meshes[0].extras["targetNames"][0] == "jawOpen" and document.materials[0].doubleSided is True
    material = document.materials[0].pbrMetallicRoughness
    assert (material.metallicFactor, material.roughnessFactor, material.baseColorTexture.index) == (0.0, 0.8, 0)
    mesh = trimesh.load(path, process=False, force="mesh")
    np.testing.assert_allclose(mesh.triangles, head.vertices[head.faces] / 1000.0, atol=1e-6)


def test_open3d_reads_it(head, written):
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    mesh = open3d.io.read_triangle_mesh(str(written[0]))
    triangles = np.asarray(mesh.vertices)[np.asarray(mesh.triangles)]
    np.testing.assert_allclose(triangles, head.vertices[head.faces] / 1000.0, atol=1e-6)


def test_targets_store_only_what_they_move(head, actions, written):
    _, reader, _ = written
    primitive = reader.json["meshes"][0]["primitives"][0]
    corners = reader.accessor(primitive["indices"])[:, 0].reshape(-1, 3)
    source = np.zeros(corners.max() + 1, int)
    source[corners] = head.faces
    for (name, move), target in zip(actions.items(), primitive["targets"], strict=True):
        entry = reader.json["accessors"][target["POSITION"]]
        moved = int((move[source] != 0).any(axis=1).sum())
        assert "bufferView" not in entry and entry["sparse"]["count"] == max(moved, 1), name


def test_a_weight_without_target_is_refused(head, tmp_path):
    with pytest.raises(ArgumentError, match="jawopen"):
        write_glb(tmp_path / "a.glb", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces,
                  morph_targets={"jawOpen": head.vertices}, weights={"jawopen": 1.0})
    assert not list(tmp_path.iterdir())


def test_without_texture_and_targets_it_is_still_a_mesh(head, tmp_path):
    path = write_glb(tmp_path / "a.glb", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces)
    document = Reader(path.read_bytes()).json
    assert "images" not in document and "targets" not in document["meshes"][0]["primitives"][0] and "weights" not in document["meshes"][0]
