"""Mesh files from anywhere (fault case F27): read by rule or refused by name, without following or believing them."""

from __future__ import annotations

import os
import struct
import tracemalloc

import numpy as np
import pytest
import trimesh

from facerecon.errors import MeshError, PathError
from facerecon.export import read_mesh, write_obj, write_ply

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def code_of(path, **options):
    with pytest.raises((MeshError, PathError)) as caught:
        read_mesh(path, **options)
    return caught.value.code


def test_quads_and_polygons_become_fans(tmp_path):
    mesh = read_mesh(write(tmp_path, "a.obj", TRIANGLE + "v 1 1 0\nv 2 2 0\nf 1 2 4 3\nf 1 2 3 4 5\n"))
    assert mesh.faces.tolist() == [[0, 1, 3], [0, 3, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4]]


def test_negative_indices_count_back_from_where_they_stand(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf -3/-3 -2/-2 -1/-1\nv 5 5 5\nvt .5 .5\nf -1/-1 -2/-2 -3/-3\n"
    mesh = read_mesh(write(tmp_path, "a.obj", text))
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 2, 1]] and mesh.uv_faces.tolist() == [[0, 1, 2], [3, 2, 1]]


def test_other_statements_comments_and_continued_lines(tmp_path):
    text = "# units: cm\no x\ng a b\ns off\n" + TRIANGLE + "l 1 2\np 1\nvp 0.5\nunknown 3\nf 1 2 \\\n 3\r\n"
    mesh = read_mesh(write(tmp_path, "a.obj", text))
    assert mesh.faces.tolist() == [[0, 1, 2]] and mesh.comments == ("units: cm",)


@pytest.mark.parametrize("face", ["1 2 4", "0 1 2", "-4 1 2", "1 2", "1 2 x", "1/9 2/9 3/9", "1 2 99999999999999999999999", "1.5 2 3"])
def test_bad_indices_are_refused(tmp_path, face):
    assert code_of(write(tmp_path, "a.obj", TRIANGLE + "vt 0 0\n" + f"f {face}\n")) == "mesh_invalid"


@pytest.mark.parametrize(("content", "code"), [
    (b"", "mesh_empty"), (b" \n\n\t", "mesh_empty"), (TRIANGLE.encode(), "mesh_empty"), (b"o name\n", "mesh_empty"),
    (b"hello world\nthis is a letter\n", "mesh_format"), (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "mesh_format"),
    (os.urandom(64) + b"\0" * 4096, "mesh_format"), (b"v 0 0\n", "mesh_format"), (b"v 0 0 nan\nv 0 0 0\nv 1 1 1\nf 1 2 3\n", "mesh_invalid"),
    (b"v 0 0 1e999\nv 0 0 0\nv 1 1 1\nf 1 2 3\n", "mesh_invalid"), (b"v 0 0 0\nv a b c\n", "mesh_invalid"),
    (b"x" * (2 << 20), "mesh_format"),
])
def test_what_is_no_mesh_is_refused(tmp_path, content, code):
    assert code_of(write(tmp_path, "a.obj", content)) == code


def test_paths_that_are_no_files(tmp_path):
    assert code_of(tmp_path / "none.obj") == "path_missing" and code_of(tmp_path) == "path_not_file"
    os.mkfifo(tmp_path / "pipe.obj")
    assert code_of(tmp_path / "pipe.obj") == "path_not_file"
    (tmp_path / "loop.obj").symlink_to(tmp_path / "loop.obj")
    assert code_of(tmp_path / "loop.obj") == "path_loop"


def test_limits(tmp_path):
    path = write(tmp_path, "a.obj", TRIANGLE * 10 + "f 1 2 3\n" * 40)
    assert code_of(path, max_bytes=100) == "mesh_too_large"
    assert code_of(path, max_elements=29) == "mesh_too_large" and code_of(path, max_elements=39) == "mesh_too_large"
    assert len(read_mesh(path, max_elements=40).faces) == 40


def material_case(tmp_path, library, map_name="skin.png"):
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        write(folder, "skin.png", b"image")
        write(folder, "a.mtl", f"newmtl m\nmap_Kd {map_name}\n")
    return write(inside, "a.obj", f"mtllib {library}\n" + TRIANGLE + "f 1 2 3\n")


@pytest.mark.parametrize("library", ["../a.mtl", "../../../etc/passwd", "/etc/passwd", "..\\a.mtl", "x/../../a.mtl", "link.mtl"])
def test_materials_outside_the_folder_are_never_followed(tmp_path, library):
    path = material_case(tmp_path, library)
    (tmp_path / "inside" / "link.mtl").symlink_to(tmp_path / "a.mtl")
    assert code_of(path, follow_materials=True) == "mesh_reference_unsafe"
    # Without being asked for materials, the reader takes the geometry and looks at nothing else.
    mesh = read_mesh(path)
    assert mesh.texture is None and len(mesh.faces) == 1


@pytest.mark.parametrize("map_name", ["../skin.png", "/etc/passwd", "-s 1 1 1 ../skin.png"])
def test_images_outside_the_folder_are_never_followed(tmp_path, map_name):
    assert code_of(material_case(tmp_path, "a.mtl", map_name), follow_materials=True) == "mesh_reference_unsafe"


def test_materials_inside_the_folder_are_found(tmp_path):
    path = material_case(tmp_path, "a.mtl", "-clamp on skin.png")
    assert read_mesh(path, follow_materials=True).texture == (tmp_path / "inside" / "skin.png").resolve()
    (tmp_path / "inside" / "a.mtl").unlink()
    assert read_mesh(path, follow_materials=True).texture is None


def ply(order, vertices, faces, *, declared=None, faces_declared=None, index="int", count="uchar"):
    header = (f"ply\nformat {order} 1.0\ncomment made by hand\nelement vertex {len(vertices) if declared is None else declared}\n"
              "property float x\nproperty float y\nproperty float z\n"
              f"element face {len(faces) if faces_declared is None else faces_declared}\nproperty list {count} {index} vertex_indices\nend_header\n").encode()
    if order == "ascii":
        body = "".join("%g %g %g\n" % tuple(v) for v in vertices) + "".join(" ".join(map(str, (len(f), *f))) + "\n" for f in faces)
        return header + body.encode()
    mark = "<" if "little" in order else ">"
    return header + b"".join(struct.pack(mark + "3f", *v) for v in vertices) + b"".join(
        struct.pack(f"{mark}B{len(f)}i", len(f), *f) for f in faces)


POINTS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 2, 1)]
ORDERS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("order", ORDERS)
def test_ply_in_all_orders_with_mixed_polygons(tmp_path, order):
    mesh = read_mesh(write(tmp_path, "a.ply", ply(order, POINTS, [(0, 1, 2, 3), (3, 2, 4), (0, 1, 2, 4, 3)])))
    np.testing.assert_allclose(mesh.vertices, POINTS)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4], [0, 1, 2], [0, 2, 4], [0, 4, 3]]
    assert mesh.comments == ("made by hand",)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("faces", [[(0, 1, 5)], [(0, 1, -1)], [(0, 1, 2**31 - 1)], [(0, 1)]])
def test_ply_bad_indices_are_refused(tmp_path, order, faces):
    assert code_of(write(tmp_path, "a.ply", ply(order, POINTS, faces))) == "mesh_invalid"


@pytest.mark.parametrize("order", ORDERS)
def test_declared_counts_are_checked_before_memory_is_taken(tmp_path, order):
    path = write(tmp_path, "a.ply", ply(order, POINTS[:3], [(0, 1, 2)], declared=10**7))
    tracemalloc.start()
    assert code_of(path, max_elements=10**8) == "mesh_truncated"
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    assert code_of(path) == "mesh_too_large"
    assert code_of(write(tmp_path, "b.ply", ply(order, POINTS[:3], [(0, 1, 2)], faces_declared=10**6))) == "mesh_truncated"


@pytest.mark.parametrize("order", ORDERS)
def test_a_cut_ply_is_refused_wherever_it_is_cut(tmp_path, order):
    data = ply(order, POINTS, [(0, 1, 2, 3), (3, 2, 4)])
    full = read_mesh(write(tmp_path, "a.ply", data))
    for length in range(4, len(data) - 1):
        path = write(tmp_path, "a.ply", data[:length])
        try:
            mesh = read_mesh(path)
        except MeshError as error:
            assert error.code in ("mesh_truncated", "mesh_format", "mesh_invalid", "mesh_empty")
        else:
            # A text file may lose the last digits of its last number without a trace.
            assert order == "ascii" and mesh.faces.shape == full.faces.shape and length > len(data) - 3


def test_a_list_that_claims_four_billion_corners(tmp_path):
    header = ply("binary_little_endian", POINTS, [], faces_declared=1, count="uint").split(b"end_header\n")[0] + b"end_header\n"
    body = b"".join(struct.pack("<3f", *v) for v in POINTS) + struct.pack("<I", 2**32 - 1) + b"\0" * 64
    assert code_of(write(tmp_path, "a.ply", header + body)) == "mesh_truncated"


@pytest.mark.parametrize("line", ["format ascii", "element vertex -3", "element vertex 1e3", "property list float int vertex_indices",
                                  "property quaternion x", "nonsense", "element"])
def test_bad_headers_are_refused(tmp_path, line):
    data = ply("ascii", POINTS, [(0, 1, 2)]).replace(b"comment made by hand", line.encode() if line != "format ascii" else b"format klingon 1.0")
    assert code_of(write(tmp_path, "a.ply", data)) in ("mesh_format", "mesh_truncated")


def test_random_damage_gives_a_mesh_or_a_named_refusal(head, tmp_path):
    rng = np.random.default_rng(5)
    sources = [write_ply(tmp_path / "s.ply", head.vertices, head.faces, colours=np.zeros_like(head.vertices)).read_bytes(),
               write_obj(tmp_path / "s.obj", head.vertices, head.faces).obj.read_bytes(), ply("ascii", POINTS, [(0, 1, 2), (1, 2, 3, 4)])]
    refused = 0
    for round_ in range(150):
        data = bytearray(sources[round_ % 3])
        for place in rng.integers(0, len(data) if round_ % 2 else min(len(data), 400), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        try:
            mesh = read_mesh(write(tmp_path, "x", bytes(data)))
        except MeshError:
            refused += 1
        else:
            assert np.isfinite(mesh.vertices).all() and mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
    assert 30 < refused < 150


def test_it_reads_what_trimesh_writes(head, tmp_path):
    mesh = trimesh.Trimesh(head.vertices, head.faces, process=False)
    for name, options in (("a.ply", {"encoding": "ascii"}), ("b.ply", {"encoding": "binary"}), ("c.obj", {"digits": 12})):
        mesh.export(tmp_path / name, **options)
        ours = read_mesh(tmp_path / name)
        np.testing.assert_allclose(ours.vertices, head.vertices, atol=1e-4)
        np.testing.assert_array_equal(ours.faces, head.faces)
