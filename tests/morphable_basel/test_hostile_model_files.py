"""Model files that are not what they say: refused with a code before anything uses them (cases F21, F22, F23, F25)."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import struct

import numpy as np
import pytest

from facerecon.errors import ModelError
from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelfile import ModelData, read_model, write_model


@pytest.fixture(scope="module")
def tiny() -> ModelData:
    generator = np.random.default_rng(1)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    header = {"schema": 1, "name": "tiny", "units": "mm", "licence": "CC0-1.0", "source": "test", "expression_names": ["a", "b"],
              "expression_range": None, "topology_sha256": ""}
    floats = {name: generator.normal(size=shape).astype(np.float32) for name, shape in
              {"mean": (4, 3), "identity_basis": (2, 4, 3), "expression_basis": (2, 4, 3), "albedo_mean": (4, 3),
               "albedo_basis": (1, 4, 3)}.items()}
    return ModelData(**floats, faces=faces, uv=np.zeros((4, 2), np.float32), uv_faces=faces, symmetry=np.arange(4),
                     albedo_texture=np.zeros((2, 2, 3), np.uint8), masks={"skin": np.ones(4, bool)},
                     embeddings={"five": LandmarkEmbedding(np.zeros(5), np.tile([1.0, 0, 0], (5, 1)))}, header=header)


@pytest.fixture
def good(tiny, tmp_path):
    return write_model(tmp_path / "good.facemodel", tiny)


def code_of(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_model(path)
    return caught.value.code


class Marker:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickles_and_archives_are_refused_and_nothing_runs(tmp_path):
    torch = pytest.importorskip("torch")
    evil = Marker(tmp_path / "marker")
    torch.save({"model": evil}, tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.array([evil], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=np.array([evil], dtype=object))
    for protocol in (2, 3, 4, 5):
        (tmp_path / f"{protocol}.pkl").write_bytes(pickle.dumps(evil, protocol))
    for path in [*tmp_path.glob("a.*"), *tmp_path.glob("*.pkl")]:
        assert code_of(tmp_path / "model.facemodel", path.read_bytes()) == "unsafe_format", path.name
    assert not (tmp_path / "marker").exists()


def test_a_file_cut_at_two_hundred_places_is_corrupt(good, tmp_path):
    content = good.read_bytes()
    assert {code_of(tmp_path / "cut.facemodel", content[:end])
            for end in np.linspace(0, len(content) - 1, 200).astype(int)} == {"model_corrupt"}


def test_header_lengths_that_lie_are_corrupt(good, tmp_path):
    content = good.read_bytes()
    for length in (2**63, 2**64 - 1, 100_000_001, len(content), 0, 1):
        assert code_of(tmp_path / "a.facemodel", struct.pack("<Q", length) + content[8:]) == "model_corrupt", length


def rebuilt(content: bytes, change) -> bytes:
    """The file with its JSON header changed by a function."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length:]


def test_offsets_that_overlap_or_leave_the_file_are_corrupt(good, tmp_path):
    content = good.read_bytes()
    for change in (lambda header: header["mean"].update(data_offsets=header["uv"]["data_offsets"]),
                   lambda header: header["mean"].update(data_offsets=[0, 10**12]),
                   lambda header: header["mean"].update(data_offsets=[48, 0]),
                   lambda header: header["mean"].update(shape=[2**40, 2**40]),
                   lambda header: header["mean"].update(dtype="F128")):
        assert code_of(tmp_path / "a.facemodel", rebuilt(content, change)) == "model_corrupt"
    write = tmp_path / "same.facemodel"
    write.write_bytes(rebuilt(content, lambda header: None))
    assert read_model(write).header["name"] == "tiny"


def test_every_flipped_bit_of_the_header_is_refused_or_harmless(good, tmp_path):
    content = good.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    path = tmp_path / "flip.facemodel"
    codes: dict[str, int] = {}
    for place in range(0, 8 + length, 3):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            # A flip inside a name or a licence text changes no number.
            read_model(path)
            code = "read"
        except ModelError as error:
            code = error.code
        codes[code] = codes.get(code, 0) + 1
    assert set(codes) <= {"read", "model_corrupt", "model_invalid", "hash_mismatch", "unsafe_format"}
    assert codes["read"] < sum(codes.values()) / 3


def test_models_that_contradict_themselves_are_invalid(tiny, tmp_path):
    def refused(**changes) -> str:
        with pytest.raises(ModelError) as caught:
            write_model(tmp_path / "bad.facemodel", dataclasses.replace(tiny, **changes))
        assert not (tmp_path / "bad.facemodel").exists()
        return caught.value.code

    faces = tiny.faces.copy()
    for wrong in (4, -1, 2**31 - 1):
        faces[0, 0] = wrong
        assert refused(faces=faces) == "model_invalid"
    assert refused(mean=np.zeros((5, 3), np.float32)) == "model_invalid"
    assert refused(identity_basis=np.zeros((2, 3, 3), np.float32)) == "model_invalid"
    assert refused(mean=np.full((4, 3), np.nan, np.float32)) == "model_corrupt"
    assert refused(mean=np.full((4, 3), 1e30, np.float32)) == "model_invalid"
    assert refused(header={**tiny.header, "expression_names": ["a"]}) == "model_invalid"
    assert refused(header={**tiny.header, "expression_names": ["a", "a"]}) == "model_invalid"
    assert refused(ncc=np.zeros((3, 3), np.float32)) == "model_invalid"
    assert refused(embeddings={"five": LandmarkEmbedding(np.full(5, 9), np.tile([1.0, 0, 0], (5, 1)))}) == "model_invalid"


def test_a_changed_topology_is_found_by_its_hash(good, tmp_path):
    content = good.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    start = 8 + length + json.loads(content[8:8 + length])["faces"]["data_offsets"][0]
    changed = bytearray(content)
    # The first triangle (0, 1, 2) becomes (3, 1, 2): every index stays in range.
    changed[start] = 3
    assert code_of(tmp_path / "a.facemodel", bytes(changed)) == "hash_mismatch"
