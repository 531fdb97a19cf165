"""What we write, other programs read: positions, faces, uv, normals, colours, units, texture."""

from __future__ import annotations

import os

import numpy as np
import pytest
import trimesh

from facerecon.errors import ArgumentError, MeshError, PathError
from facerecon.export import read_mesh, write_obj, write_ply
from facerecon.export.decimal_text import face_lines, fixed_point_lines


def test_fixed_point_lines_equal_python_formatting():
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.normal(size=(200, 3)) * 10.0 ** rng.integers(-7, 8, (200, 1)),
                            [[0.0, -0.0, 1e-9], [-0.4e-6, 0.6e-6, -123456.9999999], [9.9999996, -1.0, 1e6]]])
    lines = fixed_point_lines(b"v", table).decode().splitlines()
    for line, row in zip(lines, table, strict=True):
        words = line.split(" ")
        assert words[0] == "v" and len(words) == 4
        for word, number in zip(words[1:], row):
            assert len(word.split(".")[1]) == 6 and word.split(".")[0].lstrip("-").isdigit()
            assert abs(float(word) - number) <= 0.5000001e-6 + abs(number) * 1e-15


def test_fixed_point_lines_by_hand():
    text = fixed_point_lines(b"vt", np.array([[0.5, -12.25], [0.0, 1000.0]]), decimals=3)
    assert text == b"vt 0.500 -12.250\nvt 0.000 1000.000\n"


def test_face_lines_by_hand():
    assert face_lines(np.array([[[1, 10, 1], [2, 200, 2], [3000, 3, 3000]]])) == b"f 1/10/1 2/200/2 3000/3/3000\n"
    assert face_lines(np.array([[[1, 0, 1], [20, 0, 20], [3, 0, 3]]])) == b"f 1//1 20//20 3//3\n"


def test_obj_has_the_statements_that_programs_look_for(head, tmp_path):
    files = write_obj(tmp_path / "face_0.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture,
                      comments=["model: open-head\nusemtl evil"])
    assert sorted(os.listdir(tmp_path)) == ["face_0.mtl", "face_0.obj", "face_0.png"] and len(files.paths) == 3
    lines = files.obj.read_text().splitlines()
    assert "# units: mm" in lines and any(line.startswith("# axes: ") and "+y up" in line and "+z" in line for line in lines)
    assert lines.count("mtllib face_0.mtl") == 1 and lines.count("usemtl face") == 1
    assert "map_Kd face_0.png" in files.mtl.read_text().splitlines() and "newmtl face" in files.mtl.read_text()
    kinds = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert kinds.count("v") == kinds.count("vn") == len(head.vertices) and kinds.count("vt") == len(head.uv)
    assert kinds.count("f") == len(head.faces) and all(line.count("/") == 6 for line in lines if line.startswith("f "))
    assert kinds.index("usemtl") < kinds.index("f") and kinds.index("mtllib") < kinds.index("v")


@pytest.mark.parametrize(("units", "factor"), [("mm", 1.0), ("cm", 0.1), ("m", 0.001)])
def test_obj_round_trip_through_trimesh_in_every_unit(head, tmp_path, units, factor):
    path = write_obj(tmp_path / "a.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture,
                     units=units, scale=1.25).obj
    mesh = trimesh.load(path, process=False, force="mesh")
    # trimesh splits at seams; corner by corner the two agree.
    np.testing.assert_allclose(mesh.triangles, head.vertices[head.faces] * factor * 1.25, atol=0.6e-6 if units != "m" else 1e-9)
    np.testing.assert_allclose(np.asarray(mesh.visual.uv)[mesh.faces], head.uv[head.uv_faces], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.image.convert("RGB")), head.texture)
    assert f"# units: {units}" in path.read_text()


def test_normals_point_out_and_the_face_looks_along_z(head, tmp_path):
    mesh = read_mesh(write_obj(tmp_path / "a.obj", head.vertices, head.faces).obj)
    used = np.unique(mesh.faces)
    assert ((mesh.normals[used] * mesh.vertices[used]).sum(axis=1) > 0).all()
    front = used[np.argmax(mesh.vertices[used, 2])]
    assert mesh.normals[front, 2] > 0.9


def test_vertex_colours_only_when_asked(head, tmp_path):
    colours = np.random.default_rng(1).integers(0, 256, head.vertices.shape).astype(np.uint8)
    plain = write_obj(tmp_path / "p.obj", head.vertices, head.faces).obj
    coloured = write_obj(tmp_path / "c.obj", head.vertices, head.faces, colours=colours).obj
    assert read_mesh(plain).colours is None
    np.testing.assert_array_equal(read_mesh(coloured).colours, colours)


def test_names_with_spaces_get_companions_without(head, tmp_path):
    first = write_obj(tmp_path / "a b.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture)
    second = write_obj(tmp_path / "a_b.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture)
    assert " " not in first.mtl.name and first.png != second.png
    assert read_mesh(first.obj, follow_materials=True).texture == first.png.resolve()


def test_nothing_is_left_when_one_of_the_three_cannot_be_written(head, tmp_path):
    def write() -> None:
        write_obj(tmp_path / "a.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture)

    (tmp_path / "a.png").mkdir()
    with pytest.raises(PathError) as caught:
        write()
    assert caught.value.code == "path_write" and os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(("change", "code"), [
    ({"faces": np.zeros((0, 3), int)}, "mesh_empty"), ({"faces": np.array([[0, 1, 10**6]])}, "mesh_invalid"),
    ({"faces": np.array([[0, 1, -1]])}, "mesh_invalid"), ({"vertices": np.full((4, 3), np.nan)}, "nonfinite"),
    ({"units": "inch"}, "argument_invalid"), ({"scale": 0.0}, "argument_invalid"), ({"uv": None}, "argument_invalid"),
    ({"uv_faces": np.zeros((3, 3), int)}, "shape_invalid"), ({"normals": np.zeros((2, 3))}, "shape_invalid"),
    ({"texture": np.zeros((4, 4))}, "shape_invalid"), ({"texture": np.zeros((4, 4, 3))}, "dtype_invalid"),
    ({"colours": np.zeros((2, 3), np.uint8)}, "shape_invalid"),
])
def test_arrays_that_do_not_fit_are_refused_and_write_nothing(head, tmp_path, change, code):
    arguments = {"vertices": head.vertices, "faces": head.faces, "uv": head.uv, "uv_faces": head.uv_faces, "texture": head.texture}
    with pytest.raises((ArgumentError, MeshError)) as caught:
        write_obj(tmp_path / "a.obj", **{**arguments, **change})
    assert caught.value.code == code and os.listdir(tmp_path) == []


def test_ply_round_trip_through_trimesh(head, tmp_path):
    colours = np.random.default_rng(2).random(head.vertices.shape)
    path = write_ply(tmp_path / "a.ply", head.vertices, head.faces, colours=colours, units="cm")
    mesh = trimesh.load(path, process=False)
    np.testing.assert_allclose(mesh.vertices, head.vertices * 0.1, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, head.faces)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], np.floor(colours * 255 + 0.5))
    header = path.read_bytes().split(b"end_header")[0].decode()
    assert "comment units: cm" in header and "format binary_little_endian 1.0" in header


def test_open3d_reads_what_we_write(head, tmp_path):
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    ply = write_ply(tmp_path / "a.ply", head.vertices, head.faces, colours=np.full(head.vertices.shape, 128, np.uint8))
    obj = write_obj(tmp_path / "a.obj", head.vertices, head.faces, uv=head.uv, uv_faces=head.uv_faces, texture=head.texture).obj
    mesh = open3d.io.read_triangle_mesh(str(ply))
    np.testing.assert_allclose(np.asarray(mesh.vertices), head.vertices, atol=1e-5)
    assert mesh.has_vertex_normals() and mesh.has_vertex_colors()
    mesh = open3d.io.read_triangle_mesh(str(obj), True)
    np.testing.assert_allclose(np.asarray(mesh.triangle_uvs), head.uv[head.uv_faces].reshape(-1, 2), atol=1e-6)
    assert [np.asarray(texture).shape for texture in mesh.textures] == [(64, 64, 3)]
