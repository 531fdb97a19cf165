"""The file format: round trip, and refusal of everything that is not a sound model."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from facerecon.errors import ModelError
from facerecon.morphable import LandmarkEmbedding, read_model, with_embeddings, write_model


@pytest.fixture()
def written(tiny, tmp_path):
    return write_model(tmp_path / "cube.facemodel", tiny.tiny_data())


def parts(path) -> tuple[dict, dict]:
    with safetensors.safe_open(str(path), framework="np") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}, json.loads(stream.metadata()["facerecon"])


def rewrite(path, tensors: dict, header) -> None:
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"facerecon": json.dumps(header)}))


def refusal(path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_model(path)
    return caught.value


def test_round_trip(tiny, written):
    data, back = tiny.tiny_data(), read_model(written)
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, field.name), value)
    assert back.identity_basis.dtype == np.float32 and back.faces.dtype == np.int64
    assert {name: mask.tolist() for name, mask in back.masks.items()} == {
        name: mask.tolist() for name, mask in data.masks.items()}
    assert data.header.items() <= back.header.items()
    assert back.header["schema"] == 1 and len(back.header["topology_sha256"]) == 64
    embedding = back.embeddings["three"]
    np.testing.assert_allclose(embedding.barycentric, data.embeddings["three"].barycentric, atol=1e-7)
    assert embedding.valid.tolist() == [True, True, False]
    first = written.read_bytes()
    write_model(written, back)
    assert written.read_bytes() == first


def test_new_embeddings_leave_the_rest(tiny, written):
    with_embeddings(written, {"one": LandmarkEmbedding(np.array([2]), np.array([[0.5, 0.5, 0.0]]))})
    back = read_model(written)
    assert set(back.embeddings) == {"one", "three"}
    assert back.embeddings["one"].triangle.tolist() == [2]
    np.testing.assert_array_equal(back.identity_basis, tiny.tiny_data().identity_basis)


def test_a_failed_write_leaves_the_old_file(tiny, written):
    before = written.read_bytes()
    broken = dataclasses.replace(tiny.tiny_data(), symmetry=np.arange(7))
    with pytest.raises(ModelError, match="symmetry"):
        write_model(written, broken)
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["cube.facemodel"]


def test_every_truncation_is_refused(written):
    content = written.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1]:
        written.write_bytes(content[:length])
        assert refusal(written).code == "model_corrupt", length


def test_damaged_headers_are_refused(written):
    content = written.read_bytes()
    for size in (1 << 62, len(content), 1 << 23, 3):
        written.write_bytes(struct.pack("<Q", size) + content[8:])
        assert refusal(written).code in ("model_corrupt", "model_invalid"), size
    written.write_bytes(content.replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1))
    assert refusal(written).code == "model_corrupt"
    written.write_bytes(content + b"\0" * 64)
    assert refusal(written).code == "model_corrupt"


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_containers_that_can_run_code_are_never_opened(tmp_path, capsys):
    path = tmp_path / "model.facemodel"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        assert refusal(path).code == "unsafe_format"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Bomb()))
    error = refusal(path)
    assert error.code == "unsafe_format" and "convert-basel" in error.message
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    assert refusal(path).code == "unsafe_format"
    assert capsys.readouterr().out == ""


def test_missing_file(tmp_path):
    assert refusal(tmp_path / "none.facemodel").code == "model_missing"
    assert refusal(tmp_path).code == "model_missing"


def change(name, value):
    def apply(tensors, header):
        tensors[name] = value(tensors[name])
    return apply


def drop(name):
    def apply(tensors, header):
        del tensors[name]
    return apply


def edit(key, value):
    def apply(tensors, header):
        header[key] = value
    return apply


def put(row, value):
    def apply(array):
        array = array.copy()
        array.reshape(-1)[row] = value
        return array
    return apply


@pytest.mark.parametrize(("damage", "code", "message"), [
    (drop("mean"), "model_invalid", "mean is missing"),
    (drop("embedding.three.valid"), "model_invalid", "valid is missing"),
    (change("mean", put(4, np.nan)), "model_corrupt", "NaN"),
    (change("identity_basis", put(4, np.inf)), "model_corrupt", "NaN or infinite"),
    (change("mean", put(4, 1e30)), "model_invalid", "within 1e\\+07"),
    (change("mean", lambda value: value.astype(np.float16)), "model_invalid", "float32"),
    (change("faces", put(0, 8)), "model_invalid", "below 8"),
    (change("faces", put(0, -1)), "model_invalid", "-1"),
    (change("uv_faces", put(0, 99)), "model_invalid", "below 8"),
    (change("symmetry", put(0, 8)), "model_invalid", "symmetry"),
    (change("embedding.three.triangle", put(0, 12)), "model_invalid", "below 12"),
    (change("embedding.three.barycentric", put(0, 3.0)), "model_invalid", "sum to 1"),
    (change("identity_basis", lambda value: value[:, :7]), "model_invalid", "wanted shape"),
    (change("expression_basis", lambda value: value[:1]), "model_invalid", "expression names"),
    (change("mask.skin", lambda value: value[:5]), "model_invalid", "mask.skin"),
    (change("faces", lambda value: value[:, [1, 2, 0]]), "hash_mismatch", "topology"),
    (edit("schema", 2), "model_invalid", "schema 2"),
    (edit("units", None), "model_invalid", "units"),
    (edit("expression_names", ["open", "open"]), "model_invalid", "different expression names"),
])
def test_contradictions_are_refused(written, damage, code, message):
    tensors, header = parts(written)
    damage(tensors, header)
    rewrite(written, {name: np.ascontiguousarray(value) for name, value in tensors.items()}, header)
    with pytest.raises(ModelError, match=message) as caught:
        read_model(written)
    assert caught.value.code == code


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "other.facemodel"
    path.write_bytes(safetensors.numpy.save({"weight": np.zeros((2, 2), dtype=np.float32)}))
    assert refusal(path).code == "model_invalid"
    rewrite(path, {"weight": np.zeros((2, 2), dtype=np.float32)}, ["not", "an", "object"])
    assert refusal(path).code == "model_invalid"
