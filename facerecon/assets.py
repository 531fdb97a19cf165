"""Locate the files that ship with facerecon, and verify them.

`assets/manifest.json` lists every shipped file with its SHA-256, licence and source. A file whose hash differs from the
manifest's is refused: a half-copied or exchanged model must never give plausible numbers.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

from facerecon.errors import ModelError
from facerecon.files import sha256_file

ENVIRONMENT = "FACERECON_ASSETS"
MANIFEST = "manifest.json"


def assets_folder() -> Path:
    """The folder with the shipped assets.

    `$FACERECON_ASSETS` when set; else `_assets` inside an installed package; else `assets` beside a source checkout.

    Raises:
        ModelError: `model_missing` when none of them holds a manifest.
    """
    package = Path(__file__).resolve().parent
    override = os.environ.get(ENVIRONMENT)
    candidates = [Path(override)] if override else [package / "_assets", package.parent / "assets"]
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate
    looked = " and ".join(str(candidate) for candidate in candidates)
    raise ModelError(f"no {MANIFEST} in {looked}; install facerecon again, or point ${ENVIRONMENT} to its assets folder",
                     code="model_missing")


def manifest() -> dict[str, dict[str, Any]]:
    """The manifest: relative file name -> {sha256, bytes, licence, source}."""
    return json.loads((assets_folder() / MANIFEST).read_text(encoding="utf-8"))["files"]


def locate(name: str) -> Path:
    """Path of a shipped file, its SHA-256 verified (once per file state).

    Args:
        name: the file's name in the manifest, such as `models/open-head.facemodel`.

    Raises:
        ModelError: `model_missing` when it is not listed or not there, `hash_mismatch` when its content is another.
    """
    folder = assets_folder()
    entry = manifest().get(name)
    path = folder / name
    if entry is None or not path.is_file():
        raise ModelError(f"asset {name!r} is not in {folder}; install facerecon again", code="model_missing")
    state = path.stat()
    got = _hash_of(str(path), state.st_size, state.st_mtime_ns)
    if got != entry["sha256"]:
        raise ModelError(f"asset {name!r}: wanted SHA-256 {entry['sha256']}, got {got}; install facerecon again",
                         code="hash_mismatch")
    return path


def weights_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Weights by the name under which they ship, verified, or else the path itself.

    Args:
        name_or_path: such as "landmarks-128", for `weights/landmarks-128.safetensors`; or "autoencoder-128", for a folder of files.

    Raises:
        ModelError: see `locate`.
    """
    name, listed = os.fspath(name_or_path), manifest()
    if f"weights/{name}.safetensors" in listed:
        return locate(f"weights/{name}.safetensors")
    halves = [locate(one) for one in listed if one.startswith(f"weights/{name}/")]
    return halves[0].parent if halves else Path(name)


@functools.lru_cache(maxsize=64)
def _hash_of(path: str, size: int, modified_ns: int) -> str:
    # Size and time are part of the key, so that a file changed on disk is hashed again.
    return sha256_file(path)
